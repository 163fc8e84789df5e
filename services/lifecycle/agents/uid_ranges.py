"""The choice of the 65536 uids of the host that an agent's container is mapped to."""

import hashlib
from collections.abc import Iterable
from typing import Final

from wire.errors import LimitExceeded

SIZE: Final = 0x10000
"""The uids in a range. The base of a range is a multiple of it."""
FIRST: Final = 0x1000_0000
"""The first base: above login and dynamic users, below the last uid that systemd gives to
containers."""
COUNT: Final = 0x2000
"""The number of ranges."""


def choose(name: str, taken: Iterable[range]) -> int:
    """Return a base for `name`: the one its hash falls on, or the next that is free.

    An agent gets the same base on every host where that range is free, so data that is copied to
    another host usually keeps its owner.

    Args:
        name: the agent.
        taken: uids that the range must not overlap.

    Raises:
        LimitExceeded: all ranges are taken.
    """
    occupied: set[int] = set()
    for used in taken:
        if len(used):
            first = max((used[0] - FIRST) // SIZE, 0)
            last = min((used[-1] - FIRST) // SIZE, COUNT - 1)
            occupied.update(range(first, last + 1))
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for probe in range(COUNT):
        slot = (start + probe) % COUNT
        if slot not in occupied:
            return FIRST + slot * SIZE
    raise LimitExceeded(
        f"All {COUNT} uid ranges are taken. Free some by destroying agents with --purge."
    )


def is_base(uid: int) -> bool:
    """Return whether `uid` can be the base of an agent's range."""
    return uid % SIZE == 0 and FIRST <= uid < FIRST + COUNT * SIZE
