"""The endpoint: accepts connections on the agent's socket, up to a limit, and owns them."""

import asyncio
import logging
import socket
from typing import Final

from services.endpoint import rpc
from services.endpoint.connection import Connection, Shared
from services.endpoint.hive import Hive
from services.endpoint.inbox import Inbox
from services.endpoint.lines import CHUNK
from services.endpoint.reports import Reports
from services.endpoint.rpc import Code, RpcError
from wire.bus import Bus

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
"""Connections at once. An agent needs two: its harness and its Claude Code."""

BACKLOG: Final = 1024
"""As in the socket unit: asyncio listens again, and its own number would replace that one."""

_FULL: Final = rpc.error(
    RpcError(
        Code.BUSY, f"This agent has {MAX_CONNECTIONS} connections already: close one of them first."
    )
)


class Endpoint:
    """Serves one agent's socket over one bus connection."""

    def __init__(self, bus: Bus, agent: str) -> None:
        hive = Hive(bus, agent)
        self._shared = Shared(agent, hive, Inbox(hive), Reports(hive.report))
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many connections are being served."""
        return len(self._connections)

    async def start(self, listener: socket.socket) -> None:
        """Serve `listener`, which is bound and listening."""
        shared = self._shared
        await shared.hive.watch(shared.inbox.leases.forget, shared.reports.lifecycle_appeared)
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=CHUNK, backlog=BACKLOG
        )

    async def close(self) -> None:
        """Stop accepting, end every connection and release what they hold."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._shared.reports.close()
        await self._shared.inbox.close()
        await asyncio.sleep(0)  # the turn of the loop in which closed transports let go

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.write(_FULL + b"\n")
            writer.close()
            return
        # Not asyncio's 256 KiB: for so much, malloc asks the kernel for memory at each read.
        writer.transport.max_size = CHUNK  # type: ignore[attr-defined]
        connection = Connection(self._shared, reader, writer)
        task = asyncio.get_running_loop().create_task(self._run(connection))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # However it ends: a task that is cancelled before its first step cleans up nothing.
        task.add_done_callback(lambda _: writer.close())

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:  # one connection's bug is not the others' end
            log.exception("A connection failed.")
