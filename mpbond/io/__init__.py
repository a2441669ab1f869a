"""The shell's thin doors to the system, each with a fake beside it or a dry run."""
