"""The methods of the hive's services that the tools use."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from services.endpoint.clients.jobs import Jobs, no_agent
from services.endpoint.clients.retry import (
    BrokerRestarts,
    LimitedCaller,
    RetryingCaller,
)
from wire import names
from wire.bus import Bus
from wire.caller import CALL_TIMEOUT
from wire.clients.approvals import ApprovalsClient
from wire.clients.broker import BrokerClient
from wire.clients.changes import ChangesClient
from wire.clients.ledger import LedgerClient
from wire.clients.lifecycle import AgentClient, LifecycleClient
from wire.clients.telemetry import TelemetryClient
from wire.errors import NotFound
from wire.records.approvals import ApplyRequestOptions, SpawnRequestOptions
from wire.records.broker import (
    AskOptions,
    Message,
    ReleaseOptions,
    RemindOptions,
    SendOptions,
    Thread,
)
from wire.records.changes import (
    ChangeDetails,
    ChangeDiff,
    ChangeDiffOptions,
    ChangeFilter,
    CommentOptions,
    ProjectChange,
    SubmitOptions,
)
from wire.records.codec import decode
from wire.records.ledger import Turn
from wire.records.lifecycle import (
    AgentProperties,
    CancelOptions,
    CommandIssued,
    CommandResult,
    JobRemoved,
    JobVerb,
    Report,
)
from wire.records.telemetry import Span
from wire.signals import Signal

CHANGE_SECONDS: Final = 150.0
"""Seconds that a call about changes may take: projects takes one commit at a time, each within a
minute."""


class Services:
    """The services of the hive, called over the endpoint's bus connection."""

    def __init__(self, bus: Bus, agent: str) -> None:
        self._bus = bus
        self._agent = agent
        self._restarts = BrokerRestarts(bus)
        self._limited = LimitedCaller(bus)
        self._broker = BrokerClient(RetryingCaller(self._limited, self._restarts))
        self._jobs = Jobs(bus, self._limited)
        self._lifecycle = LifecycleClient(self._limited)
        self._approvals = ApprovalsClient(self._limited)
        self._changes = ChangesClient(self._limited, timeout=CHANGE_SECONDS)
        self._ledger = LedgerClient(self._limited)
        self._telemetry = TelemetryClient(self._limited)

    async def watch(
        self, on_broker_lost: Callable[[], None], on_lifecycle_back: Callable[[], None]
    ) -> None:
        """Watch for restarts of the broker and of lifecycle."""
        await self._bus.on_owner(
            names.BROKER,
            came=lambda _: self._restarts.broker_came(),
            went=lambda _: on_broker_lost(),
        )
        await self._bus.on_owner(
            names.LIFECYCLE,
            came=lambda _: on_lifecycle_back(),
            went=lambda _: self._jobs.lifecycle_went(),
        )

    async def follow_commands(self, issued: Callable[[CommandIssued], None]) -> None:
        """Call `issued` with each command of lifecycle to this agent's harness."""

        def received(signal: Signal) -> None:
            issued(decode(CommandIssued, signal.args))

        await self._bus.on_signal(
            received,
            sender=names.LIFECYCLE,
            path=names.agent_path(self._agent),
            interface=names.AGENT_INTERFACE,
            member="CommandIssued",
        )

    async def send(self, to: str, body: str, options: SendOptions) -> int:
        """Queue a message; return its id. A restart of the broker does not queue it twice."""
        return await self._broker.send(to, body, options._replace(dedupe_key=_new_key()))

    async def receive(self, maximum: int, seconds: float, *, urgent: bool) -> list[Message]:
        """Lease up to `maximum` messages, or urgent ones; wait up to `seconds` for the first."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        # Not over the limited caller: there is one Receive of each kind, and it waits long.
        broker = BrokerClient(self._bus)

        async def receive() -> list[Message]:
            left = max(0.0, until - loop.time())
            client = broker.within(left + CALL_TIMEOUT)
            call = client.receive_urgent if urgent else client.receive
            return await call(maximum, round(left * 1000))

        return await self._restarts.retry(receive, seconds + CALL_TIMEOUT)

    async def acknowledge(self, ids: list[int], *, cancelled: bool) -> None:
        """Acknowledge the messages; with `cancelled`, because their turn was cancelled."""
        call = self._broker.acknowledge_cancelled if cancelled else self._broker.acknowledge
        await call(ids)

    async def release(self, ids: list[int], *, reason: str, uncounted: bool) -> None:
        """Queue the messages again; with `uncounted`, the delivery does not count."""
        call = self._broker.give_back if uncounted else self._broker.release
        await call(ids, ReleaseOptions(reason))

    async def retract(self, id: int) -> None:
        """Take back a message that this agent sent."""
        await self._broker.retract(id)

    async def ask(self, to: str, question: str, options: AskOptions) -> int:
        """Ask a question; return its id. A restart of the broker does not ask it twice."""
        return await self._broker.ask(to, question, options._replace(dedupe_key=_new_key()))

    async def answer(self, id: int, answer: list[str]) -> None:
        """Answer a question."""
        await self._broker.answer(id, answer)

    async def cancel_question(self, id: int) -> None:
        """Cancel a question."""
        await self._broker.cancel(id)

    async def remind(self, due: int, body: str, options: RemindOptions) -> int:
        """Set a reminder; return its id. A restart of the broker does not set it twice."""
        return await self._broker.remind(due, body, options._replace(dedupe_key=_new_key()))

    async def cancel_reminder(self, id: int) -> None:
        """Cancel a reminder."""
        await self._broker.cancel_reminder(id)

    async def open_threads(self) -> list[Thread]:
        """Return the open threads that the broker shows to this agent."""
        return await self._broker.open_threads()

    async def agents(self) -> list[AgentProperties]:
        """Return the properties of every agent, in the order of their names."""
        agents = (await self._lifecycle.managed_objects()).agents
        return [agents[path] for path in sorted(agents)]

    async def report(self, report: Report) -> None:
        """Send the report of this agent's harness to lifecycle."""
        await self._agent_client(self._agent).report(report)

    async def harness_connected(self, connected: bool) -> None:
        """Tell lifecycle whether the harness of this agent is connected."""
        await self._agent_client(self._agent).harness_connected(connected)

    async def command_done(self, id: int, result: CommandResult) -> None:
        """Hand the result of a command to lifecycle."""
        await self._agent_client(self._agent).command_done(id, result)

    async def cancel_turn(self, agent: str, options: CancelOptions) -> None:
        """Interrupt the turn of `agent`. Its own words about that are dropped."""
        try:
            await self._agent_client(agent).cancel_turn(options)
        except NotFound:
            raise no_agent(agent) from None

    async def record_turn(self, turn: Turn) -> None:
        """Record a turn of this agent in the ledger."""
        await self._ledger.record_turn(turn)

    async def check_egress(self, host: str, port: int, reason: str) -> bool:
        """Return whether the operator allows this agent a host, or else ask the operator."""
        return await self._ledger.check_egress(host, port, reason)

    async def record_spans(self, spans: list[Span]) -> None:
        """Hand spans of this agent to telemetry."""
        await self._telemetry.record_spans(spans)

    async def logs(self, agent: str, lines: int) -> list[str]:
        """Return the newest `lines` lines of the host's journal about `agent`."""
        try:
            return await self._agent_client(agent).get_logs(lines)
        except NotFound:
            raise no_agent(agent) from None

    async def run_job(self, agent: str, verb: JobVerb) -> JobRemoved:
        """Start, stop, restart or update `agent`, and wait; see `Jobs.run`."""
        return await self._jobs.run(agent, verb)

    async def request_spawn(self, name: str, reason: str, options: SpawnRequestOptions) -> int:
        """Ask the operator for a new agent; return the request's id."""
        return await self._approvals.request_spawn(name, reason, options)

    async def request_apply(
        self, agent: str, commit: str, description: str, options: ApplyRequestOptions
    ) -> int:
        """Ask the operator to deploy a commit; return the request's id."""
        return await self._approvals.request_apply(agent, commit, description, options)

    async def withdraw(self, id: int) -> None:
        """Withdraw a request."""
        await self._approvals.withdraw(id)

    async def submit_change(
        self, project: str, commit: str, title: str, description: str, options: SubmitOptions
    ) -> int:
        """Hand commits back for a branch of a project; return the number of the change."""
        return await self._changes.submit(project, commit, title, description, options)

    async def update_change(self, id: int, commit: str, note: str) -> int:
        """Submit another revision of a change; return its number."""
        return await self._changes.update(id, commit, note)

    async def withdraw_change(self, id: int) -> None:
        """Take a change back."""
        await self._changes.withdraw(id)

    async def list_changes(self, wanted: ChangeFilter) -> list[ProjectChange]:
        """Return the changes of this agent's projects that match."""
        return await self._changes.list_changes(wanted)

    async def get_change(self, id: int) -> ChangeDetails:
        """Return a change with its revisions and comments."""
        return await self._changes.get_change(id)

    async def diff_change(self, id: int, options: ChangeDiffOptions) -> ChangeDiff:
        """Return what a change changes."""
        return await self._changes.diff(id, options)

    async def comment_on_change(self, id: int, text: str, options: CommentOptions) -> None:
        """Comment on a change."""
        await self._changes.comment(id, text, options)

    def _agent_client(self, agent: str) -> AgentClient:
        return AgentClient(self._limited, names.agent_path(agent))


def _new_key() -> str:
    """Return a key by which the broker recognizes a repeated call."""
    return secrets.token_hex(16)
