"""A bound for lines in the journal that a client can cause as often as it likes."""

import time
from typing import Final

SECONDS: Final = 60.0


class Seldom:
    """The times at which a line may be written: once a minute."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Return whether the line may be written now; then it may not for a minute."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + SECONDS
        return True
