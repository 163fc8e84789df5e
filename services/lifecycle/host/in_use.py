"""The uids and ports of the host that are in use."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
"""The state of a listening socket in the kernel's tables."""


def used_uids(etc: Path) -> list[range]:
    """Return the ids in `etc` that belong to accounts, groups and their user namespaces."""
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


def subordinate(text: str) -> list[range]:
    """Return the ranges in the text of /etc/subuid or /etc/subgid; malformed lines are ignored."""
    ranges = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            ranges.append(range(int(fields[1]), int(fields[1]) + int(fields[2])))
    return ranges


def accounts(text: str) -> list[range]:
    """Return the ids in the text of /etc/passwd or /etc/group, as ranges of one.

    Malformed lines are ignored.
    """
    ids = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            ids.append(range(int(fields[2]), int(fields[2]) + 1))
    return ids


def listening_ports(tables: Iterable[Path]) -> frozenset[int]:
    """Return the listening ports in some tables of TCP sockets; a missing table has none."""
    found: frozenset[int] = frozenset()
    for table in tables:
        with contextlib.suppress(FileNotFoundError):
            found |= parse_listening(table.read_text(errors="replace"))
    return found


def parse_listening(table: str) -> frozenset[int]:
    """Return the ports that are listened on, at any address.

    Args:
        table: the text of /proc/net/tcp or tcp6. Malformed lines are ignored.
    """
    ports = set()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return frozenset(ports)
