"""The command line: one verb, one file.

`mpbond` alone is `mpbond status`. Whatever a person can do something about ends as one sentence on
standard error and exit status 1; a wrong use of the command line is 2, as click has it. No verb
takes a secret as an argument. The runtime is imported only by the two verbs that need it, so that
the others stay quick.
"""

from mpbond.cli.program import main

__all__ = ["main"]
