"""JSON-RPC 2.0 on the agent's socket, a message a line: the client's side, as far as MCP needs it.

Standard library only: the `mcp` package takes a second of processor time to load, and 40 MB.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, Final

log = logging.getLogger(__name__)

MAX_LINE: Final = 256 * 1024 * 1024
"""A line this long is no answer any more: 50 bodies of 1 MiB, twice, escaped, stay below."""

_CHUNK: Final = 256 * 1024

Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class RpcError(Exception):
    """The other side refused the request; the text is its sentence."""


class GoneError(Exception):
    """The connection ended before the answer came."""


class Connection:
    """Requests on one connection; `gone` is set when it has ended."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.gone = asyncio.Event()

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a request. Raises RpcError or GoneError."""
        if self.gone.is_set():
            raise GoneError("closed")
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._write({"id": number, "method": method, "params": params})
            result: dict[str, Any] = await answer
            return result
        finally:
            del self._waiting[number]

    async def notify(self, method: str) -> None:
        """Tell something that is not answered. Raises GoneError."""
        await self._write({"method": method})

    async def _write(self, message: dict[str, Any]) -> None:
        self._writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        try:
            await self._writer.drain()
        except OSError as exc:
            raise GoneError(str(exc)) from None

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Hand out answers until the connection ends; whoever still waits then gets GoneError."""
        try:
            await self._read(reader)
        except OSError as exc:
            log.debug("the connection broke: %s", exc)
        finally:
            self.gone.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(GoneError("closed"))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        rest = bytearray()
        while chunk := await reader.read(_CHUNK):
            rest += chunk
            if b"\n" not in chunk:
                if len(rest) > MAX_LINE:
                    log.error("the endpoint sent a line of more than %d bytes", MAX_LINE)
                    return
                continue
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if line.strip():
                    self._take(line)

    def _take(self, line: bytes | bytearray) -> None:
        try:
            message = json.loads(line)
            answer = self._waiting.get(message.get("id"))
        except (ValueError, AttributeError, TypeError):
            log.error("the endpoint sent a line that is no JSON-RPC: %.200r", bytes(line))
            return
        if answer is None or answer.done():
            return  # nobody waits for it any more
        if isinstance(message.get("result"), dict):
            answer.set_result(message["result"])
        else:
            answer.set_exception(RpcError(_sentence(message.get("error"))))


def _sentence(error: Any) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else "no result"


@asynccontextmanager
async def connection(socket: Socket) -> AsyncIterator[Connection]:
    """A connection on `socket`, which is closed at the end."""
    reader, writer = socket
    made = Connection(writer)
    task = asyncio.create_task(made.read(reader), name="socket reader")
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
