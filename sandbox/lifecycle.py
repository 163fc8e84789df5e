"""Booting and ending a sandbox; no step relies on the one before it."""

import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sandbox import cgroup
from sandbox.instance import MARK, REPO, RUN, STATE, Instance, SandboxError, kill

BOOT_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
POWEROFF: Final = signal.SIGRTMIN + 4
"""The signal that makes systemd as PID 1 power off."""


def up(instance: Instance, bare: bool = False) -> None:
    """Boot `instance` unless it is up, and return when it is ready.

    Args:
        instance: the sandbox.
        bare: do not mount the repository's venv, as on a host without Hyperhive.

    Raises:
        SandboxError: it did not come up in time; the text has the end of its console.
    """
    _require_tools()
    with _exclusive(instance):
        if instance.init() is not None:
            return
        _clean(instance, keep=True)
        instance.run_dir.mkdir(parents=True)
        try:
            _boot(instance, bare)
        except BaseException:
            _clean(instance, keep=True)
            raise


def down(instance: Instance, keep: bool = False) -> None:
    """End `instance` in whatever state it is, and remove its files; keep its data if `keep`."""
    with _exclusive(instance):
        init = instance.init()
        if init is not None:
            kill(init, POWEROFF)
            _wait(instance.processes(), STOP_SECONDS)
        _clean(instance, keep)


def _boot(instance: Instance, bare: bool) -> None:
    """Start the supervisor, and wait for its READY=1."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        if Path("/run/systemd/system").is_dir():
            _boot_as_unit(instance, bare)
            return
        address = instance.run_dir / "ready"
        ready.bind(str(address))
        # Only the supervisor holds the other end of this pipe, which closes when it ends.
        ended, held = os.pipe()
        try:
            _launch(instance, bare, address, held)
            seen, _, _ = select.select([ready.fileno(), ended], [], [], BOOT_SECONDS)
        finally:
            os.close(ended)
        if ready.fileno() not in seen:
            reason = "it ended" if seen else "it was not ready in time"
            raise SandboxError(_failure(instance, reason))


def _launch(instance: Instance, bare: bool, address: Path, held: int) -> None:
    """Start the supervisor detached, so that no caller has to reap it; close `held`."""
    try:
        with instance.console.open("wb") as console:
            subprocess.run(
                ["setsid", "--fork", *_supervisor(instance, bare)],
                env={**_environment(instance), "NOTIFY_SOCKET": str(address)},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                pass_fds=[held],
                check=True,
            )
    finally:
        os.close(held)


def _boot_as_unit(instance: Instance, bare: bool) -> None:
    """Start the supervisor as a unit of the machine, with its own control group."""
    properties = {
        "Type": "notify",
        "NotifyAccess": "main",
        "Delegate": "yes",
        "KillMode": "mixed",
        "TimeoutStartSec": f"{BOOT_SECONDS:.0f}",
        "StandardOutput": f"append:{instance.console}",
        "StandardError": f"append:{instance.console}",
        "WorkingDirectory": str(REPO),
    }
    run = ["systemd-run", "--quiet", "--collect", f"--unit={instance.unit}"]
    run += [f"--property={key}={value}" for key, value in properties.items()]
    run += [f"--setenv={key}={value}" for key, value in _environment(instance).items()]
    if subprocess.run([*run, *_supervisor(instance, bare)]).returncode != 0:
        raise SandboxError(_failure(instance, "its unit failed"))


def _supervisor(instance: Instance, bare: bool) -> list[str]:
    private = ["unshare", "--mount", "--propagation", "private", "--"]
    options = ["--bare"] if bare else []
    return [*private, "/usr/bin/python3", "-m", "sandbox.supervisor", instance.name, *options]


def _environment(instance: Instance) -> dict[str, str]:
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(REPO),
        "PYTHONDONTWRITEBYTECODE": "1",
        MARK: instance.name,
    }


def _failure(instance: Instance, reason: str) -> str:
    text = instance.console.read_text(errors="replace") if instance.console.exists() else ""
    tail = "\n  ".join(text.splitlines()[-15:])
    return f"Sandbox {instance.name} did not come up ({reason}). Its console said:\n  {tail}"


def _clean(instance: Instance, keep: bool) -> None:
    """Kill the processes left of `instance`, and remove its directories, groups and mounts."""
    while remaining := {*instance.processes(), *cgroup.processes(instance)}:
        for pid in remaining:
            kill(pid)
        if not _wait(remaining, STOP_SECONDS):
            raise SandboxError(
                f"Processes {sorted(remaining)} of sandbox {instance.name} hang in the kernel and"
                " cannot be killed. `dmesg` may tell why."
            )
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "stop", instance.unit], stderr=subprocess.DEVNULL)
    cgroup.remove(instance)
    for directory in [instance.run_dir] if keep else [instance.run_dir, instance.state_dir]:
        _unmount_below(directory)
        if directory.exists():
            # Not shutil.rmtree: agents may have left deeper trees than it can go down.
            subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)


def _unmount_below(directory: Path) -> None:
    """Unmount what should not be mounted here: deleting below a mount would delete its source."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        if Path(point).is_relative_to(directory):
            subprocess.run(["umount", "--lazy", point], check=True)


def _wait(pids: Iterable[int], seconds: float) -> bool:
    """Wait until all processes have ended, at most `seconds`; return whether they have."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            ended = os.pidfd_open(pid)
        except ProcessLookupError:
            continue  # It has ended already.
        try:
            if not select.select([ended], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
        finally:
            os.close(ended)
    return True


@contextmanager
def _exclusive(instance: Instance) -> Iterator[None]:
    """Hold the lock of the sandbox: one command changes it at a time."""
    path = RUN / f"{instance.name}.lock"
    while True:
        RUN.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # The last sandbox has gone, and its command removed the directory.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            break
        os.close(lock)  # The holder before us has removed the file.
    try:
        yield
    finally:
        if not instance.run_dir.exists():
            path.unlink()
            for directory in (RUN, STATE):
                with suppress(OSError):
                    directory.rmdir()
        os.close(lock)


def _require_tools() -> None:
    missing = [tool for tool in ("systemd-nspawn", "nsenter", "unshare") if not shutil.which(tool)]
    if missing:
        raise SandboxError(f"{', '.join(missing)} is missing. Run `make bootstrap` to install it.")
