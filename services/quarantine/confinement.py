"""The confinement of a git that reads what strangers have written: some directories, no sockets.

    runner.confine(Confinement([state, scratch]))

A service that holds credentials, or has the network, gives neither to such a git: Landlock lets it
open files below the named directories alone, and seccomp refuses to make sockets. Neither needs a
privilege. Both hold for all children of that git.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from wire.errors import Unavailable

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""The numbers of the system calls of Landlock, on each architecture."""
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_TRUNCATE: Final = 1 << 14
_REFER: Final = 1 << 13
_FIRST: Final = (1 << 13) - 1
"""The rights that the first version of Landlock knows: all of a file system."""
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE

_NO_NEW_PRIVILEGES: Final = 38
_SET_SECCOMP: Final = 22
_FILTER: Final = 2
_SOCKETS: Final = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""The architecture as seccomp names it, and its number of the system call `socket`."""
_REFUSED: Final = 0x00050000 | errno.EPERM
_ALLOWED: Final = 0x7FFF0000
_X32: Final = 0x40000000

PROGRAMS: Final = tuple(
    map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/nix/store"))
)
"""The directories of programs, libraries and their configuration."""
_DEVICES: Final = tuple(map(Path, ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")))

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Confinement:
    """A confinement, prepared once; `enter` is called in each new process."""

    def __init__(self, directories: Iterable[Path]) -> None:
        """Allow to read and run files below PROGRAMS, and to do anything below `directories`.

        Paths that do not exist are left out.

        Raises:
            Unavailable: the kernel has no Landlock, or this architecture is not known.
        """
        version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
        sockets = _SOCKETS.get(platform.machine())
        if version < 1 or sockets is None:
            raise Unavailable(
                "git cannot be confined here: the kernel has no Landlock (Linux 5.13, with "
                "landlock in /sys/kernel/security/lsm), or the processor is not one of "
                f"{', '.join(_SOCKETS)}. Submitted commits are not taken without it."
            )
        known = _FIRST | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
        self._ruleset = _created(known)
        # The configuration of git lies here.
        for path in (*PROGRAMS, Path(__file__).parent):
            self._allow(path, _READ)
        for path in _DEVICES:
            self._allow(path, _READ_FILE | _WRITE_FILE)
        for path in directories:
            self._allow(path, known)
        self._filter = _seccomp(*sockets)

    def _allow(self, path: Path, rights: int) -> None:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if not path.is_dir():
                rights &= _OF_FILES
            rule = struct.pack("=Qi", rights, descriptor)
            _checked(_libc.syscall(_ADD_RULE, self._ruleset, _PATH_BENEATH, rule, 0))
        finally:
            os.close(descriptor)

    def enter(self) -> None:
        """Confine this process for ever, with all children that it will have. Raises OSError."""
        _checked(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT_SELF, self._ruleset, 0))
        _checked(_libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(self._filter), 0, 0))

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self._ruleset)


class _Program(ctypes.Structure):
    """A `struct sock_fprog`, with the instructions that it points to."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _created(rights: int) -> int:
    attributes = struct.pack("=Q", rights)
    size = ctypes.c_size_t(len(attributes))
    descriptor: int = _checked(_libc.syscall(_CREATE_RULESET, attributes, size, 0))
    return descriptor


def _seccomp(architecture: int, socket: int) -> _Program:
    """Return a filter that refuses sockets, and all calls of other architectures."""
    load, equal, above, end = 0x20, 0x15, 0x35, 0x06
    instructions = (
        (load, 0, 0, 4),  # the architecture
        (equal, 0, 3, architecture),
        (load, 0, 0, 0),  # the number of the call
        (above, 1, 0, _X32),
        (equal, 0, 1, socket),
        (end, 0, 0, _REFUSED),
        (end, 0, 0, _ALLOWED),
    )
    packed = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    return _Program(len(instructions), packed)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
