"""Slow and obviously right versions of what the core does fast, for differential tests."""


class NaiveReplayWindow:
    """Remembers every number ever accepted."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.seen: set[int] = set()

    def would_accept(self, number: int) -> bool:
        too_old = bool(self.seen) and number <= max(self.seen) - self.width
        return not too_old and number not in self.seen

    def accept(self, number: int) -> bool:
        if not self.would_accept(number):
            return False
        self.seen.add(number)
        return True
