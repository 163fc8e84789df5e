"""What of the host's uids and ports is used already."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
"""The state of a listening socket in the kernel's tables."""


def used_uids(etc: Path) -> list[range]:
    """What `etc` gives to accounts and to their user namespaces."""
    used = []
    for file, parse in (
        ("subuid", subordinate),
        ("subgid", subordinate),
        ("passwd", accounts),
        ("group", accounts),
    ):
        with contextlib.suppress(FileNotFoundError):
            used += parse((etc / file).read_text(errors="replace"))
    return used


def listening_ports(tables: Iterable[Path]) -> frozenset[int]:
    """The ports in the tables of TCP sockets; one that is not there has none."""
    found: frozenset[int] = frozenset()
    for table in tables:
        with contextlib.suppress(FileNotFoundError):
            found |= parse_listening(table.read_text(errors="replace"))
    return found


def parse_listening(table: str) -> frozenset[int]:
    """The ports that somebody listens on, at whatever address.

    `table` is a /proc/net/tcp or tcp6. A line that is none is left out.
    """
    ports = set()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return frozenset(ports)


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
