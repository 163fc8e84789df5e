"""The parts put together: everything between one listening socket and one bus connection."""

import asyncio
import secrets
import socket
from pathlib import Path

from aiohttp import web

from services.config import DashboardConfig
from services.unit import Service
from wire import names
from wire.bus import Bus

from .about import About
from .feed import Feed
from .feeds import ApprovalsFeed, BrokerFeed, LifecycleFeed
from .guard import Guard
from .hive import Hive
from .interface import Dashboard1
from .listener import base_url
from .log import EventLog
from .logins import Logins
from .operations import BusActions
from .stream import Streams
from .tables import Tables
from .web import Site

SHUTDOWN_SECONDS = 0.5
"""For requests under way; streams end at once."""


class Dashboard(Service):
    """The running dashboard."""

    def __init__(
        self, bus: Bus, listener: socket.socket, state: Path, config: DashboardConfig
    ) -> None:
        """Build it and export its interface.

        Args:
            bus: to the services.
            listener: a bound loopback socket; the dashboard closes it.
            state: the directory of the file of logins.
            config: its section.

        Raises:
            CorruptStore: the file of logins cannot be used.
        """
        self._listener = listener
        self._log = EventLog(epoch=secrets.token_hex(8))
        tables = Tables(self._log)
        hive = Hive(tables)
        self._feeds: list[Feed] = [
            BrokerFeed(bus, hive), LifecycleFeed(bus, hive), ApprovalsFeed(bus, hive),
        ]  # fmt: skip
        logins = Logins(state / "logins.json")
        guard = Guard(logins, listener.getsockname()[1], config.allowed_hosts)
        self.streams = Streams(self._log)
        site = Site(guard, logins, tables, self.streams, BusActions(bus, self._feeds), About(bus))
        # A page that has gone ends its stream: else an idle hive would keep it for ever.
        self._runner = web.AppRunner(
            site.application(), handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS,
            access_log=None,
        )  # fmt: skip
        url = (config.url or base_url(listener)).rstrip("/")
        bus.export(names.DASHBOARD_PATH, Dashboard1(logins, url))

    async def start(self) -> None:
        """Serve the socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def run(self) -> None:
        """Keep the tables current until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self._feeds:
                tasks.create_task(feed.run(), name=feed.service)

    def drain(self) -> None:
        """End the streams: their browsers come back to the next dashboard by themselves."""
        self._log.close()

    async def close(self) -> None:
        """Let requests under way finish, and stop serving."""
        await self._runner.cleanup()
        self._listener.close()
