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


def subordinate(text: str) -> list[range]:
    """The ranges that /etc/subuid or /etc/subgid (`text`) gives away; malformed lines are none."""
    ranges = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            ranges.append(range(int(fields[1]), int(fields[1]) + int(fields[2])))
    return ranges


def accounts(text: str) -> list[range]:
    """The ids of /etc/passwd or /etc/group (`text`) as ranges of one; malformed lines are none."""
    ids = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            ids.append(range(int(fields[2]), int(fields[2]) + 1))
    return ids
