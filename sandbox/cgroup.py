"""A control group for each sandbox on machines whose PID 1 makes none.

systemd-nspawn puts its `payload` group below the group it was started in, so two sandboxes in
the same group would share one.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandbox.instance import Instance


def enter(instance: Instance) -> None:
    """Move this process into the sandbox's own groups; under systemd it is in one already."""
    if Path("/run/systemd/system").is_dir():
        return
    for directory in directories(instance):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.procs").write_text(str(os.getpid()))


def processes(instance: Instance) -> set[int]:
    """Pids of everything in the sandbox's groups; what it runs dies a little after its init."""
    found: set[int] = set()
    for directory in directories(instance):
        for procs in directory.rglob("cgroup.procs"):
            with suppress(OSError):  # The group has just gone.
                found.update(map(int, procs.read_text().split()))
    return found


def remove(instance: Instance) -> None:
    """Remove the groups of a sandbox that has no processes any more."""
    for directory in directories(instance):
        for path, _, _ in os.walk(directory, topdown=False):
            Path(path).rmdir()


def directories(instance: Instance) -> Iterator[Path]:
    """The group's directory in each hierarchy that systemd-nspawn uses: v2, and v1's systemd."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        point = Path(mount.split()[4])
        kind, _, options = kind.split(" ", 2)
        ours = kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(","))
        if ours and os.access(point, os.W_OK):
            yield point / f"hyperhive-{instance.name}"
