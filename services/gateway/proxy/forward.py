"""HTTP: one request to one server, written anew, so that no other one hides in it."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.egress import place
from services.gateway.egress.decision import Target
from services.gateway.proxy.head import (
    MAX_FIELDS,
    Answer,
    Fields,
    HeadError,
    Request,
    read_answer,
    render,
)
from services.gateway.proxy.relay import Count, Streams, copy, copy_exactly, put

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n]*)?\r\n")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Body:
    """The framing of a body."""

    length: int | None = None
    """Its bytes; None for one that comes in chunks, or ends with the connection."""
    chunked: bool = False

    @property
    def header(self) -> list[tuple[str, str]]:
        """The header that tells it."""
        if self.chunked:
            return [("Transfer-Encoding", "chunked")]
        return [] if self.length is None else [("Content-Length", str(self.length))]

    async def copy(self, source: Streams, target: Streams, count: Count) -> None:
        """Copy the body.

        Raises:
            OSError: a connection broke.
            HeadError: a chunk is not valid.
        """
        if self.chunked:
            await _copy_chunks(source, target, count)
        elif self.length is None:
            await copy(source, target, count)
        else:
            await copy_exactly(source, target, self.length, count)


Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The parts of a request that the server gets in place of the client's, and of its answer."""

    host: str
    """The header Host."""
    path: str
    headers: Headers
    """The headers, without those of this hop and of the body."""
    answered: Callable[[Fields], Headers]
    """Returns the headers of an answer that the client gets, without those of the body."""


def rewritten(request: Request, target: Target, path: str) -> Rewritten:
    """Return a request to a server on the network, whose own headers pass."""
    return Rewritten(
        # Not the client's: it may name another server at the same address.
        place(target.host, target.port).removesuffix(":80"),
        path,
        request.fields.forwarded("host", "content-length", "expect"),
        lambda fields: fields.forwarded("content-length"),
    )


class Forward:
    """One request of HTTP."""

    def __init__(
        self,
        client: Streams,
        request: Request,
        outgoing: Rewritten,
        sent: Count,
        received: Count,
        *,
        last: bool = False,
    ) -> None:
        """Prepare to send a request.

        Args:
            client: the connection of the client.
            request: its request.
            outgoing: what the server gets in place of it.
            sent: counts bytes to the server.
            received: counts bytes to the client.
            last: whether the client may send no other one after it.

        Raises:
            HeadError: the framing of its body is not valid.
        """
        self._client = client
        self._request = request
        self._outgoing = outgoing
        self._sent = sent
        self._received = received
        self._last = last
        if request.minor == 0 and request.fields.chunked:
            # A server may not read the chunks, and take them for the next request.
            raise HeadError("HTTP/1.0 has no chunks.")
        self._body = Body(
            None if request.fields.chunked else request.fields.length or 0, request.fields.chunked
        )
        self.answered = False
        """Whether the answer has begun."""

    async def run(self, server: Streams) -> bool:
        """Send the request, and pass the answer on; return whether the client may send another.

        Raises:
            OSError: a connection broke.
            HeadError: the answer is not valid.
            Ended: there is no answer.
        """
        await put(server, self._head(), self._sent)
        upload = asyncio.create_task(self._upload(server), name="upload")
        try:
            answer = await read_answer(server.reader)
            while answer.status < 200:
                answer = await read_answer(server.reader)
            kept = await self._answer(server, answer)
            return kept and upload.done() and upload.exception() is None
        finally:
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, HeadError):
                await upload

    def _head(self) -> bytes:
        request, outgoing = self._request, self._outgoing
        has_body = request.fields.chunked or request.fields.length is not None
        return render(
            f"{request.method} {outgoing.path} HTTP/1.{request.minor}",
            [
                ("Host", outgoing.host),
                *outgoing.headers,
                *(self._body.header if has_body else []),
                ("Connection", "close"),
            ],
        )

    async def _upload(self, server: Streams) -> None:
        if "100-continue" in self._request.fields.words("expect"):
            await put(self._client, _CONTINUE, self._received)
        await self._body.copy(self._client, server, self._sent)

    async def _answer(self, server: Streams, answer: Answer) -> bool:
        body = self._framing(answer)
        ends = body.length is None and not body.chunked
        request = self._request
        wanted = request.fields.words("connection") + request.fields.words("proxy-connection")
        kept = request.minor == 1 and "close" not in wanted and not (ends or self._last)
        self.answered = True
        head = render(
            f"HTTP/1.1 {answer.status} {answer.reason}",
            [
                *self._outgoing.answered(answer.fields),
                *self._shown_framing(answer, body),
                ("Connection", "keep-alive" if kept else "close"),
            ],
        )
        await put(self._client, head, self._received)
        await body.copy(server, self._client, self._received)
        return kept

    def _framing(self, answer: Answer) -> Body:
        if self._request.method == "HEAD" or answer.status in _NO_BODY:
            return Body(0)
        if answer.fields.chunked:
            return Body(chunked=True)
        return Body(answer.fields.length)

    def _shown_framing(self, answer: Answer, body: Body) -> list[tuple[str, str]]:
        """Return the headers of the body: those of HEAD tell a body that does not come."""
        if self._request.method == "HEAD" or answer.status in _NO_BODY:
            return [("Content-Length", value) for value in answer.fields.all("content-length")[:1]]
        return body.header


async def _copy_chunks(source: Streams, target: Streams, count: Count) -> None:
    """Copy the chunks of a body without their extensions and without trailers."""
    while True:
        found = _CHUNK.fullmatch(await _line(source))
        if not found:
            raise HeadError("A chunk of the body is not valid.")
        length = int(found[1], 16)
        if not length:
            break
        await put(target, b"%x\r\n" % length, count)
        await copy_exactly(source, target, length, count)
        if await _line(source) != b"\r\n":
            raise HeadError("A chunk of the body is longer than it says.")
        await put(target, b"\r\n", count)
    for _ in range(MAX_FIELDS):
        if await _line(source) == b"\r\n":
            break
    else:
        raise HeadError(f"The body has more than {MAX_FIELDS} trailers.")
    await put(target, b"0\r\n\r\n", count)


async def _line(source: Streams) -> bytes:
    try:
        return await source.reader.readuntil(b"\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise HeadError("The body ends early.") from None
