"""The methods of the hive's services that the tools use."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final

from services.endpoint.clients.caller import CALL_SECONDS, ServiceCaller
from services.endpoint.clients.jobs import JobResult, no_agent, run_job
from services.endpoint.delivery.inbox import Message
from wire import names
from wire.bus import Bus
from wire.errors import NotFound

_FIELDS: Final = (
    "id",
    "from",
    "to",
    "kind",
    "body",
    "queued",
    "redeliveries",
    "urgent",
    "in_reply_to",
    "state",
    "invocation",
    "earlier_life",
)
"""The fields of a message, in the order of the broker's contract."""


class Services:
    """The broker, lifecycle and approvals, called over the endpoint's bus connection."""

    def __init__(self, bus: Bus, agent: str) -> None:
        self._agent = agent
        self._caller = ServiceCaller(bus)

    async def watch(
        self, on_broker_lost: Callable[[], None], on_lifecycle_back: Callable[[], None]
    ) -> None:
        """Watch for restarts of the broker and of lifecycle."""
        await self._caller.watch(on_broker_lost, on_lifecycle_back)

    async def send(self, to: str, body: str, options: dict[str, Any]) -> int:
        """Queue a message; return its id. A restart of the broker does not queue it twice."""
        id: int = await self._caller.broker("Send", "ssa{sv}", to, body, _once(options))
        return id

    async def receive(self, maximum: int, seconds: float) -> list[Message]:
        """Lease up to `maximum` messages; wait up to `seconds` for the first."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        async def receive() -> list[list[Any]]:
            left = max(0.0, until - loop.time())
            rows: list[list[Any]] = await self._caller.bus.call1(
                names.BROKER,
                names.BROKER_PATH,
                names.BROKER,
                "Receive",
                "uu",
                maximum,
                round(left * 1000),
                timeout=left + CALL_SECONDS,
            )
            return rows

        return [_message(row) for row in await self._caller.retry(receive, seconds + CALL_SECONDS)]

    async def acknowledge(self, ids: list[int]) -> None:
        """Acknowledge the messages."""
        await self._caller.broker("Acknowledge", "at", ids)

    async def release(self, ids: list[int]) -> None:
        """Queue the messages again."""
        await self._caller.broker("Release", "at", ids)

    async def ask(self, to: str, question: str, options: dict[str, Any]) -> int:
        """Ask a question; return its id. A restart of the broker does not ask it twice."""
        id: int = await self._caller.broker("Ask", "ssa{sv}", to, question, _once(options))
        return id

    async def answer(self, id: int, answer: list[str]) -> None:
        """Answer a question."""
        await self._caller.broker("Answer", "tas", id, answer)

    async def cancel_question(self, id: int) -> None:
        """Cancel a question."""
        await self._caller.broker("Cancel", "t", id)

    async def remind(self, due: int, body: str, options: dict[str, Any]) -> int:
        """Set a reminder; return its id. A restart of the broker does not set it twice."""
        id: int = await self._caller.broker("Remind", "xsa{sv}", due, body, _once(options))
        return id

    async def cancel_reminder(self, id: int) -> None:
        """Cancel a reminder."""
        await self._caller.broker("CancelReminder", "t", id)

    async def open_threads(self) -> list[dict[str, Any]]:
        """Return the open threads that the broker shows to this agent."""
        threads: list[dict[str, Any]] = await self._caller.broker("OpenThreads")
        return threads

    async def agents(self) -> list[dict[str, Any]]:
        """Return the properties of every agent's object."""
        objects: dict[str, dict[str, dict[str, Any]]] = await self._caller.call(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        return [
            interfaces[names.AGENT_INTERFACE]
            for _, interfaces in sorted(objects.items())
            if names.AGENT_INTERFACE in interfaces
        ]

    async def report(self, report: dict[str, Any]) -> None:
        """Send the report of this agent's harness to lifecycle."""
        await self._caller.agent(self._agent, "Report", "a{sv}", report)

    async def logs(self, agent: str, lines: int) -> list[str]:
        """Return the newest `lines` lines of the host's journal about `agent`."""
        try:
            logged: list[str] = await self._caller.agent(agent, "GetLogs", "u", lines)
        except NotFound:
            raise no_agent(agent) from None
        return logged

    async def run_job(self, agent: str, method: str) -> JobResult:
        """Call Start, Stop, Restart or Update of `agent`, and wait; see `jobs.run_job`."""
        return await run_job(self._caller, agent, method)

    async def request_spawn(self, name: str, reason: str, options: dict[str, Any]) -> int:
        """Ask the operator for a new agent; return the request's id."""
        id: int = await self._approvals("RequestSpawn", "ssa{sv}", name, reason, options)
        return id

    async def request_apply(
        self, agent: str, commit: str, description: str, options: dict[str, Any]
    ) -> int:
        """Ask the operator to deploy a commit; return the request's id."""
        id: int = await self._approvals(
            "RequestApply", "sssa{sv}", agent, commit, description, options
        )
        return id

    async def withdraw(self, id: int) -> None:
        """Withdraw a request."""
        await self._approvals("Withdraw", "t", id)

    async def _approvals(self, member: str, signature: str, *args: Any) -> Any:
        return await self._caller.call(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, signature, *args
        )


def _once(options: dict[str, Any]) -> dict[str, Any]:
    """Add a key to `options` by which the broker recognizes a repeated call."""
    return {**options, "dedupe_key": secrets.token_hex(16)}


def _message(row: list[Any]) -> Message:
    """Return a message of the broker without the fields that mean nothing to its recipient."""
    message = dict(zip(_FIELDS, row, strict=True))
    del message["state"], message["invocation"]
    if not message["earlier_life"]:
        del message["earlier_life"]
    return message
