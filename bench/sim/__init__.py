"""Whole sessions on a virtual clock: exact, repeatable from a seed, faster than real time."""
