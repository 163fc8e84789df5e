"""JSON-RPC 2.0 on the agent's socket, one message on each line: the client's side.

It uses the standard library only: the `mcp` package needs a second of processor time and 40 MB.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final

from harness.jsonvalues import Json, JsonObject

log = logging.getLogger(__name__)

MAX_LINE: Final = 256 * 1024 * 1024
"""Bytes of a line. An answer with 50 bodies of 1 MiB, each twice and escaped, is shorter."""

_CHUNK: Final = 256 * 1024

Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Notified = Callable[[str, JsonObject], None]
"""Takes the method and the parameters of a notification of the hive."""


class RpcError(Exception):
    """The hive refused the request; the text is the hive's sentence."""


class ClosedError(Exception):
    """The connection ended before the answer came."""


class Connection:
    """A connection for requests; `closed` is set when it has ended."""

    def __init__(self, writer: asyncio.StreamWriter, notified: Notified | None = None) -> None:
        self._writer = writer
        self._notified = notified
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[JsonObject]] = {}
        self.closed = asyncio.Event()

    async def request(self, method: str, params: JsonObject) -> JsonObject:
        """Send a request; return its result.

        Raises:
            RpcError: the hive refused the request, or JSON cannot carry it.
            ClosedError: the connection ended before the answer came.
        """
        if self.closed.is_set():
            raise ClosedError("closed")
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._write({"id": number, "method": method, "params": params})
            result: JsonObject = await answer
            return result
        finally:
            del self._waiting[number]

    async def notify(self, method: str) -> None:
        """Send a notification, which is not answered.

        Raises:
            ClosedError: the connection has ended.
        """
        await self._write({"method": method})

    async def _write(self, message: JsonObject) -> None:
        self._writer.write(_line({"jsonrpc": "2.0", **message}))
        try:
            await self._writer.drain()
        except OSError as exc:
            raise ClosedError(str(exc)) from None

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Pass answers to their requests until the connection ends.

        Requests that are still waiting then raise ClosedError.
        """
        try:
            await self._read(reader)
        except OSError as exc:
            log.debug("the connection failed: %s", exc)
        finally:
            self.closed.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ClosedError("closed"))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        rest = bytearray()
        while chunk := await reader.read(_CHUNK):
            rest += chunk
            if b"\n" not in chunk:
                if len(rest) > MAX_LINE:
                    log.error("the hive sent a line of more than %d bytes", MAX_LINE)
                    return
                continue
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if line.strip():
                    self._take(line)

    def _take(self, line: bytes | bytearray) -> None:
        try:
            message = json.loads(line)
            method, number = message.get("method"), message.get("id")
            answer = self._waiting.get(number)
        except (ValueError, AttributeError, TypeError, RecursionError):
            log.error("the hive sent a line that is not JSON-RPC: %.200r", bytes(line))
            return
        if isinstance(method, str) and number is None:
            params = message.get("params")
            if self._notified:
                self._notified(method, params if isinstance(params, dict) else {})
            return
        if isinstance(method, str):
            self._answer(method, number)
            return
        if answer is None or answer.done():
            return  # the request is not waiting any more
        if isinstance(message.get("result"), dict):
            answer.set_result(message["result"])
        else:
            answer.set_exception(RpcError(_sentence(message.get("error"))))

    def _answer(self, method: str, number: Json) -> None:
        """Answer a request of the hive; its ids are not those of our requests."""
        reply: JsonObject = {"jsonrpc": "2.0", "id": number}
        if method == "ping":
            reply["result"] = {}
        else:
            reply["error"] = {"code": -32601, "message": f"There is no method {method[:64]!r}."}
        self._writer.write(_line(reply))


def _line(message: JsonObject) -> bytes:
    """Return the line for a message.

    Half a surrogate pair, as in the error about a file whose name is not UTF-8, becomes a question
    mark: no parser takes it.

    Raises:
        RpcError: JSON cannot carry the message.
    """
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as exc:
        raise RpcError(f"the request cannot be written as JSON: {exc}") from None
    return text.encode(errors="replace") + b"\n"


def _sentence(error: Json) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else "no result"


@asynccontextmanager
async def open_connection(
    socket: Socket, notified: Notified | None = None
) -> AsyncIterator[Connection]:
    """Open a connection on `socket`; close both at the end.

    Args:
        socket: the socket.
        notified: called with each notification of the hive.
    """
    reader, writer = socket
    opened = Connection(writer, notified)
    task = asyncio.create_task(opened.read(reader), name="socket reader")
    try:
        yield opened
    finally:
        task.cancel()
        await asyncio.wait({task})
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
