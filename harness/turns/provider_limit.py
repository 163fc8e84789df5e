"""A limit of the model's provider, which ends at a known time."""

import time

from harness.turns.reporter import Reporter


class ProviderLimit:
    """The limit that is in force; no turn begins before its end.

    Attributes:
        until: Its end, in seconds since 1970; 0 if there is none.
        reason: The reason that is shown.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._reported = False
        self.until = 0.0
        self.reason = ""

    @property
    def in_force(self) -> bool:
        """Whether its end is still to come."""
        return self.until > time.time()

    def hold(self, until: float, reason: str) -> None:
        """Begin no turn before `until`."""
        self.until = max(until, 1.0)  # a time, though over: the state has to end, too
        self.reason = reason

    def reached(self, until: float, reason: str) -> None:
        """Begin no turn before `until`, and tell the hive of the limit."""
        self.until, self.reason = until, reason
        self._reported = True
        self._reporter.provider_limit(int(until))

    def has_ended(self) -> bool:
        """Return whether a limit has ended since the last call."""
        ended = bool(self.until)
        self.until = 0.0
        return ended

    def answered(self) -> None:
        """Tell the hive that the provider answers again, if it was told of a limit."""
        if self._reported:
            self._reported = False
            self._reporter.provider_limit(0)
