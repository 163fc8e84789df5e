"""The addresses of the host's interfaces, as the kernel reports them (rtnetlink(7)).

The host also answers at addresses that no interface has as its own: at the broadcast address of
each network, and, where it forwards packets of IPv6, at the first address of each network (RFC
4291, 2.6.1). These are reported, too.

Lifecycle has no network, so it cannot open such a socket for the host's network. systemd opens it
(hive-lifecycle.socket, `ListenNetlink=`) and passes it on.
"""

import asyncio
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from services.nameservers import IPAddress

log = logging.getLogger(__name__)

_DONE, _NEW, _REMOVED, _GET = 3, 20, 21, 22
"""Types of messages: NLMSG_DONE, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR."""
_ALL: Final = 0x301
"""Flags of a request for everything: NLM_F_REQUEST, NLM_F_DUMP."""
_ADDRESS, _LOCAL, _BROADCAST = 1, 2, 4
"""Attributes: IFA_ADDRESS, which is the other end on a point-to-point link, IFA_LOCAL and
IFA_BROADCAST."""
_HEADER: Final = struct.Struct("=IHHII")
_BODY: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_BUFFER: Final = 65536
_KERNEL: Final = 0
"""The netlink address of the kernel."""

_Key: TypeAlias = tuple[int, IPAddress, int]
"""The number of an interface, one of its addresses, and the length of its network."""


class HostAddresses:
    """The current addresses. A change is noticed at once."""

    def __init__(self, listener: socket.socket | None = None) -> None:
        """`listener`: a netlink socket for routes that hears of changed addresses, if any."""
        self._listener = listener
        self._links: dict[_Key, frozenset[IPAddress]] = {}
        self._current: frozenset[IPAddress] = frozenset()
        self._changed: Callable[[], None] = lambda: None
        self._complete = asyncio.Event()

    @property
    def current(self) -> frozenset[IPAddress]:
        """All addresses, also those of the loopback interface; none before `start`."""
        return self._current

    async def start(self, changed: Callable[[], None]) -> None:
        """Read the addresses, and call `changed` after each later change."""
        if self._listener is None:
            log.error(
                "The addresses of this host are not known, so agents may reach its services at "
                "public addresses. Start hive-lifecycle.socket, and restart "
                "hive-lifecycle.service."
            )
            return
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._read, self._listener)
        self._ask(self._listener)
        await self._complete.wait()
        self._changed = changed

    def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)

    def _ask(self, listener: socket.socket) -> None:
        """Request all addresses. The answer ends with a message of the type _DONE."""
        self._links.clear()
        self._complete.clear()
        body = _BODY.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        header = _HEADER.pack(_HEADER.size + len(body), _GET, _ALL, 1, 0)
        listener.sendto(header + body, (_KERNEL, 0))

    def _read(self, listener: socket.socket) -> None:
        while True:
            try:
                data, (sender, _groups) = listener.recvfrom(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:  # ENOBUFS: changes came too fast, and some are lost
                log.info("The host's addresses are read again: %s.", error.strerror)
                self._ask(listener)
                continue
            for kind, body in _messages(data) if sender == _KERNEL else ():
                self._note(kind, body)
        found = frozenset[IPAddress]().union(*self._links.values())
        if self._complete.is_set() and found != self._current:
            self._current = found
            self._changed()

    def _note(self, kind: int, body: bytes) -> None:
        if kind == _DONE:
            self._complete.set()
        elif kind in (_NEW, _REMOVED) and (found := _addresses(body)):
            key, addresses = found
            self._links.pop(key, None)
            if kind == _NEW:
                self._links[key] = addresses


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each message."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _addresses(body: bytes) -> tuple[_Key, frozenset[IPAddress]] | None:
    """Return what a message about an address of an interface says.

    Returns:
        The interface, the address and the length of its network, and all addresses at which the
        host answers because of it; None if the message names no address.
    """
    _, length, *_, link = _BODY.unpack_from(body)
    found: dict[int, IPAddress] = {}
    data = body[_BODY.size :]
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= size <= len(data):
            break
        packed = data[_ATTRIBUTE.size : size]
        if kind in (_ADDRESS, _LOCAL, _BROADCAST) and len(packed) in (4, 16):
            found[kind] = ipaddress.ip_address(packed)
        data = data[_aligned(size) :]
    own = found.get(_LOCAL) or found.get(_ADDRESS)
    if own is None:
        return None
    addresses = {own, *_shared(found.get(_ADDRESS, own), length)}
    if _BROADCAST in found:
        addresses.add(found[_BROADCAST])
    return (link, own, length), frozenset(addresses)


def _shared(address: IPAddress, length: int) -> Iterator[IPAddress]:
    """Yield the address of a network at which each of its hosts, or its routers, answer."""
    if address.max_prefixlen - length >= 2:  # smaller networks have none
        network = ipaddress.ip_network((address, length), strict=False)
        yield network.broadcast_address if address.version == 4 else network.network_address


def _aligned(length: int) -> int:
    return (length + 3) & ~3
