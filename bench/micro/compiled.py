"""The compiled functions, under the names of those in Python (bench.micro.twins)."""

from bench.micro.twins import CIPHER, KEY, functions_of
from mpbond import native
from mpbond.core import kernel, segments

if native.kernel is None:
    raise ImportError(native.absent)

_made = functions_of(kernel.Aead(CIPHER, KEY), segments.Cut, kernel.join)
seal, unseal, cut, join = (_made[name] for name in ("seal", "unseal", "cut", "join"))
