"""The program on packets, in the kernel itself."""

import ipaddress
import os
import struct
from collections.abc import Iterator

import pytest

from services import nameservers
from services.filter import bpf
from services.filter.program import DROP, PASS, assemble
from services.nameservers import IPAddress

SERVERS = ("127.0.0.53", "fe80::1")
TCP, UDP, ICMP, FRAGMENT = 6, 17, 1, 44

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads a program: needs root")


def address(text: str) -> IPAddress:
    return ipaddress.ip_address(text)


@pytest.fixture(scope="module")
def program() -> Iterator[int]:
    descriptor = bpf.load(assemble(address(server) for server in SERVERS))
    yield descriptor
    os.close(descriptor)


def packet(
    to: str, protocol: int, port: int, *, fragment: int = 0, options: int = 0, cut: int = 8
) -> bytes:
    """Return a packet of IP. `options` are in words; `cut` is how much there is above IP."""
    target = address(to)
    above = struct.pack("!HHHH", 53, port, 8, 0)[:cut]
    if isinstance(target, ipaddress.IPv6Address):
        head = struct.pack("!IHBB", 6 << 28, len(above), protocol, 64)
        return head + address("::1").packed + target.packed + above
    words = 5 + options
    head = struct.pack(
        "!BBHHHBBH", 4 << 4 | words, 0, words * 4 + len(above), 0, fragment, 64, protocol, 0
    )
    return head + address("10.0.0.1").packed + target.packed + bytes(options * 4) + above


@pytest.mark.parametrize("to", SERVERS)
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_dns_passes(program: int, to: str, protocol: int) -> None:
    assert bpf.try_on(program, packet(to, protocol, 53)) == PASS


@pytest.mark.parametrize("to", SERVERS)
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("port", [0, 22, 52, 54, 53 << 8, 443, 65535])
def test_no_other_port_does(program: int, to: str, protocol: int, port: int) -> None:
    assert bpf.try_on(program, packet(to, protocol, port)) == DROP


@pytest.mark.parametrize(
    "wrong",
    [
        packet("127.0.0.53", ICMP, 53),
        packet("fe80::1", ICMP, 53),
        packet("fe80::1", FRAGMENT, 53),
        packet("127.0.0.53", UDP, 53, fragment=1),
        packet("127.0.0.53", UDP, 53, fragment=0x2001),
        packet("127.0.0.53", UDP, 53, cut=3),
        packet("fe80::1", UDP, 53, cut=2),
        packet("127.0.0.53", UDP, 80, options=3),
        packet("127.0.0.53", UDP, 53, options=10, cut=0),
        bytes([0x75]) + bytes(40),
    ],
)
def test_packets_that_hide_their_port_are_dropped(program: int, wrong: bytes) -> None:
    assert bpf.try_on(program, wrong) == DROP


@pytest.mark.parametrize("to", ["127.0.0.52", "53.0.0.127", "fe80::2", "fe80::1:0:0:1", "::1"])
def test_other_addresses_are_left_to_systemd(program: int, to: str) -> None:
    for protocol in (TCP, UDP, ICMP):
        assert bpf.try_on(program, packet(to, protocol, 80)) == PASS


def test_the_first_fragment_and_options_pass(program: int) -> None:
    assert bpf.try_on(program, packet("127.0.0.53", UDP, 53, fragment=0x2000)) == PASS
    assert bpf.try_on(program, packet("127.0.0.53", UDP, 53, options=3)) == PASS


def test_a_wrong_program_is_refused_with_the_words_of_the_kernel() -> None:
    with pytest.raises(bpf.BpfError, match=r"R0 !read_ok|last insn|register"):
        bpf.load(struct.pack("=BBhI", 0x95, 0, 0, 0))


def test_an_instance_says_its_addresses() -> None:
    found = nameservers.instance_of([address("fe80::1"), address("127.0.0.53")])
    assert found == "7f000035_fe800000000000000000000000000001"
    assert nameservers.addresses_of(found) == [address("127.0.0.53"), address("fe80::1")]
    assert nameservers.unit_of(found) == f"hive-filter@{found}.service"
    assert nameservers.instance_of([]) == ""


@pytest.mark.parametrize(
    "wrong", ["", "7f", "x", "7f000035_", "7f000035," * 2, "_".join(["7f000035"] * 4)]
)
def test_a_wrong_instance_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"address|hex"):
        nameservers.addresses_of(wrong)
