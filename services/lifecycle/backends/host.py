"""What of the host's uids and ports is taken already."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from services.lifecycle import ports, uidrange


def taken_uids(etc: Path) -> list[range]:
    """What `etc` gives to accounts and to their user namespaces."""
    taken = []
    for file, parse in (
        ("subuid", uidrange.subordinate),
        ("subgid", uidrange.subordinate),
        ("passwd", uidrange.accounts),
        ("group", uidrange.accounts),
    ):
        with contextlib.suppress(FileNotFoundError):
            taken += parse((etc / file).read_text(errors="replace"))
    return taken


def listening(tables: Iterable[Path]) -> frozenset[int]:
    """The ports in the tables of TCP sockets; one that is not there has none."""
    found: frozenset[int] = frozenset()
    for table in tables:
        with contextlib.suppress(FileNotFoundError):
            found |= ports.listening(table.read_text(errors="replace"))
    return found
