"""Newline-delimited JSON over the agent's socket, as the pair of streams that `mcp` wants."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

log = logging.getLogger(__name__)

MAX_LINE: Final = 256 * 1024 * 1024
"""A line this long is no answer any more: 50 bodies of 1 MiB, twice, escaped, stay below."""

_CHUNK: Final = 256 * 1024

Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


@asynccontextmanager
async def streams(socket: Socket) -> AsyncIterator[tuple[Incoming, Outgoing, asyncio.Event]]:
    """Incoming and outgoing messages of `socket`, and an event that is set when it is gone."""
    reader, writer = socket
    into, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](16)
    outgoing, out_of = anyio.create_memory_object_stream[SessionMessage](16)
    gone = asyncio.Event()
    tasks = [
        asyncio.create_task(_read(reader, into, gone), name="socket reader"),
        asyncio.create_task(_write(out_of, writer, gone), name="socket writer"),
    ]
    try:
        yield incoming, outgoing, gone
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in (into, incoming, outgoing, out_of):
            stream.close()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _read(
    reader: asyncio.StreamReader,
    into: MemoryObjectSendStream[SessionMessage | Exception],
    gone: asyncio.Event,
) -> None:
    rest = bytearray()
    try:
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
                    await into.send(_parse(line))
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # the connection or the session is gone, which is what `gone` says
    finally:
        gone.set()
        into.close()


async def _write(
    out_of: MemoryObjectReceiveStream[SessionMessage],
    writer: asyncio.StreamWriter,
    gone: asyncio.Event,
) -> None:
    try:
        async for item in out_of:
            text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
            writer.write(text.encode() + b"\n")
            await writer.drain()
    except OSError:
        gone.set()


def _parse(line: bytes | bytearray) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(bytes(line), by_name=False))
    except ValueError as exc:
        log.error("the endpoint sent a line that is no JSON-RPC: %.200r", bytes(line))
        return exc
