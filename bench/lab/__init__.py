"""A laboratory of network namespaces: links as bad as wished, and the real programs on them."""

from bench.lab.lab import Lab
from bench.lab.namespaces import LabError
from bench.links.shape import LinkSpec

__all__ = ["Lab", "LabError", "LinkSpec"]
