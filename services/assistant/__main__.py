"""The composition root of hive-assistant.service."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from services import credentials, unit
from services.assistant import web
from services.assistant.clients import Hive
from services.assistant.rights import Tokens
from services.assistant.server import make_server
from services.config import AssistantConfig, Config
from services.loopback import inherited_socket
from wire.bus import Bus

IDLE_SECONDS: Final = 300.0
"""The time without a request after which the service ends; the next request starts it again."""
SHUTDOWN_SECONDS: Final = 5
"""The time that running requests have at the end."""
UNIT: Final = "hive-assistant.socket"


class _Server(uvicorn.Server):
    """A server that leaves signals to the unit."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class AssistantService(unit.Service):
    """The MCP server between one listening socket and one bus connection."""

    def __init__(
        self,
        bus: Bus,
        listener: socket.socket,
        tokens: Tokens,
        config: AssistantConfig,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Build the service.

        Args:
            bus: the connection to the services.
            listener: a listening loopback socket; `close` closes it.
            tokens: the clients.
            config: the section [assistant].
            idle_seconds: the time without a request after which `run` returns.
        """
        self._listener = listener
        self._idle = web.Idle(idle_seconds)
        # Each request stands alone, so nothing is lost when the service ends between two.
        self._manager = StreamableHTTPSessionManager(
            make_server(Hive(bus)),
            json_response=True,
            stateless=True,
            security_settings=web.security(config.allowed_hosts),
            max_request_body_size=web.MAX_BODY,
        )
        self._server = _Server(
            uvicorn.Config(
                web.Application(tokens, self._manager, self._idle),
                http=web.Connection,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )

    async def run(self) -> None:
        """Serve until nobody has come for a while."""
        async with self._manager.run():
            serving = asyncio.create_task(self._server.serve([self._listener]), name="server")
            idle = asyncio.create_task(self._idle.wait(), name="idle")
            try:
                await asyncio.wait((serving, idle), return_when=asyncio.FIRST_COMPLETED)
            finally:
                idle.cancel()
                # Connections that have been accepted are served to their end. The kernel keeps
                # others for the next run.
                self._server.should_exit = True
                await asyncio.shield(serving)

    async def close(self) -> None:
        """Close the socket; systemd keeps its own."""
        self._listener.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Build the service on the socket that systemd passed.

    Raises:
        ConfigError: systemd passed no socket that can be served, or a file that is not a token's.
    """
    tokens = Tokens.load(credentials.directory())
    listener = inherited_socket(UNIT, "tokens would cross the network unencrypted")
    return AssistantService(bus, listener, tokens, config.assistant)


if __name__ == "__main__":
    unit.main("assistant", lambda bus: build(bus, Config.load()))
