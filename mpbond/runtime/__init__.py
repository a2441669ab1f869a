"""The programs: they own ports, clock and loop, and drive the core."""
