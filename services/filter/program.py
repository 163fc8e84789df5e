"""The BPF program: packets to some addresses are sent only if they go to port 53.

systemd attaches it to the cgroup of a container (`IPEgressFilterPath=`) beside its own filter of
addresses; a packet must pass both. The program is assembled here, without a compiler and without
maps: it has the addresses as constants.
"""

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from services.nameservers import IPAddress

DNS_PORT: Final = 53

DROP: Final = 0
PASS: Final = 1
"""The values that the program returns to the kernel."""

_LOAD_BYTES: Final = 26
"""The number of the kernel's function bpf_skb_load_bytes(packet, offset, to, length)."""

_LATER_FRAGMENT: Final = struct.unpack("=H", struct.pack("!H", 0x1FFF))[0]
_DNS: Final = struct.unpack("=H", struct.pack("!H", DNS_PORT))[0]
_TCP, _UDP = 6, 17

# Registers: 6 is the packet, 7 the protocol above IP, 8 the offset of its header; 0 has results.
# The frame: 40 bytes for the header of IP, and 8 for a byte or a port.
_HEADER: Final = -48
_SCRATCH: Final = -8


class _Step(NamedTuple):
    """An instruction; `to` is the label that it jumps to."""

    code: int
    register: int = 0
    source: int = 0
    offset: int = 0
    value: int = 0
    to: str = ""


def assemble(addresses: Iterable[IPAddress]) -> bytes:
    """Return the program for `addresses`: eight bytes for each instruction."""
    steps: list[_Step] = []
    labels: dict[str, int] = {}
    for item in _text(list(addresses)):
        if isinstance(item, str):
            labels[item] = len(steps)
        else:
            steps.append(item)
    return b"".join(_encoded(step, place, labels) for place, step in enumerate(steps))


def _encoded(step: _Step, place: int, labels: dict[str, int]) -> bytes:
    offset = labels[step.to] - place - 1 if step.to else step.offset
    registers = step.register | step.source << 4
    return struct.pack("=BBhI", step.code, registers, offset, step.value)


def _text(addresses: list[IPAddress]) -> Iterator[_Step | str]:
    """Yield the instructions and, as text, the labels between them."""
    yield _Step(0xBF, 6, 1)  # r6 = r1
    yield from _load_bytes(_HEADER, 1)
    yield _Step(0x71, 1, 10, _HEADER)  # r1 = the first byte
    yield _Step(0x77, 1, value=4)  # r1 >>= 4
    yield _Step(0x15, 1, value=4, to="version 4")
    yield _Step(0x15, 1, value=6, to="version 6")
    yield _Step(0x05, to="drop")

    yield "version 4"
    yield from _load_bytes(_HEADER, 20)
    yield _Step(0x71, 7, 10, _HEADER + 9)
    yield _Step(0x71, 8, 10, _HEADER)
    yield _Step(0x57, 8, value=15)  # r8 &= 15, the length of the header in words
    yield _Step(0x67, 8, value=2)  # r8 <<= 2
    for address in addresses:
        if isinstance(address, ipaddress.IPv4Address):
            yield from _compare(address, _HEADER + 16, "whole?")
    yield _Step(0x05, to="pass")
    yield "whole?"  # a later fragment has no port
    yield _Step(0x69, 1, 10, _HEADER + 6)
    yield _Step(0x57, 1, value=_LATER_FRAGMENT)
    yield _Step(0x15, 1, value=0, to="check")
    yield _Step(0x05, to="drop")

    yield "version 6"
    yield from _load_bytes(_HEADER, 40)
    yield _Step(0x71, 7, 10, _HEADER + 6)
    yield _Step(0xB7, 8, value=40)
    for address in addresses:
        if isinstance(address, ipaddress.IPv6Address):
            yield from _compare(address, _HEADER + 24, "check")
    yield "pass"
    yield _Step(0xB7, 0, value=PASS)
    yield _Step(0x95)

    yield "check"  # extension headers, such as that of fragments, are neither TCP nor UDP
    yield _Step(0x15, 7, value=_TCP, to="port")
    yield _Step(0x55, 7, value=_UDP, to="drop")
    yield "port"
    yield _Step(0x07, 8, value=2)  # r8 += 2: the port of the receiver
    yield from _load_bytes(_SCRATCH, 2, register=8)
    yield _Step(0x69, 1, 10, _SCRATCH)
    yield _Step(0x15, 1, value=_DNS, to="pass")
    yield "drop"
    yield _Step(0xB7, 0, value=DROP)
    yield _Step(0x95)


def _load_bytes(frame: int, length: int, register: int | None = None) -> Iterator[_Step]:
    """Copy bytes of the packet to the frame, from its start or from the offset in `register`."""
    yield _Step(0xBF, 1, 6)
    yield _Step(0xB7, 2) if register is None else _Step(0xBF, 2, register)
    yield _Step(0xBF, 3, 10)
    yield _Step(0x07, 3, value=frame & 0xFFFFFFFF)
    yield _Step(0xB7, 4, value=length)
    yield _Step(0x85, value=_LOAD_BYTES)
    yield _Step(0x55, 0, value=0, to="drop")  # a packet that is too short


def _compare(address: IPAddress, frame: int, equal: str) -> Iterator[_Step | str]:
    """Jump to `equal` if the bytes in the frame are those of `address`."""
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    different = f"not {address}"
    for number, word in enumerate(words):
        yield _Step(0x61, 1, 10, frame + 4 * number)
        yield _Step(0x56, 1, value=word, to=different)
    yield _Step(0x05, to=equal)
    yield different
