"""Try from inside a unit what its sandbox forbids, and print as JSON what succeeded.

Runs as the process of a unit: `python3 -I sandboxed.py`. The host has prepared what
`test_unit_sandboxes.py` calls `shared`: a SysV segment, a queue, a file and an abstract socket.
"""

import ctypes
import json
import mmap
import os
import platform
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

KEY = 0x68697665
LIBC = ctypes.CDLL(None, use_errno=True)
CALLS = {
    "x86_64": {"bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "add_key": 248},
    "aarch64": {"bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "add_key": 217},
}.get(platform.machine(), {})
PROG_LOAD, PROG_ATTACH, PROG_DETACH = 5, 8, 9
CGROUP_SKB, EGRESS, ALLOW_MULTI = 8, 1, 2
URING_SETUP, URING_ENTER, URING_REGISTER = 425, 426, 427
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000


def succeeds(attempt: Callable[[], object]) -> bool:
    """Return whether `attempt` succeeds in a child: the filter may kill the process."""
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def call(function: Callable[..., int], *arguments: object) -> Callable[[], object]:
    """Return an attempt to call a function of the C library, which fails with -1."""

    def attempt() -> None:
        if function(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "")

    return attempt


def syscall(number: int, *arguments: object) -> Callable[[], object]:
    return call(LIBC.syscall, number, *arguments)


def families() -> list[int]:
    """Return the address families of which a socket can be made."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW)
    return [family for family in range(1, 46) if any(opens(family, kind) for kind in kinds)]


def opens(family: int, kind: int) -> bool:
    """Return whether a socket can be made; the filter refuses families, it does not kill."""
    try:
        socket.socket(family, kind).close()
    except OSError:
        return False
    return True


def writable(top: str, depth: int) -> Iterator[str]:
    """Yield the directories below `top` in which a file can be made; nothing below these."""
    if top in ("/proc", "/sys"):
        return
    if os.access(top, os.W_OK) and succeeds(partial(make_file, top)):
        yield top
        return
    try:
        inside = [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for path in inside if depth else ():
        yield from writable(path, depth - 1)


def make_file(folder: str) -> None:
    file, path = tempfile.mkstemp(dir=folder)
    os.close(file)
    Path(path).unlink()


def write(path: str) -> Callable[[], object]:
    return lambda: os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)


def executable_memory() -> None:
    area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.close()


def set_user_id() -> None:
    with tempfile.NamedTemporaryFile() as file:
        os.fchmod(file.fileno(), 0o4700)


def connect(name: str) -> Callable[[], object]:
    return lambda: socket.socket(socket.AF_UNIX).connect(name)


def attempts() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each attempt with its name."""
    room = ctypes.create_string_buffer(4096)
    yield "io_uring_setup", syscall(URING_SETUP, 8, room)
    for number in (URING_ENTER, URING_REGISTER):
        # On a descriptor that is none: EBADF, if the kernel itself refuses.
        yield f"io_uring {number}", partial(unless_bad_file, number)
    for name, number in CALLS.items():
        arguments = {"add_key": (b"user", b"probe", b"x", 1, -3)}.get(name, (0, 0, 0, 0, 0))
        yield name, syscall(number, *arguments)
    for name, flags in (("user", CLONE_NEWUSER), ("net", CLONE_NEWNET), ("mount", CLONE_NEWNS)):
        yield f"{name} namespace", call(LIBC.unshare, flags)
    yield "mount", call(LIBC.mount, b"none", b"/tmp", b"tmpfs", 0, None)
    yield "personality", call(LIBC.personality, 0x0040000)
    yield "host name", lambda: socket.sethostname("probe")
    yield "clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())
    yield "real time", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    yield "executable memory", executable_memory
    yield "set-user-ID", set_user_id
    yield "program of a control group", attach_program
    yield "SysV segment of others", call(LIBC.shmget, KEY, 0, 0o600)
    yield "queue of others", call(ctypes.CDLL("librt.so.1").mq_open, b"/hive-probe", os.O_RDONLY)
    yield "file in /dev/shm of others", lambda: os.open("/dev/shm/hive-probe", os.O_RDWR)
    yield "abstract socket", connect("\0hive-probe")
    for path in ("/run/x", "/run/systemd/system/x.service", "/run/dbus/x", "/run/lock/x",
                 "/run/user/x", "/etc/x", "/etc/hyperhive/x", "/usr/x", "/dev/shm/x",
                 "/dev/mqueue/x", "/sys/fs/cgroup/x/y", "/proc/sys/kernel/core_pattern",
                 "/run/hyperhive/x", "/var/lib/hyperhive/x", "/root/x"):  # fmt: skip
        yield path, write(path)


def attach_program() -> None:
    """Attach a program that passes every packet to a control group, and take it away again."""
    steps = ctypes.create_string_buffer(struct.pack("=BBhIBBhI", 0xB7, 0, 0, 1, 0x95, 0, 0, 0), 16)
    license = ctypes.create_string_buffer(b"GPL")
    places = ctypes.addressof(steps), ctypes.addressof(license)
    program = bpf(PROG_LOAD, struct.pack("=IIQQ44xI", CGROUP_SKB, 2, *places, EGRESS))
    group = os.open("/sys/fs/cgroup", os.O_RDONLY)
    bpf(PROG_ATTACH, struct.pack("=4I", group, program, EGRESS, ALLOW_MULTI))
    bpf(PROG_DETACH, struct.pack("=4I", group, program, EGRESS, 0))


def bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2), and return its result."""
    room = ctypes.create_string_buffer(attributes, 128)
    result = int(LIBC.syscall(CALLS["bpf"], command, room, len(room)))
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def unless_bad_file(number: int) -> None:
    """Fail unless the system call reaches the kernel, which says EBADF."""
    LIBC.syscall(number, -1, 0, 0, 0, 0, 0)
    if ctypes.get_errno() != 9:
        raise PermissionError


outcome = {
    "succeeded": [name for name, attempt in attempts() if succeeds(attempt)],
    "families": families(),
    "writable": sorted(writable("/", 5)),
}
json.dump(outcome, sys.stdout)
