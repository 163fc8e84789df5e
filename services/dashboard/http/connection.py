"""One connection of a client: it hands requests to aiohttp, without their cookies.

A browser sends the cookies of a host name to every port of the host. So any program that serves
pages on another port can read the cookies, and set as many as it likes. The dashboard uses none.
It drops them here while they arrive, as every header that it does not use: they take no memory,
appear in no answer, and may be as long as a browser lets them become.

The rest of a head is short, and is checked before aiohttp parses it: aiohttp would repeat a
malformed head in its answer. In the place of a head that is refused, aiohttp gets a request for the
path of the reason, so that the answer comes after those of earlier requests.
"""

import asyncio
import re
from enum import StrEnum
from typing import Final

from wire.records.projects import HookHeaders

SESSION_HEADER: Final = "Hyperhive-Session"
"""The header with the session; `Authorization` may be used by a proxy with a login of its own, so
it is read for the metrics alone."""

USED: Final = frozenset(
    {
        b"host",
        b"origin",
        b"connection",
        b"content-type",
        b"content-length",
        b"last-event-id",
        b"sec-fetch-site",
        SESSION_HEADER.lower().encode(),
    }
)
"""The headers that are passed on."""

METRICS: Final = "/metrics"
"""The path of the metrics: the only one whose requests may carry a token in `Authorization`."""

TERMINALS: Final = "/terminals/"
"""The beginning of the paths of web sockets. After the head of such a request the connection is a
web socket, or is closed."""

HOOKS: Final = "/hooks/"
"""The beginning of the paths of webhooks, whose senders have no session: their signature counts."""

_HOOK: Final = re.compile(rb"POST /hooks/[a-z0-9-]+ ")
_UPGRADE: Final = re.compile(rb"GET /terminals/[A-Za-z0-9_-]+ ")

_MORE: Final = {
    b"upgrade": _UPGRADE,
    b"sec-websocket-key": _UPGRADE,
    b"sec-websocket-version": _UPGRADE,
    b"authorization": re.compile(rb"GET /metrics(?:\?\S*)? "),
    **{one.replace("_", "-").encode(): _HOOK for one in HookHeaders._fields},
    b"user-agent": re.compile(rb"POST /login(?:/\S*)? "),
}
"""Headers that are passed on with some requests only: the beginnings of these. The browser is named
in the list of sessions."""

MAX_LINE: Final = 8000
"""Bytes of the line of a request, and of each header that is passed on."""

MAX_HEAD: Final = 16 * 1024
"""Bytes of the line and the headers of a request that are passed on, in total."""

MAX_DROPPED: Final = 4 * 1024 * 1024
"""Bytes of the headers of a request that are read and dropped. The cookies of a browser have up to
740 KiB: 180 cookies of 4 KiB for a host."""

REQUEST_SECONDS: Final = 120.0
"""The seconds in which a request must have arrived, with its body, once its first byte has. Bodies
have at most 1 MiB; a client that sends slower only holds the connection."""

MAX_NAME: Final = 64

REFUSED: Final = "/refused/"
"""The beginning of the paths that answer with the reason of a refusal."""

_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH) /[!-~]* HTTP/1\.([01])\r\n")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[ \t]*([\t -~\x80-\xff]*?)[ \t]*\r\n")
_LENGTH = re.compile(rb"\d{1,15}")


class Reason(StrEnum):
    """A reason not to pass on a head."""

    MALFORMED = "malformed"
    TOO_LONG = "too-long"
    NO_LENGTH = "no-length"


class RefusedHead(Exception):  # noqa: N818 - it names what is refused
    """A head that is not passed on."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Connection(asyncio.Protocol):
    """The protocol of one connection, in front of aiohttp's."""

    def __init__(self, handler: asyncio.Protocol, more: frozenset[bytes] = frozenset()) -> None:
        """Pass the events of the connection, and its requests without cookies, to `handler`.

        Args:
            handler: the protocol behind this one.
            more: names of headers, in lower case, that are passed on besides `USED`.
        """
        self._handler = handler
        self._used = USED | more
        self._head = Head(self._used)
        self._body = 0  # the bytes of the current request's body that are still to come
        self._refused = False
        self._upgraded = False
        """Whether the rest is a web socket. aiohttp parses none of it as a request."""
        self._limit: asyncio.TimerHandle | None = None
        """The end of the connection, while a request arrives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass on the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP socket
        self._transport = transport
        self._handler.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end of the connection."""
        self._arrived()
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the client reads too slowly."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the client reads again."""
        self._handler.resume_writing()

    def eof_received(self) -> bool | None:
        """Pass on that the client sends nothing more."""
        return self._handler.eof_received()

    def data_received(self, data: bytes) -> None:
        """Pass on bodies as they are, and heads when they are complete."""
        while data and not self._refused:
            if self._upgraded:
                self._handler.data_received(data)
                return
            if self._body:
                part, data = data[: self._body], data[self._body :]
                self._body -= len(part)
                self._handler.data_received(part)
            else:
                data = self._fed(data)
            if not self._body and self._head.is_new:
                self._arrived()
        if self._limit is None and (self._body or not self._head.is_new):
            loop = asyncio.get_running_loop()
            self._limit = loop.call_later(REQUEST_SECONDS, self._transport.abort)

    def _fed(self, data: bytes) -> bytes:
        """Take bytes of a head, and pass it on when it is complete; return the rest of them."""
        try:
            data = self._head.feed(data)
        except RefusedHead as refused:
            self._refuse(refused.reason)
            return b""
        if self._head.complete:
            head, self._head = self._head, Head(self._used)
            self._body = head.length
            self._upgraded = head.upgrades
            self._handler.data_received(head.data)
        return data

    def _arrived(self) -> None:
        """Note that no request is arriving: the connection may be idle."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _refuse(self, reason: Reason) -> None:
        """Have aiohttp answer a refused head and close the connection; read nothing more of it."""
        self._refused = True
        head = f"GET {REFUSED}{reason} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        self._handler.data_received(head.encode())


class Head:
    """The line and the used headers of one request, as far as they have arrived."""

    def __init__(self, used: frozenset[bytes] = USED) -> None:
        """Begin a head of which the headers `used` are passed on."""
        self._used = used
        self.complete = False
        self.length = 0
        """The length of the body in bytes, known when the head is complete."""
        self._lines: list[bytes] = []
        self._size = 0
        self._names: set[bytes] = set()
        self._line = bytearray()
        self._needs_host = True
        self._in_dropped = False
        self._dropped = 0

    @property
    def is_new(self) -> bool:
        """Whether no byte of it has arrived."""
        return not (self._lines or self._line)

    @property
    def upgrades(self) -> bool:
        """Whether the request asks for a web socket; only some paths may."""
        return b"upgrade" in self._names

    @property
    def data(self) -> bytes:
        """The line and the used headers."""
        return b"".join(self._lines)

    def feed(self, data: bytes) -> bytes:
        """Take bytes up to the end of the head; return the rest of them.

        Raises:
            RefusedHead: the head is malformed, or too long.
        """
        start = 0
        while not self.complete and start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            self._take(data[start:end])
            start = end
        return data[start:]

    def _take(self, part: bytes) -> None:
        """Take the beginning, the middle or the end of a line."""
        if not self._in_dropped:
            self._line += part
            if not self._is_dropped():
                self._take_kept()
                return
            self._in_dropped = True
            self._line.clear()
        self._dropped += len(part)
        if self._dropped > MAX_DROPPED:
            raise RefusedHead(Reason.TOO_LONG)
        self._in_dropped = not part.endswith(b"\n")

    def _is_dropped(self) -> bool:
        """Whether the line that has begun is a header that is not used."""
        if not self._lines or bytes(self._line[:3]) in (b"\r", b"\r\n"):
            return False  # the request's line, or the end of the head
        name, colon, _ = self._line[: MAX_NAME + 1].partition(b":")
        if not colon and len(self._line) <= MAX_NAME and not self._line.endswith(b"\n"):
            return False  # the rest of the name is still to come
        if not (colon and _NAME.fullmatch(name)):
            raise RefusedHead(Reason.MALFORMED)
        if name.lower() == b"transfer-encoding":
            raise RefusedHead(Reason.NO_LENGTH)
        wanted = bytes(name.lower())
        requests = _MORE.get(wanted)
        if requests is not None and requests.match(self._lines[0]):
            return False
        return wanted not in self._used

    def _take_kept(self) -> None:
        if len(self._line) > MAX_LINE or self._size + len(self._line) > MAX_HEAD:
            raise RefusedHead(Reason.TOO_LONG)
        if not self._line.endswith(b"\n"):
            return
        line = bytes(self._line)
        self._line.clear()
        if not self._lines:
            self._check_request(line)
        elif line == b"\r\n":
            self._check_end()
        else:
            self._check_header(line)
        self._lines.append(line)
        self._size += len(line)

    def _check_request(self, line: bytes) -> None:
        found = _REQUEST.fullmatch(line)
        if not found:
            raise RefusedHead(Reason.MALFORMED)
        self._needs_host = found[1] == b"1"

    def _check_header(self, line: bytes) -> None:
        name, _, rest = line.partition(b":")
        name, value = name.lower(), _VALUE.fullmatch(rest)
        if not value or name in self._names:
            raise RefusedHead(Reason.MALFORMED)
        self._names.add(name)
        if name == b"content-length":
            if not _LENGTH.fullmatch(value[1]):
                raise RefusedHead(Reason.MALFORMED)
            self.length = int(value[1])

    def _check_end(self) -> None:
        if self._needs_host and b"host" not in self._names:
            raise RefusedHead(Reason.MALFORMED)
        self.complete = True
