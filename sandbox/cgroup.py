"""A control group for each sandbox, on machines whose PID 1 does not make one.

systemd-nspawn makes its `payload` group below the group in which it was started. Two sandboxes
started in the same group would share it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandbox.instance import Instance


def enter(instance: Instance) -> None:
    """Move this process into the sandbox's groups; under systemd it is in one already."""
    if Path("/run/systemd/system").is_dir():
        return
    for directory in directories(instance):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.procs").write_text(str(os.getpid()))


def processes(instance: Instance) -> set[int]:
    """Return the pids in the sandbox's groups; some processes outlive its init for a moment."""
    found: set[int] = set()
    for directory in directories(instance):
        for procs in directory.rglob("cgroup.procs"):
            with suppress(OSError):  # The group has just gone.
                found.update(map(int, procs.read_text().split()))
    return found


def remove(instance: Instance) -> None:
    """Remove the groups of a sandbox that has no processes left."""
    for directory in directories(instance):
        for path, _, _ in os.walk(directory, topdown=False):
            Path(path).rmdir()


def directories(instance: Instance) -> Iterator[Path]:
    """Yield the group's directory in each hierarchy of systemd-nspawn: v2, and v1's systemd."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        point = Path(mount.split()[4])
        kind, _, options = kind.split(" ", 2)
        ours = kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(","))
        if ours and os.access(point, os.W_OK):
            yield point / f"hyperhive-{instance.name}"
