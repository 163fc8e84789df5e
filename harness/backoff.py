"""How long to leave something alone that keeps failing."""


class Backoff:
    """Doubles the delay with each failure in a row, up to a limit; in seconds."""

    def __init__(self, first: float, limit: float) -> None:
        self._first = first
        self._limit = limit
        self.failures = 0

    def failed(self) -> float:
        """Counts a failure; answers how long to wait before the next try."""
        self.failures += 1
        return min(self._first * 2.0 ** min(self.failures - 1, 30), self._limit)

    def succeeded(self) -> None:
        """Starts over."""
        self.failures = 0
