"""The resources that all containers and the host share without a limit for each."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NEAR: Final = 0.8
"""The part in use from which the operator is warned."""
DISK_NEAR: Final = 0.95
"""The same for the disk, which many hosts fill to a large part."""

EPHEMERAL_PORTS: Final = 28232
"""The kernel's default number of ports for programs that do not choose one."""

AGENTS: Final = "sys/fs/cgroup/hive.slice/hive-agents.slice"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A shared resource that is nearly used up."""

    resource: str
    """A word for it."""
    sentence: str
    """How much is used, and what to do."""


def shortages(root: Path, sockets: Path) -> Iterator[Shortage]:
    """Yield the resources that are nearly used up.

    A resource whose use the host does not tell is left out.

    Args:
        root: the host's root directory; differs from / only in tests.
        sockets: the host's /proc/net/sockstat.
    """
    counts = _sockstat(sockets)
    # Sockets that are bound and do not listen are in no table, so all are counted.
    for protocol, count in (("TCP", counts.get("TCP alloc")), ("UDP", counts.get("UDP inuse"))):
        if count is not None and count >= NEAR * EPHEMERAL_PORTS:
            yield Shortage(
                protocol,
                f"The host has {count} {protocol} sockets, and {EPHEMERAL_PORTS} ports for those "
                "that choose none. When no port is left, programs of the host cannot connect "
                "either. An agent may hold them: `ss --all --processes` shows who does.",
            )
    tasks, most = _number(root / AGENTS / "pids.current"), _number(root / AGENTS / "pids.max")
    if tasks is not None and most is not None and tasks >= NEAR * most:
        yield Shortage(
            "tasks",
            f"All agents together have {tasks} processes and threads, and may have {most}. When "
            "none are left, no agent can start a program. `hivectl limits NAME` shows the use of "
            "each agent.",
        )
    yield from _disk(root / "var/lib/hyperhive")


def _disk(folder: Path) -> Iterator[Shortage]:
    try:
        found = os.statvfs(folder)
    except OSError:
        return
    used = found.f_blocks - found.f_bfree
    total = used + found.f_bavail
    if total and used >= DISK_NEAR * total:
        yield Shortage(
            "disk",
            f"{100 * used // total} % of the disk space at {folder} are in use. When none is left, "
            "the broker refuses messages. `hivectl status NAME` shows the use of each agent.",
        )


def _sockstat(file: Path) -> dict[str, int]:
    """Return the numbers in a sockstat file, as `TCP alloc`."""
    counts = {}
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        name, _, rest = line.partition(": ")
        words = rest.split()
        for key, value in zip(words[::2], words[1::2], strict=False):
            if value.isdigit():
                counts[f"{name} {key}"] = int(value)
    return counts


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
