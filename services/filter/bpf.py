"""The system call bpf(2), as far as it is needed; the standard library does not have it."""

import ctypes
import os
import platform
import struct
from pathlib import Path
from typing import Final

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_LOAD, _OBJ_PIN, _PROG_TEST_RUN = 5, 6, 10
_CGROUP_SKB: Final = 8
_EGRESS: Final = 1
_LOG: Final = 65536

_libc = ctypes.CDLL(None, use_errno=True)


class BpfError(OSError):
    """The kernel refused a call; the text has the last words of its verifier, if any."""


def load(instructions: bytes) -> int:
    """Load a program that filters the outgoing packets of a cgroup; return its descriptor.

    Raises:
        BpfError: the kernel does not take the program, or the caller may not load one.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    # The program calls no function that only programs under the GPL may call.
    license_ = ctypes.create_string_buffer(b"")
    log = ctypes.create_string_buffer(_LOG)
    count = len(instructions) // 8
    pointers = (ctypes.addressof(code), ctypes.addressof(license_))
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        *(_CGROUP_SKB, count, *pointers),
        *(1, _LOG, ctypes.addressof(log)),
        *(0, 0, b"hive_dns_only", 0, _EGRESS),
    )
    try:
        return _bpf(_PROG_LOAD, attributes)[0]
    except BpfError as error:
        said = log.value.decode(errors="replace").strip()[-500:]
        raise BpfError(error.errno, f"{error.strerror} {said}".strip()) from error


def pin(descriptor: int, path: Path) -> None:
    """Give a program a name in a BPF file system, in the place of another of that name.

    Raises:
        OSError: the path is not in a BPF file system, or not writable.
    """
    path.unlink(missing_ok=True)
    name = ctypes.create_string_buffer(os.fsencode(path))
    _bpf(_OBJ_PIN, struct.pack("=QII", ctypes.addressof(name), descriptor, 0))


def try_on(descriptor: int, packet: bytes) -> int:
    """Run a program on a packet of IP, and return its result. Raises BpfError."""
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    frame = ctypes.create_string_buffer(bytes(12) + kind + packet, 14 + len(packet))
    attributes = struct.pack(
        "=IIIIQQII", descriptor, 0, 14 + len(packet), 0, ctypes.addressof(frame), 0, 1, 0
    )
    result: int = struct.unpack_from("=I", _bpf(_PROG_TEST_RUN, attributes)[1], 4)[0]
    return result


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Call bpf(2); return its result, and the attributes with the kernel's answers."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise BpfError(0, f"the number of bpf(2) on {platform.machine()} is not known")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = _libc.syscall(number, command, buffer, len(attributes))
    if result < 0:
        error = ctypes.get_errno()
        raise BpfError(error, os.strerror(error))
    return result, buffer.raw
