"""The settings of the host that each container shares: its name servers and its time zone."""

import re
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 64 * 1024
"""The most bytes of resolv.conf that are read."""

ZONE: Final = re.compile(r"(?:.*/)?zoneinfo/([A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*)")
"""The target of a link to a time zone; the group is the name of the zone."""


def resolv_conf(root: Path) -> str:
    """Return the text of the host's resolv.conf, empty if it cannot be read.

    Args:
        root: the root directory of the host; differs from / only in tests.
    """
    try:
        with (root / "etc/resolv.conf").open("rb") as file:
            return file.read(MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""


def time_zone(root: Path) -> str:
    """Return the name of the host's time zone, such as Europe/Berlin; empty means UTC.

    Args:
        root: the root directory of the host; differs from / only in tests.
    """
    try:
        target = str((root / "etc/localtime").readlink())
    except OSError:
        return ""
    found = ZONE.fullmatch(target)
    return found[1] if found else ""
