"""The gateway of one agent: both servers with their common parts, and the end when it is idle."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Final

from services.config import GatewayConfig
from services.gateway.api import errors
from services.gateway.api.handler import Handler
from services.gateway.api.server import ApiServer
from services.gateway.api.upstream import Upstream
from services.gateway.credentials import Credential
from services.gateway.egress.decision import Decision, Names
from services.gateway.egress.report import EgressReports
from services.gateway.forge.connection import ForgeAccess
from services.gateway.ledger import Ledger
from services.gateway.proxy import target
from services.gateway.proxy.server import ProxyServer
from services.gateway.settings import SettingsFile
from services.gateway.settlements import Settlements
from services.listener import Listener
from services.resolve import Resolver

EXIT_SECONDS: Final = 120.0
"""Seconds without a connection after which the gateway ends; the next connection starts it."""
DRAIN_SECONDS: Final = 10.0
"""Seconds that requests under way may take when the gateway is stopped."""
SETTLE_SECONDS: Final = 10.0
"""Seconds for the ledger to take the ends of requests when the gateway is stopped."""


class Gateway:
    """The gateway of one agent."""

    def __init__(
        self,
        agent: str,
        config: GatewayConfig,
        credential: Credential | None,
        ledger: Ledger,
        *,
        api: socket.socket,
        proxy: socket.socket,
        directory: Path,
        forge_token: str = "",
        names: Names | None = None,
        exit_seconds: float = EXIT_SECONDS,
    ) -> None:
        """Put the parts together.

        Args:
            agent: the agent.
            config: the settings for all agents.
            credential: goes upstream in place of the client's.
            ledger: counts requests and connections.
            api: the listening socket of the Messages API.
            proxy: the listening socket of the proxy.
            directory: contains the settings of the agent.
            forge_token: the token of the agent's account in the forge; empty for none.
            names: resolves names; the host's resolver by default.
            exit_seconds: see EXIT_SECONDS.
        """
        self._exit_seconds = exit_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._unneeded = asyncio.Event()
        self._settings = SettingsFile(directory, agent, self._settings_changed)
        self._resolver = Resolver()
        self._upstream = Upstream(config.idle_timeout)
        self._settlements = Settlements(ledger, self._changed)
        self._reports = EgressReports(ledger)
        self._handler = Handler(
            agent,
            lambda: self._settings.current,
            credential,
            ledger,
            self._settlements,
            self._upstream,
            config.max_body,
        )
        self._server = ApiServer(self._handler)
        resolver = names or self._resolver
        self._proxies = ProxyServer(
            Decision(agent, lambda: self._settings.current, ledger, resolver),
            ForgeAccess(agent, lambda: self._settings.current, forge_token, resolver),
            self._reports,
            config.idle_timeout,
            config.max_transfer,
        )
        most = config.max_connections
        self._api = Listener(
            api, self._server.serve, limit=most, full=errors.full(most), changed=self._changed
        )
        self._proxy = Listener(
            proxy, self._proxies.serve, limit=most, full=target.full(most), changed=self._changed
        )

    def start(self) -> None:
        """Serve the connections, also those that waited."""
        self._api.start()
        self._proxy.start()
        self._changed()

    async def run(self) -> None:
        """Follow the settings until the gateway is not needed any more.

        Raises:
            OSError: the settings cannot be followed.
        """
        following = asyncio.create_task(self._settings.follow(), name="settings")
        unneeded = asyncio.create_task(self._unneeded.wait(), name="unneeded")
        try:
            await asyncio.wait((following, unneeded), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            for task in (following, unneeded):
                task.cancel()
            await asyncio.wait((following, unneeded))

    async def close(self) -> None:
        """Finish the requests under way for a while, and tell the ledger all that was used."""
        self._api.stop()
        self._proxy.stop()
        await self._server.drain(DRAIN_SECONDS)
        await self._api.close()
        await self._proxy.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._handler.wait()
                await self._settlements.wait()
                await self._reports.close()
        await self._settlements.cancel()
        await self._upstream.close()
        self._resolver.close()
        if self._timer is not None:
            self._timer.cancel()

    def _settings_changed(self) -> None:
        self._proxies.look_again()

    def _changed(self) -> None:
        """Begin or stop to wait for the end, whenever something begins or ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not (len(self._api) or len(self._proxy) or len(self._settlements)):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._exit_seconds, self._end)

    def _end(self) -> None:
        """Accept no more. Nothing can be lost: connections are accepted and counted in one step."""
        self._api.stop()
        self._proxy.stop()
        self._unneeded.set()
