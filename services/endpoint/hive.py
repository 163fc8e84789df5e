"""The hive's services, as the tools see them."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final

from services.endpoint.calls import CALL_SECONDS, Calls
from services.endpoint.inbox import Message
from services.endpoint.jobs import JobResult, no_agent, run_job
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
"""As the contract of the broker has them."""


class Hive:
    """Calls the broker, lifecycle and approvals over the endpoint's one bus connection."""

    def __init__(self, bus: Bus, agent: str) -> None:
        self._agent = agent
        self._calls = Calls(bus)

    async def watch(
        self, on_broker_lost: Callable[[], None], on_lifecycle_back: Callable[[], None]
    ) -> None:
        """Learn of the restarts of the broker and of lifecycle."""
        await self._calls.watch(on_broker_lost, on_lifecycle_back)

    async def send(self, to: str, body: str, options: dict[str, Any]) -> int:
        """Queue a message; answers its id. Tried again after a restart, and never queued twice."""
        id: int = await self._calls.broker("Send", "ssa{sv}", to, body, _once(options))
        return id

    async def receive(self, maximum: int, seconds: float) -> list[Message]:
        """Lease up to `maximum` messages; waits up to `seconds` for the first."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        async def receive() -> list[list[Any]]:
            left = max(0.0, until - loop.time())
            rows: list[list[Any]] = await self._calls.bus.call1(
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

        return [_message(row) for row in await self._calls.persist(receive, seconds + CALL_SECONDS)]

    async def acknowledge(self, ids: list[int]) -> None:
        """The messages are done with."""
        await self._calls.broker("Acknowledge", "at", ids)

    async def release(self, ids: list[int]) -> None:
        """The messages are queued again."""
        await self._calls.broker("Release", "at", ids)

    async def ask(self, to: str, question: str, options: dict[str, Any]) -> int:
        """Ask; answers the question's id. Tried again after a restart, and never asked twice."""
        id: int = await self._calls.broker("Ask", "ssa{sv}", to, question, _once(options))
        return id

    async def answer(self, id: int, answer: list[str]) -> None:
        """Answer a question."""
        await self._calls.broker("Answer", "tas", id, answer)

    async def cancel_question(self, id: int) -> None:
        """Take a question back."""
        await self._calls.broker("Cancel", "t", id)

    async def remind(self, due: int, body: str, options: dict[str, Any]) -> int:
        """Set a reminder; answers its id. Tried again after a restart, and never set twice."""
        id: int = await self._calls.broker("Remind", "xsa{sv}", due, body, _once(options))
        return id

    async def cancel_reminder(self, id: int) -> None:
        """Take a reminder back."""
        await self._calls.broker("CancelReminder", "t", id)

    async def open_threads(self) -> list[dict[str, Any]]:
        """What is open, as the broker tells it to this agent."""
        threads: list[dict[str, Any]] = await self._calls.broker("OpenThreads")
        return threads

    async def agents(self) -> list[dict[str, Any]]:
        """The properties of every agent's object."""
        objects: dict[str, dict[str, dict[str, Any]]] = await self._calls.call(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        return [
            interfaces[names.AGENT_INTERFACE]
            for _, interfaces in sorted(objects.items())
            if names.AGENT_INTERFACE in interfaces
        ]

    async def report(self, report: dict[str, Any]) -> None:
        """Tell lifecycle what this agent's harness is doing."""
        await self._calls.agent(self._agent, "Report", "a{sv}", report)

    async def logs(self, agent: str, lines: int) -> list[str]:
        """The newest `lines` lines of the host's journal about `agent`."""
        try:
            logged: list[str] = await self._calls.agent(agent, "GetLogs", "u", lines)
        except NotFound:
            raise no_agent(agent) from None
        return logged

    async def run_job(self, agent: str, member: str) -> JobResult:
        """Start, Stop, Restart or Update `agent`, and wait for its end; see `jobs.run_job`."""
        return await run_job(self._calls, agent, member)

    async def request_spawn(self, name: str, reason: str, options: dict[str, Any]) -> int:
        """Ask the operator for a new agent; answers the number of the request."""
        id: int = await self._approvals("RequestSpawn", "ssa{sv}", name, reason, options)
        return id

    async def request_apply(
        self, agent: str, commit: str, description: str, options: dict[str, Any]
    ) -> int:
        """Ask the operator to deploy a commit; answers the number of the request."""
        id: int = await self._approvals(
            "RequestApply", "sssa{sv}", agent, commit, description, options
        )
        return id

    async def withdraw(self, id: int) -> None:
        """Take a request back."""
        await self._approvals("Withdraw", "t", id)

    async def _approvals(self, member: str, signature: str, *args: Any) -> Any:
        return await self._calls.call(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, signature, *args
        )


def _once(options: dict[str, Any]) -> dict[str, Any]:
    """`options` with a key by which the broker knows a repetition."""
    return {**options, "dedupe_key": secrets.token_hex(16)}


def _message(row: list[Any]) -> Message:
    """A message of the broker without what says nothing to who receives it."""
    message = dict(zip(_FIELDS, row, strict=True))
    del message["state"], message["invocation"]
    if not message["earlier_life"]:
        del message["earlier_life"]
    return message
