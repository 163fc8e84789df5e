"""Which port of the host an agent's page has."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from wire import names
from wire.errors import LimitExceeded

MANAGER: Final = 8000
"""The manager's, always."""
FIRST: Final = 8100
COUNT: Final = 900
"""How many there are for all other agents, from FIRST up."""


def choose(name: str, taken: Collection[int]) -> int:
    """The port for `name`: where its hash falls, or the next one that is not in `taken`.

    The same name gets the same port on every host where it is free. Raises LimitExceeded when all
    are taken.
    """
    if name == names.MANAGER:
        return MANAGER
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for probe in range(COUNT):
        port = FIRST + (start + probe) % COUNT
        if port not in taken:
            return port
    raise LimitExceeded(
        f"All {COUNT} ports for agents' pages ({FIRST} to {FIRST + COUNT - 1}) are taken, by "
        "agents, tombstones or others on the host; `hivectl purge` of a tombstone frees one."
    )


def shared(ports: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """For each name in `ports`, who else has its port; 0 is none, and nobody shares it."""
    having: dict[int, list[str]] = {}
    for name, port in sorted(ports.items()):
        having.setdefault(port, []).append(name)
    return {
        name: tuple(other for other in having[port] if port and other != name)
        for name, port in ports.items()
    }
