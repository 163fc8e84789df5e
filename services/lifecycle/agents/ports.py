"""The choice of the host's port for an agent's page."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from wire import names
from wire.errors import LimitExceeded

MANAGER: Final = 8000
"""The port of the manager's page."""
FIRST: Final = 8100
"""The first port for the pages of all other agents."""
COUNT: Final = 900
"""The number of these ports."""


def choose(name: str, taken: Collection[int]) -> int:
    """Return a port for `name`: the one its hash falls on, or the next that is not in `taken`.

    An agent gets the same port on every host where that port is free.

    Raises:
        LimitExceeded: all ports are taken.
    """
    if name == names.MANAGER:
        return MANAGER
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for probe in range(COUNT):
        port = FIRST + (start + probe) % COUNT
        if port not in taken:
            return port
    raise LimitExceeded(
        f"All {COUNT} ports for agents' pages ({FIRST} to {FIRST + COUNT - 1}) are taken by "
        "agents, tombstones or other programs on the host. Free one by purging a tombstone with "
        "`hivectl purge`."
    )


def shared(ports: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return for each name in `ports` the others with the same port; port 0 means none."""
    having: dict[int, list[str]] = {}
    for name, port in sorted(ports.items()):
        having.setdefault(port, []).append(name)
    return {
        name: tuple(other for other in having[port] if port and other != name)
        for name, port in ports.items()
    }
