"""Serves previews: each connection carries one request to a program of an agent."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from services.dashboard.preview import heads, help_page
from services.dashboard.preview.addresses import Place, PreviewNames
from services.dashboard.preview.reasons import OPEN, Reason, Reasons
from services.dashboard.preview.tickets import Holder, Tickets
from wire.errors import HiveError

ENTER: Final = "/.hyperhive/"
"""The beginning of the paths that are the dashboard's own: a ticket follows."""
COOKIE: Final = "hyperhive-preview"
MAX_CONNECTIONS: Final = 128
MAX_OF_AGENT: Final = 48
"""The connections to programs of one agent: its page opens web sockets as it likes."""
HEAD_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 120.0
"""The seconds without a byte in which a program must begin its answer."""
IDLE_SECONDS: Final = 900.0
"""The seconds without a byte, in both directions, after which an answer is given up: streams of
events and web sockets of a page that nobody uses any more."""
MAX_HEADS: Final = 16
"""The heads of one answer: some come before it, such as 103."""
CHUNK: Final = 64 * 1024

_TEXT: Final = (
    "HTTP/1.1 {status}\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: {length}\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: close\r\n\r\n"
)
_ENTERED: Final = (
    "HTTP/1.1 303 See Other\r\n"
    "Location: /\r\n"
    "Set-Cookie: {cookie}={secret}; Path=/; HttpOnly; SameSite=Lax{secure}\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cache-Control: no-store\r\n"
    "Content-Length: 0\r\n"
    "Connection: close\r\n\r\n"
)
_ELSEWHERE: Final = "Only pages of the same agent may send this request."
_NO_RIGHT: Final = "Open this preview from the page of the agent, where you are logged in."

Connect = Callable[[str, int], socket.socket]
"""Connects to a port of an agent; raises a HiveError."""


class Previews:
    """The connections of browsers to programs of agents."""

    answer_seconds = ANSWER_SECONDS
    idle_seconds = IDLE_SECONDS

    def __init__(
        self,
        names: PreviewNames,
        tickets: Tickets,
        connect: Connect,
        reasons: Reasons,
        of_proxy: frozenset[bytes] = frozenset(),
    ) -> None:
        """Serve previews.

        Args:
            names: the host names of previews.
            tickets: the rights to open them.
            connect: connects to a port of an agent.
            reasons: knows why a port shows nothing.
            of_proxy: the headers that a proxy adds for the dashboard alone. One of them may be the
                token by which the dashboard knows the proxy: no program gets it.
        """
        self.names = names
        self._tickets = tickets
        self._connect = connect
        self._reasons = reasons
        self._of_proxy = of_proxy
        self._connections: set[asyncio.Task[None]] = set()
        self._open: dict[asyncio.Task[None], str] = {}
        """The connections that reach programs, and the sessions of the dashboard of each."""
        self._agents: Counter[str] = Counter()
        """How many of these each agent has."""
        self.on_session: Callable[[asyncio.BaseTransport | None], None] = lambda transport: None
        """Called with each connection that has shown the right to a preview."""

    def take(self, place: Place, transport: asyncio.Transport, data: bytes) -> None:
        """Serve a connection whose first bytes have arrived."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=heads.MAX_HEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        reader.feed_data(data)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        task = loop.create_task(self._serve(place, reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def end(self, session: str) -> None:
        """End the connections of a session of the dashboard."""
        for task, owner in self._open.items():
            if owner == session:
                task.cancel()

    async def close(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _serve(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            with suppress(ConnectionError):
                await self._answer(place, reader, writer)
                await writer.drain()
        finally:
            writer.close()

    async def _answer(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = heads.request(await reader.readuntil(b"\r\n\r\n"))
        except (heads.MalformedError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.write(_text("400 Bad Request", "This is not a well-formed HTTP/1.1 request."))
            return
        except TimeoutError:
            return
        holder = self._tickets.holder(heads.cookies(head, COOKIE), place)
        if head.path.startswith(ENTER):
            writer.write(self._entered(place, head.path.removeprefix(ENTER)))
        elif holder is None:
            writer.write(_text("401 Unauthorized", _NO_RIGHT))
        elif self._is_from_elsewhere(head, place):
            writer.write(_text("403 Forbidden", _ELSEWHERE))
        elif len(self._open) >= MAX_CONNECTIONS or self._agents[place.agent] >= MAX_OF_AGENT:
            writer.write(_text("503 Service Unavailable", "Too many previews are open."))
        else:
            self.on_session(writer.transport)
            with self._counted(place, holder), suppress(TimeoutError):
                async with asyncio.timeout(holder.seconds):
                    await self._passed_on(place, head, reader, writer, holder.origin)

    def _is_from_elsewhere(self, head: heads.Head, place: Place) -> bool:
        """Return whether a page that is not of the agent made the browser send a request.

        Below a domain that is not `localhost`, the previews are one site to the browser. So it
        sends the cookie of one with requests of another one, and lets it read web sockets.
        """
        if any(self.names.agent(o.decode("latin-1")) == place.agent for o in head.all(b"origin")):
            return False
        site = head.all(b"sec-fetch-site")
        if not site:
            return bool(head.all(b"origin"))  # of a browser that tells no more
        is_link = head.line.startswith(b"GET ") and head.all(b"sec-fetch-dest") == [b"document"]
        return site[0] not in (b"same-origin", b"none") and not is_link

    @contextmanager
    def _counted(self, place: Place, holder: Holder) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a connection is a task
        self._open[task] = holder.session
        self._agents[place.agent] += 1
        try:
            yield
        finally:
            del self._open[task]
            self._agents[place.agent] -= 1

    def _entered(self, place: Place, ticket: str) -> bytes:
        entered = self._tickets.redeem(ticket, place)
        if entered is None:
            return _text("401 Unauthorized", f"This address works once. {_NO_RIGHT}")
        secure = "; Secure" if entered.secure else ""
        return _ENTERED.format(cookie=COOKIE, secret=entered.secret, secure=secure).encode()

    async def _passed_on(
        self,
        place: Place,
        head: heads.Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        origin: str,
    ) -> None:
        """Pass a request on; answer in the place of a program that does not."""
        try:
            await self._pass_on(place, head, reader, writer)
        except _NoAnswerError as error:
            if head.line.startswith(b"GET ") and b"text/html" in b",".join(head.all(b"accept")):
                writer.write(help_page.page(error.status, place, error.reason, origin))
            else:
                writer.write(_text(error.status, error.reason.sentence))

    async def _pass_on(
        self,
        place: Place,
        head: heads.Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            connection = self._connect(*place)
        except HiveError:
            reason = self._reasons.unreachable(place)
            raise _NoAnswerError("503 Service Unavailable", reason) from None
        theirs, ours = await asyncio.open_connection(sock=connection, limit=heads.MAX_HEAD)
        sending: asyncio.Task[None] | None = None
        limit = asyncio.timeout(self.answer_seconds)
        alive = _Alive(limit, self.answer_seconds)
        try:
            async with limit:
                ours.write(heads.to_program(head, COOKIE, self._of_proxy))
                sending = asyncio.create_task(_copy(reader, ours, alive))
                await self._receive(place, theirs, writer, alive, upgrades=head.upgrades)
        except TimeoutError:
            if not alive.answered:
                sentence = f"The program on port {place.port} of {place.agent} does not answer."
                reason = Reason(sentence, OPEN.format(place.agent))
                raise _NoAnswerError("504 Gateway Timeout", reason) from None
            raise
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])
            ours.close()

    async def _receive(
        self,
        place: Place,
        theirs: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        alive: "_Alive",
        *,
        upgrades: bool,
    ) -> None:
        """Pass an answer on to its end, with the rest of the connection if the protocol changes.

        The protocol changes only if the request asks for that (`upgrades`): a proxy in front of the
        dashboard could take the rest of the connection for something else otherwise.
        """
        try:
            for _ in range(MAX_HEADS):
                head = heads.answer(await theirs.readuntil(b"\r\n\r\n"))
                if head.status == 101 and not upgrades:
                    raise heads.MalformedError
                alive.answered = True
                writer.write(heads.to_browser(head, COOKIE))
                await writer.drain()
                if head.status == 101 or head.status >= 200:
                    break
            else:
                raise heads.MalformedError
        except asyncio.IncompleteReadError as error:
            if error.partial or alive.answered:
                raise _NoAnswerError("502 Bad Gateway", _not_http(place)) from None
            raise _NoAnswerError("502 Bad Gateway", self._reasons.silent(place)) from None
        except (heads.MalformedError, asyncio.LimitOverrunError):
            raise _NoAnswerError("502 Bad Gateway", _not_http(place)) from None
        except ConnectionError:
            raise _NoAnswerError("502 Bad Gateway", self._reasons.silent(place)) from None
        alive.every(self.idle_seconds)
        await _copy(theirs, writer, alive)


class _NoAnswerError(Exception):
    """A program does not answer."""

    def __init__(self, status: str, reason: Reason) -> None:
        super().__init__(reason.sentence)
        self.status = status
        self.reason = reason


class _Alive:
    """The limit of a connection without a byte: each one puts it off."""

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self.answered = False
        """Whether an answer has begun."""

    def every(self, seconds: float) -> None:
        """Wait so long for each byte from now on."""
        self._seconds = seconds
        self.moved()

    def moved(self) -> None:
        """Note that bytes have come or gone."""
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)


def _not_http(place: Place) -> Reason:
    sentence = f"The program on port {place.port} of {place.agent} did not answer in HTTP."
    return Reason(sentence, OPEN.format(place.agent))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alive: _Alive) -> None:
    """Copy one direction to its end, and end it at the other side."""
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
            alive.moved()
        writer.write_eof()


def _text(status: str, sentence: str) -> bytes:
    body = f"{sentence}\n".encode()
    return _TEXT.format(status=status, length=len(body)).encode() + body
