"""The host's addresses, from the kernel of a network namespace of the test's own."""

import asyncio
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.lifecycle.host.addresses import HostAddresses
from services.lifecycle.tests.room import Room
from services.nameservers import IPAddress
from wire.records.lifecycle import JobVerb

OPEN = """
import socket, sys
listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
listener.bind((0, 0x110))  # the groups of hive-lifecycle.socket
socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"x"], [listener.fileno()])
"""
LIMIT = 30.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network: needs root")


def address(text: str) -> IPAddress:
    return ipaddress.ip_address(text)


class Namespace:
    """A network namespace, which a process holds open."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"
        self.enter = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    def ip(self, *words: str) -> None:
        subprocess.run([*self.enter, "ip", *words], check=True)

    def batch(self, lines: str) -> None:
        subprocess.run([*self.enter, "ip", "-batch", "-"], input=lines.encode(), check=True)

    def listener(self) -> socket.socket:
        """Return a netlink socket of the namespace, as systemd would pass it."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            number = theirs.fileno()
            subprocess.run(
                [*self.enter, sys.executable, "-c", OPEN, str(number)],
                pass_fds=[number],
                check=True,
            )
            _, [descriptor], _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=descriptor)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdin, self._holder.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = Namespace()
    yield namespace
    namespace.close()


@needs_root
async def test_addresses_come_and_go(namespace: Namespace) -> None:
    namespace.ip("addr", "add", "203.0.113.5/24", "dev", "lo")
    namespace.ip("addr", "add", "203.0.113.6", "peer", "203.0.113.9/32", "dev", "lo")
    with namespace.listener() as listener:
        addresses = HostAddresses(listener)
        changed = asyncio.Event()
        await addresses.start(changed.set)
        broadcast = {"127.255.255.255", "203.0.113.255"}
        first = {"127.0.0.1", "203.0.113.5", "203.0.113.6", *broadcast}
        assert {str(a) for a in addresses.current if a.version == 4} == first
        assert not changed.is_set()
        namespace.ip("addr", "add", "2001:db8::7/64", "dev", "lo")
        await asyncio.wait_for(changed.wait(), LIMIT)
        assert address("2001:db8::7") in addresses.current
        changed.clear()
        namespace.ip("addr", "del", "203.0.113.5/24", "dev", "lo")
        await asyncio.wait_for(changed.wait(), LIMIT)
        gone = {address("203.0.113.5"), address("203.0.113.255")}
        assert not gone & addresses.current
        addresses.stop()


@needs_root
async def test_addresses_that_all_hosts_of_a_network_have_are_found(namespace: Namespace) -> None:
    namespace.ip("addr", "add", "203.0.113.5/28", "broadcast", "203.0.113.200", "dev", "lo")
    namespace.ip("addr", "add", "203.0.113.6/28", "dev", "lo")
    namespace.ip("addr", "add", "198.51.100.2/31", "dev", "lo")
    namespace.ip("addr", "add", "2001:db8::7/64", "dev", "lo")
    with namespace.listener() as listener:
        addresses = HostAddresses(listener)
        changed = asyncio.Event()
        await addresses.start(changed.set)
        shared = {"203.0.113.15", "203.0.113.200", "2001:db8::", "127.255.255.255"}
        own = {"203.0.113.5", "203.0.113.6", "198.51.100.2", "2001:db8::7", "127.0.0.1", "::1"}
        assert {str(a) for a in addresses.current} == shared | own
        # The kernel removes the second address of a network with the first.
        namespace.ip("addr", "del", "203.0.113.5/28", "dev", "lo")
        await asyncio.wait_for(changed.wait(), LIMIT)
        assert address("203.0.113.200") not in addresses.current
        addresses.stop()


@needs_root
async def test_what_is_lost_is_read_again(namespace: Namespace) -> None:
    with namespace.listener() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least
        addresses = HostAddresses(listener)
        last = address("10.7.0.250")
        found = asyncio.Event()
        await addresses.start(lambda: found.set() if last in addresses.current else None)
        batch = "".join(f"addr add 10.7.0.{number}/32 dev lo\n" for number in range(1, 251))
        namespace.batch(batch)  # the loop stands still meanwhile, so the buffer overflows
        await asyncio.wait_for(found.wait(), LIMIT)
        assert sum(str(a).startswith("10.7.") for a in addresses.current) == 250
        addresses.stop()


async def test_a_host_that_does_not_tell_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    addresses = HostAddresses()
    await addresses.start(lambda: None)
    assert addresses.current == frozenset()
    assert "Start hive-lifecycle.socket" in caplog.text
    addresses.stop()


async def test_a_new_address_reaches_all_containers_that_run(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    for name in ("alice", "bob", "carol"):
        await room.spawn(name)
    await room.order(JobVerb.STOP, "bob")
    room.backend.calls.clear()
    room.backend.network_changed()
    room.backend.network_changed()
    await room.parts.filters.settle()
    assert sorted(room.backend.calls) == [("limit", "alice"), ("limit", "carol")]
    await room.close()
