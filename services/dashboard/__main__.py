"""The composition root of hive-dashboard.service."""

import asyncio
import secrets
import socket
from pathlib import Path

from aiohttp import web

from services import credentials, unit
from services.config import Config, DashboardConfig
from services.dashboard.clients.actions import OperatorActions
from services.dashboard.clients.agent_control import AgentControl
from services.dashboard.clients.agent_details import AgentDetails
from services.dashboard.clients.agent_tails import AgentTails
from services.dashboard.clients.agent_turns import AgentTurns
from services.dashboard.clients.approvals_feed import ApprovalsFeed
from services.dashboard.clients.broker_feed import BrokerFeed
from services.dashboard.clients.configurations import Configurations
from services.dashboard.clients.costs import Costs
from services.dashboard.clients.egress import EgressHosts
from services.dashboard.clients.harnesses import Harnesses
from services.dashboard.clients.history import MessageHistory
from services.dashboard.clients.ledger_feed import LedgerFeed
from services.dashboard.clients.lifecycle_feed import LifecycleFeed
from services.dashboard.clients.logs import ContainerLogs, HostLogs
from services.dashboard.clients.measurements import Measurements
from services.dashboard.clients.projects import Projects
from services.dashboard.clients.projects_feed import ProjectsFeed
from services.dashboard.clients.samples import Samples
from services.dashboard.clients.services import ExplainingCaller
from services.dashboard.clients.webhooks import Webhooks
from services.dashboard.http.agent_handlers import AgentHandlers
from services.dashboard.http.approval_handlers import ApprovalHandlers
from services.dashboard.http.connection import Connection
from services.dashboard.http.control_handlers import ControlHandlers
from services.dashboard.http.event_streams import EventStreams
from services.dashboard.http.exports import Exports
from services.dashboard.http.failures import Failures
from services.dashboard.http.handlers import Handlers
from services.dashboard.http.hook_handlers import HookHandlers
from services.dashboard.http.ledger_handlers import LedgerHandlers
from services.dashboard.http.listener import ListenerError, base_url, inherited_socket, is_local
from services.dashboard.http.log_handlers import LogHandlers
from services.dashboard.http.login_handlers import LoginHandlers
from services.dashboard.http.message_handlers import MessageHandlers
from services.dashboard.http.metrics import Metrics
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.passkeys import Passkeys
from services.dashboard.http.project_handlers import ProjectHandlers
from services.dashboard.http.proxy import TOKEN_FILE, Proxy
from services.dashboard.http.push_handlers import PushHandlers
from services.dashboard.http.push_targets import PushTargets
from services.dashboard.http.session_handlers import SessionHandlers
from services.dashboard.http.sessions import Sessions
from services.dashboard.interface import Dashboard1
from services.dashboard.preview.addresses import PreviewNames
from services.dashboard.preview.entrance import Entrances
from services.dashboard.preview.links import PreviewLinks
from services.dashboard.preview.previews import Connect, Previews
from services.dashboard.preview.reasons import Reasons
from services.dashboard.preview.tickets import Tickets
from services.dashboard.state.event_log import EventLog
from services.dashboard.state.page_state import PageState
from services.dashboard.state.project_tables import ProjectTables
from services.dashboard.state.tables import Tables
from services.dashboard.terminal.terminals import Connect as ConnectTerminal
from services.dashboard.terminal.terminals import Terminals
from services.directories import state_directory
from services.errors import ConfigError
from wire import names, web_socket
from wire.agent_web import AgentWeb
from wire.bus import Bus

METRICS_FILE = "/etc/hyperhive/credentials/dashboard/metrics"
"""The file of the token that reads the metrics."""

SHUTDOWN_SECONDS = 0.5
"""The time that running requests have at the end; event streams end at once."""


KEEPALIVE_SECONDS = 310.0
"""The time for which a connection without a request stays open: browsers close it after 300 s."""


class DashboardService(unit.Service):
    """The dashboard between one listening socket and one bus connection."""

    def __init__(
        self,
        bus: Bus,
        listener: socket.socket,
        state: Path,
        config: DashboardConfig,
        web_: AgentWeb,
        metrics_token: str | None = None,
        connect: Connect = web_socket.connect_port,
        proxy: Proxy | None = None,
        connect_terminal: ConnectTerminal = web_socket.connect_terminal,
    ) -> None:
        """Build the dashboard and export its interface.

        Args:
            bus: the connection to the services.
            listener: a bound socket; `close` closes it.
            state: the directory of the file of logins.
            config: the section [dashboard].
            web_: the harnesses of the agents.
            metrics_token: the token that reads the metrics; None: only a session does.
            connect: connects to the ports of agents, for previews.
            proxy: the proxy in front of the listener; by default the one of `config`, without a
                token.
            connect_terminal: connects to shells of agents.

        Raises:
            ConfigError: the settings about the proxy contradict each other.
            CorruptStore: a file of logins, passkeys or notifications cannot be used.
        """
        self._listener = listener
        self.log = EventLog(epoch=secrets.token_hex(8))
        tables = Tables(self.log)
        page_state = PageState(tables)
        self._feeds = (
            BrokerFeed(bus, page_state),
            LifecycleFeed(bus, page_state),
            ApprovalsFeed(bus, page_state),
            LedgerFeed(bus, page_state),
            ProjectsFeed(bus, page_state, ProjectTables(tables)),
        )
        measurements = Measurements(bus, page_state.counts)
        self._samples = Samples(measurements, page_state, tables)
        caller = ExplainingCaller(bus)
        sessions, streams = Sessions(state / "logins.json"), EventStreams(self.log)
        names_, tickets = PreviewNames(config.preview_domain), Tickets(sessions.seconds_left)
        self._proxy = proxy = proxy or Proxy(config)
        self._previews = previews = Previews(
            names_, tickets, connect, Reasons(tables.rows), proxy.headers
        )

        targets = PushTargets(
            state / "push.json", config.push_services, lambda key: sessions.find(key) is not None
        )

        self.terminals = terminals = Terminals(
            connect_terminal,
            sessions.seconds_left,
            allowed=config.terminal,
            idle_seconds=config.terminal_idle,
        )

        def end(session: str) -> None:
            streams.end(session)
            previews.end(session)
            targets.end(session)
            terminals.end(session)

        sessions.on_end = end
        sessions.end_others(proxy.role)
        actions = OperatorActions(caller, self._feeds)
        self._harnesses = harnesses = Harnesses(web_)
        self._access = access = AccessControl(
            sessions, listener.getsockname()[0], config.allowed_hosts, metrics_token, proxy
        )
        passkeys = Passkeys(state / "passkeys.json")
        tails = AgentTails(harnesses, tables, self.log)
        container_logs = ContainerLogs(harnesses, tails.require)
        self._logs = LogHandlers(HostLogs(caller), container_logs, access, streams)
        handlers = Handlers(
            access,
            LoginHandlers(access, sessions, passkeys, Failures()),
            SessionHandlers(access, sessions, passkeys),
            PushHandlers(access, targets),
            tables,
            streams,
            actions,
            AgentDetails(caller),
            AgentHandlers(
                harnesses,
                AgentTurns(harnesses, caller),
                tails,
                actions,
                Exports(access, streams),
            ),
            ControlHandlers(AgentControl(caller)),
            ApprovalHandlers(Configurations(caller)),
            ProjectHandlers(Projects(caller)),
            MessageHandlers(MessageHistory(caller), actions),
            Metrics(tables, page_state.counts, measurements),
            PreviewLinks(self._previews, tickets),
            terminals,
            LedgerHandlers(Costs(caller), EgressHosts(caller)),
            self._logs,
            HookHandlers(Webhooks(bus), Failures()),
        )
        self.application = handlers.application()
        # With handler_cancellation, a page that closes ends its stream at once. Otherwise the
        # stream of an idle hive would stay open for ever.
        self._runner = web.AppRunner(
            self.application,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_SECONDS,
            keepalive_timeout=KEEPALIVE_SECONDS,
            access_log=None,
        )
        self._server: asyncio.Server | None = None
        url = (config.url or base_url(listener)).rstrip("/")
        bus.export(names.DASHBOARD_PATH, Dashboard1(sessions, targets, url))

    async def start(self) -> None:
        """Serve the socket."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        make_handler = self._runner.server
        if make_handler is None:
            raise RuntimeError("The runner has no server after its setup.")
        more = self._proxy.headers
        admits = None if is_local(self._listener) else self._proxy.admits
        self._entrances = Entrances(
            lambda: Connection(make_handler(), more), self._previews, admits or (lambda _: True)
        )
        self._access.on_session = self._previews.on_session = self._entrances.trust
        self._server = await loop.create_server(self._entrances, sock=self._listener)

    async def run(self) -> None:
        """Keep the tables current until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self._feeds:
                tasks.create_task(feed.run(), name=feed.service)
            tasks.create_task(self._samples.run(), name="samples")

    def drain(self) -> None:
        """End the event streams: browsers connect to the next dashboard by themselves."""
        self.log.close()
        self._logs.close()

    async def close(self) -> None:
        """Let running requests finish, and stop serving."""
        if self._server is not None:
            self._server.close()
            self._entrances.close()
        await self._previews.close()
        await self.terminals.close()
        await self._runner.cleanup()
        self._harnesses.close()
        self._listener.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Build the dashboard on the socket that systemd passed.

    Raises:
        ConfigError: systemd passed no socket that can be served, or no valid token.
    """
    try:
        listener = inherited_socket(behind_proxy=config.dashboard.behind_proxy)
    except ListenerError as error:
        raise ConfigError(str(error)) from error
    state = state_directory("dashboard")
    folder = credentials.directory()
    token = credentials.token(folder / "dashboard_metrics", METRICS_FILE) if folder else None
    proxy_token = credentials.token(folder / "dashboard_proxy", TOKEN_FILE) if folder else None
    proxy = Proxy(config.dashboard, proxy_token)
    return DashboardService(bus, listener, state, config.dashboard, AgentWeb(), token, proxy=proxy)


if __name__ == "__main__":
    unit.main("dashboard", lambda bus: build(bus, Config.load()), bus_name=names.DASHBOARD)
