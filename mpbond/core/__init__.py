"""The pure heart: no clock, socket, task, operating system or global randomness.

`endpoint` is the face, `session` the conductor; every other module is one concern. docs/architecture.md
draws the picture.
"""

from mpbond import native

native.choose_core(__path__[0])
