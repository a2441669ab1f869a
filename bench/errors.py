"""What the laboratory tells a person when something cannot be done."""


class BenchError(Exception):
    """One sentence that names the guilty thing, and what would be right."""
