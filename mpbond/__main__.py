"""`python -m mpbond` is the same program as `mpbond`."""

from mpbond.cli import main

if __name__ == "__main__":
    main()
