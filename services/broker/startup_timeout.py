"""A longer startup timeout while a large store is checked, copied and migrated before READY."""

import time
from typing import Final

from services import unit

INTERVAL: Final = 5.0
"""The least time between two requests to systemd, in seconds."""
EXTENSION: Final = 60
"""The seconds that systemd waits after each request."""


class StartupTimeout:
    """The time systemd waits for READY. A start that hangs is still killed: nobody extends it."""

    def __init__(self) -> None:
        self._extended = time.monotonic()

    def extend(self) -> None:
        """Ask systemd for more time, at most every INTERVAL; call it while the start moves on."""
        now = time.monotonic()
        if now - self._extended >= INTERVAL:
            self._extended = now
            unit.notify(
                f"EXTEND_TIMEOUT_USEC={EXTENSION * 1_000_000}\n"
                "STATUS=The message store is large: checking it, and migrating it if it is old."
            )
