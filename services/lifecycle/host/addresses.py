"""The addresses of the host's interfaces, as the kernel reports them (rtnetlink(7)).

Lifecycle has no network, so it cannot open such a socket for the host's network. systemd opens it
(hive-lifecycle.socket, `ListenNetlink=`) and passes it on.
"""

import asyncio
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

from services.nameservers import IPAddress

log = logging.getLogger(__name__)

_DONE, _NEW, _REMOVED, _GET = 3, 20, 21, 22
"""Types of messages: NLMSG_DONE, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR."""
_ALL: Final = 0x301
"""Flags of a request for everything: NLM_F_REQUEST, NLM_F_DUMP."""
_ADDRESS, _LOCAL = 1, 2
"""Attributes: IFA_ADDRESS, which is the other end on a point-to-point link, and IFA_LOCAL."""
_HEADER: Final = struct.Struct("=IHHII")
_BODY: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_BUFFER: Final = 65536
_KERNEL: Final = 0
"""The netlink address of the kernel."""


class HostAddresses:
    """The current addresses. A change is noticed at once."""

    def __init__(self, listener: socket.socket | None = None) -> None:
        """`listener`: a netlink socket for routes that hears of changed addresses, if any."""
        self._listener = listener
        self._links: set[tuple[int, IPAddress]] = set()
        self._current: frozenset[IPAddress] = frozenset()
        self._changed: Callable[[], None] = lambda: None
        self._complete = asyncio.Event()

    @property
    def current(self) -> frozenset[IPAddress]:
        """The addresses, also those of the loopback interface; none before `start`."""
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
        found = frozenset(address for _, address in self._links)
        if self._complete.is_set() and found != self._current:
            self._current = found
            self._changed()

    def _note(self, kind: int, body: bytes) -> None:
        if kind == _DONE:
            self._complete.set()
        elif kind in (_NEW, _REMOVED) and (link := _address(body)):
            (self._links.add if kind == _NEW else self._links.discard)(link)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each message."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _address(body: bytes) -> tuple[int, IPAddress] | None:
    """Return the interface and its own address in a message about an address."""
    *_, link = _BODY.unpack_from(body)
    found: dict[int, bytes] = {}
    data = body[_BODY.size :]
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    packed = found.get(_LOCAL) or found.get(_ADDRESS)
    return (link, ipaddress.ip_address(packed)) if packed and len(packed) in (4, 16) else None


def _aligned(length: int) -> int:
    return (length + 3) & ~3
