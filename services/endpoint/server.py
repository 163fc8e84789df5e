"""The server of the agent's socket: accepts connections, up to a limit, and owns them."""

import asyncio
import socket
from typing import Final

from services.endpoint.clients.services import Services
from services.endpoint.commands import Commands
from services.endpoint.delivery.inbox import Inbox
from services.endpoint.mcp import jsonrpc
from services.endpoint.mcp.connection import Connection, Shared
from services.endpoint.mcp.jsonrpc import Code, RpcError
from services.endpoint.mcp.lines import CHUNK
from services.endpoint.reports import Reports
from services.tasks import Tasks
from wire.bus import Bus

MAX_CONNECTIONS: Final = 64
"""Connections at once. An agent needs two: its harness and its Claude Code."""

BACKLOG: Final = 1024
"""The backlog of the socket unit. asyncio calls listen() again; its default would replace it."""

_FULL: Final = jsonrpc.error(
    RpcError(
        Code.BUSY, f"This agent already has {MAX_CONNECTIONS} connections: close one of them first."
    )
)


class EndpointServer:
    """The server of one agent's socket, with one bus connection."""

    def __init__(self, bus: Bus, agent: str) -> None:
        services = Services(bus, agent)
        self._shared = Shared(
            agent, services, Inbox(services), Reports(services.report), Commands(services)
        )
        self._connections = Tasks()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """The number of connections that are being served."""
        return len(self._connections)

    async def start(self, listener: socket.socket) -> None:
        """Serve `listener`, which is bound and listening."""
        shared = self._shared
        await shared.services.watch(shared.inbox.leases.forget, self._lifecycle_back)
        await shared.services.follow_commands(shared.commands.issued)
        shared.commands.start()
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=CHUNK, backlog=BACKLOG
        )

    async def close(self) -> None:
        """Stop accepting, end every connection and release the messages they hold."""
        if self._server is not None:
            self._server.close()
        await self._connections.cancel()
        await self._shared.reports.close()
        await self._shared.commands.close()
        await self._shared.inbox.close()
        # Closed transports let go of their sockets in the next iteration of the loop.
        await asyncio.sleep(0)

    def _lifecycle_back(self) -> None:
        self._shared.commands.repeat()
        self._shared.reports.repeat()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.write(_FULL + b"\n")
            writer.close()
            return
        # asyncio's own 256 KiB are too many: malloc would ask the kernel for memory at each read.
        writer.transport.max_size = CHUNK  # type: ignore[attr-defined]
        connection = Connection(self._shared, reader, writer)
        self._connections.start_detached(connection.run(), "connection", done=writer.close)
