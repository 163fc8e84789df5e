"""The first look at a connection: it is for the dashboard itself, or for the preview of a port.

Both are served on one socket. The `Host` of the first request decides, for the whole connection: a
browser does not use a connection for another host name.
"""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Final

from services.dashboard.preview.previews import Previews

MAX_LOOK: Final = 8 * 1024
"""Bytes in which `Host` is looked for; browsers send it first. Without it the dashboard has the
connection, and bounds the head in its own way."""

LOOK_SECONDS: Final = 60.0
"""The seconds that a connection may wait for its first request; browsers connect in advance."""

MAX_STRANGERS: Final = 256
"""The connections that have not shown a session yet. Every user of the host can connect; the oldest
of these makes way, so nobody keeps the operator out by holding connections."""

MAX_UNSENT: Final = 128 * 1024
"""Bytes that the kernel keeps for a client that does not read; it would keep megabytes, and count
them as the dashboard's memory. Linux doubles the number for its own use."""

_LINE: Final = re.compile(rb"[A-Z]{1,16} /[!-~]* HTTP/1\.1")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")


class Entrances:
    """Makes the protocol of each connection, and ends those that have not named a host."""

    def __init__(
        self,
        dashboard: Callable[[], asyncio.Protocol],
        previews: Previews,
        admits: Callable[[str], bool] = lambda address: True,
    ) -> None:
        """Hand connections over to protocols that `dashboard` makes, or to `previews`.

        Args:
            dashboard: makes the protocol of a connection to the dashboard itself.
            previews: takes the connections to ports of agents.
            admits: whether an address may connect at all.
        """
        self.dashboard = dashboard
        self.previews = previews
        self.admits = admits
        self.waiting: set[asyncio.Transport] = set()
        self._strangers: dict[asyncio.BaseTransport, None] = {}

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Entrance(self)

    def add(self, transport: asyncio.Transport) -> None:
        """Note a new connection; the oldest one without a session may have to make way."""
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers = {one: None for one in self._strangers if not one.is_closing()}
        if len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            assert isinstance(oldest, asyncio.Transport)  # noqa: S101 - of a TCP socket
            oldest.abort()
        self._strangers[transport] = None

    def trust(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that a connection has shown a session: it makes way for nobody."""
        if transport is not None:
            self._strangers.pop(transport, None)

    def close(self) -> None:
        """End the connections that are not handed over yet."""
        for transport in self.waiting:
            transport.abort()


class _Entrance(asyncio.Protocol):
    """The protocol of one connection until its host name is known."""

    def __init__(self, entrances: Entrances) -> None:
        self._all = entrances
        self._seen = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes, and not for ever."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP socket
        self._transport = transport
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_UNSENT)
        self._all.waiting.add(transport)
        self._all.add(transport)
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(LOOK_SECONDS, transport.abort)
        if not self._all.admits(transport.get_extra_info("peername")[0]):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client that has gone before it named a host."""
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Look for the host name, and hand the connection over when it is known."""
        self._seen += data
        host = _host(bytes(self._seen))
        if host is None and len(self._seen) < MAX_LOOK:
            return
        self._leave()
        previews, first = self._all.previews, bytes(self._seen)
        place = previews.names.place(host) if host else None
        if place is not None:
            previews.take(place, self._transport, first)
            return
        dashboard = self._all.dashboard()
        self._transport.set_protocol(dashboard)
        dashboard.connection_made(self._transport)
        dashboard.data_received(first)

    def _leave(self) -> None:
        self._limit.cancel()
        self._all.waiting.discard(self._transport)


def _host(head: bytes) -> str | None:
    """Return the `Host` of the beginning of a head; None: it has not come yet.

    Returns:
        Empty if there is none, or if the head is not well-formed: the dashboard refuses that.
    """
    line, *lines = head.split(b"\r\n")
    if not lines:
        return "" if b"\n" in line else None
    if not _LINE.fullmatch(line):
        return ""
    for text in lines[:-1]:
        found = _HEADER.fullmatch(text)
        if not found:
            return ""  # also the end of the head
        if found[1].lower() == b"host":
            return found[2].decode("latin-1")
    return "" if b"\n" in lines[-1] else None
