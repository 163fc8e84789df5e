"""The delay between tries of something that keeps failing."""


class Backoff:
    """A delay in seconds that doubles with each failure in a row, up to a limit."""

    def __init__(self, first: float, limit: float) -> None:
        self._first = first
        self._limit = limit
        self.failures = 0

    def failed(self) -> float:
        """Count a failure; return how long to wait before the next try."""
        self.failures += 1
        return min(self._first * 2.0 ** min(self.failures - 1, 30), self._limit)

    def succeeded(self) -> None:
        """Start over with the first delay."""
        self.failures = 0
