"""Which 65536 uids of the host an agent's container is mapped to."""

import hashlib
from collections.abc import Iterable
from typing import Final

from wire.errors import LimitExceeded

SIZE: Final = 0x10000
"""Uids in a range; a base is a multiple of it."""
FIRST: Final = 0x1000_0000
"""Above every login and dynamic user, below the upper end of what systemd gives to containers."""
COUNT: Final = 0x2000


def choose(name: str, taken: Iterable[range]) -> int:
    """The base for `name`: where its hash falls, or the next range that touches none of `taken`.

    The same name gets the same base on every host where it is free, so data that was copied to
    another host mostly keeps its owner. Raises LimitExceeded when all ranges are taken.
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
        f"All {COUNT} uid ranges are taken; destroy agents with --purge to free some."
    )


def is_base(uid: int) -> bool:
    """Whether `uid` can be the base of an agent's range."""
    return uid % SIZE == 0 and FIRST <= uid < FIRST + COUNT * SIZE
