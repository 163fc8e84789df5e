"""Terminals in containers: tickets that open them, and the open ones, each with its record.

A web socket carries a terminal. A browser cannot send the header of the session with one, so the
page gets a ticket first, which opens one terminal, once. The shell runs in the container, which is
hostile: its output is bytes for the page to draw, and is read no faster than the page draws.
"""

import asyncio
import json
import logging
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from services.dashboard.http.sessions import digest
from services.dashboard.terminal import frames
from wire.errors import AccessDenied, InvalidArgument, LimitExceeded

log = logging.getLogger(__name__)

TICKET_SECONDS: Final = 30.0
MAX_TICKETS: Final = 64
MAX_TERMINALS: Final = 16
CHUNK: Final = 16 * 1024
WINDOW: Final = 512 * 1024
"""The bytes that a page may have received and not drawn yet."""

OFF: Final = (
    "Terminals are off. Set `terminal = true` in [dashboard] of /etc/hyperhive/hyperhive.toml, and "
    "restart hive-dashboard."
)

Connect = Callable[[str], socket.socket]
"""Connects to a new shell of an agent; raises a HiveError."""


class Page(Protocol):
    """The page's end of a terminal."""

    async def draw(self, data: bytes) -> None:
        """Send output; raise ConnectionError when the page has gone."""

    async def receive(self) -> bytes | str | None:
        """Return what was typed (bytes), or a word of the page (text); None at the end."""


class Ticket(NamedTuple):
    """The right to open one terminal."""

    agent: str
    session: str
    """The session of the dashboard, with which the terminal ends."""
    who: str
    """The one who opens it, for the journal."""
    expires: float


class Terminals:
    """The tickets and the open terminals."""

    def __init__(
        self,
        connect: Connect,
        seconds_left: Callable[[str], float],
        *,
        allowed: bool,
        idle_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open none yet.

        Args:
            connect: connects to a new shell.
            seconds_left: returns for how long a session of the dashboard is valid.
            allowed: whether the operator has turned terminals on.
            idle_seconds: a terminal ends after so long without a key.
            now: the clock of tickets, in seconds.
        """
        self.allowed = allowed
        self._connect = connect
        self._seconds_left = seconds_left
        self.idle_seconds = idle_seconds
        self._now = now
        self._tickets: dict[str, Ticket] = {}
        self._open: dict[asyncio.Task[object], str] = {}

    def issue(self, agent: str, session: str, who: str) -> str:
        """Return a ticket for a terminal in an agent's container.

        Raises:
            AccessDenied: terminals are off.
        """
        if not self.allowed:
            raise AccessDenied(OFF)
        now = self._now()
        self._tickets = {key: one for key, one in self._tickets.items() if one.expires > now}
        while len(self._tickets) >= MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]  # the oldest
        secret = secrets.token_urlsafe(32)
        self._tickets[digest(secret)] = Ticket(agent, session, who, now + TICKET_SECONDS)
        return secret

    def redeem(self, secret: str) -> Ticket | None:
        """Use up a ticket; return None for any other text."""
        ticket = self._tickets.pop(digest(secret), None)
        if ticket is None or ticket.expires <= self._now():
            return None
        return ticket if self._seconds_left(ticket.session) > 0 else None

    def end(self, session: str) -> None:
        """End the terminals of a session."""
        for task, owner in self._open.items():
            if owner == session:
                task.cancel()

    async def close(self) -> None:
        """End all terminals."""
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(list(self._open))

    async def serve(self, ticket: Ticket, page: Page) -> str:
        """Carry a terminal until it ends; return why it has ended, as a sentence.

        Raises:
            LimitExceeded: too many are open.
            Unavailable: the container offers no shell.
        """
        if len(self._open) >= MAX_TERMINALS:
            raise LimitExceeded(
                f"{len(self._open)} terminals are open. Close one before you open another one."
            )
        connection = self._connect(ticket.agent)
        task = asyncio.ensure_future(self._carry(ticket, page, connection))
        self._open[task] = ticket.session
        fields = {"HIVE_AGENT": ticket.agent, "HIVE_WHO": ticket.who}
        began = time.monotonic()
        log.info("%s opens a terminal in %s", ticket.who, ticket.agent, extra=fields)
        why = "It failed."
        try:
            why = await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                why = "The page was closed."
                raise
            ended = self._seconds_left(ticket.session) <= 0
            why = "The session has ended." if ended else "The dashboard stops."
        finally:
            del self._open[task]
            seconds = round(time.monotonic() - began)
            log.info(
                "the terminal of %s in %s is closed after %d s: %s",
                ticket.who, ticket.agent, seconds, why, extra=fields,
            )  # fmt: skip
        return why

    async def _carry(self, ticket: Ticket, page: Page, connection: socket.socket) -> str:
        shell, keys = await asyncio.open_connection(sock=connection)
        terminal = _Terminal(page, shell, keys, self.idle_seconds)
        try:
            async with asyncio.timeout(self._seconds_left(ticket.session)):
                return await terminal.run()
        except TimeoutError:
            return "The session has ended."
        finally:
            keys.close()
            with suppress(OSError):
                await keys.wait_closed()


class _Terminal:
    """One open terminal."""

    def __init__(
        self,
        page: Page,
        shell: asyncio.StreamReader,
        keys: asyncio.StreamWriter,
        idle_seconds: float,
    ) -> None:
        self._page = page
        self._shell = shell
        self._keys = keys
        self._idle = idle_seconds
        self._drawing = 0
        """The bytes that the page has not drawn yet, as far as it has said."""
        self._room = asyncio.Event()
        self._room.set()

    async def run(self) -> str:
        """Carry both directions; return the reason of the end."""
        draws = asyncio.create_task(self._draw(), name="draws")
        types = asyncio.create_task(self._type(), name="types")
        both = (draws, types)
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return next(task.result() for task in both if task in done)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _draw(self) -> str:
        with suppress(ConnectionError):
            while data := await self._shell.read(CHUNK):
                await self._room.wait()
                self._drawing += len(data)
                if self._drawing > WINDOW:
                    self._room.clear()
                await self._page.draw(data)
            return "The shell has ended."
        return "The page was closed."

    async def _type(self) -> str:
        with suppress(ConnectionError):
            while True:
                try:
                    async with asyncio.timeout(self._idle):
                        received = await self._key()
                except TimeoutError:
                    return f"No key was pressed for {_duration(self._idle)}."
                if received is None:
                    break
                self._keys.write(received)
                await self._keys.drain()
        return "The page was closed."

    async def _key(self) -> bytes | None:
        """Return the frame of what was typed next; None at the end of the page.

        A word that the page sends by itself is no key.
        """
        while (received := await self._page.receive()) is not None:
            if isinstance(received, bytes):
                return frames.text(received[: frames.MAX_TEXT])
            word = _word(received)
            if word.drawn:
                self._drawing = max(0, self._drawing - word.drawn)
                if self._drawing <= WINDOW:
                    self._room.set()
            elif word.rows:
                self._keys.write(frames.size(word.rows, word.columns))
            elif word.reply:
                self._keys.write(frames.text(word.reply.encode()))
                await self._keys.drain()
        return None


class _Word(NamedTuple):
    """A word of a page about itself."""

    drawn: int = 0
    """The bytes that it has drawn since the last such word."""
    rows: int = 0
    """Its size, with `columns`."""
    columns: int = 0
    reply: str = ""
    """The answer of the terminal to a question of a program, such as where the cursor is."""


def _word(received: str) -> _Word:
    try:
        match json.loads(received):
            case {"drawn": int(drawn)} if drawn > 0:
                return _Word(drawn=drawn)
            case {"rows": int(rows), "columns": int(columns)} if rows > 0 and columns > 0:
                return _Word(rows=rows, columns=columns)
            case {"reply": str(reply)} if reply:
                return _Word(reply=reply)
    except ValueError:
        pass
    raise InvalidArgument("This is not a word of a terminal's page.")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
