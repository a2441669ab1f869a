"""mpbond joins several bad links into one good one: a multipath tunnel in user space."""

__version__ = "0.1.0"
