"""A start that takes long: a large store is checked, copied and migrated before READY."""

import time
from typing import Final

from services import unit

EVERY: Final = 5.0
"""How often systemd is told, in seconds, while something moves."""
MORE: Final = 60
"""For how long it waits from then on, in seconds."""


class Patience:
    """Asks systemd to go on waiting, each time it is called; a start that hangs is still killed."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self) -> None:
        """The start is alive."""
        now = time.monotonic()
        if now - self._told >= EVERY:
            self._told = now
            unit.notify(
                f"EXTEND_TIMEOUT_USEC={MORE * 1_000_000}\n"
                "STATUS=The message store is large: it is checked, and migrated when it is older."
            )
