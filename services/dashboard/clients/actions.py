"""The operator's actions, as calls of the services."""

from collections.abc import Iterable
from typing import Any

from wire import names
from wire.bus import Bus
from wire.errors import HiveError, NotFound
from wire.types import U64

from .feed import Feed
from .services import agent_path, call

VERBS = {"start": "Start", "kill": "Stop", "restart": "Restart"}
PEER = "org.freedesktop.DBus.Peer"


class OperatorActions:
    """The operator's actions. Each method raises a HiveError whose text says what to do.

    The services identify the dashboard by its unit and treat its calls as the operator's.
    """

    def __init__(self, bus: Bus, feeds: Iterable[Feed]) -> None:
        self._bus = bus
        self._feeds = {feed.service: feed for feed in feeds}

    async def send(self, to: str, body: str, in_reply_to: int | None) -> int:
        """Send a message as the operator; return its id."""
        options = {} if in_reply_to is None else {"in_reply_to": U64(in_reply_to)}
        [message] = await self._broker("Send", "ssa{sv}", to, body, options)
        return int(message)

    async def body(self, message: int) -> str:
        """Return the whole body of a message."""
        wanted = {"after": U64(message - 1), "before": U64(message + 1)}
        [found] = await self._broker("ListMessages", "a{sv}u", wanted, 1)
        if not found:
            raise NotFound(f"There is no message {message}: the broker may have deleted it.")
        return str(found[0][4])

    async def acknowledge(self, message: int) -> None:
        """Mark a message to the operator as read."""
        await self._broker("Acknowledge", "at", [message])

    async def requeue(self, message: int) -> None:
        """Queue a dead letter again."""
        await self._broker("Requeue", "at", [message])

    async def drop(self, message: int) -> None:
        """Give up a dead letter."""
        await self._broker("Drop", "at", [message])

    async def question(self, question: int) -> str:
        """Return the whole text of a question."""
        wanted = {"after": U64(question - 1), "before": U64(question + 1)}
        [found] = await self._broker("ListQuestions", "a{sv}u", wanted, 1)
        if not found:
            raise NotFound(f"There is no question {question}: the broker may have deleted it.")
        return str(found[0][3])

    async def answer(self, question: int, answer: list[str]) -> None:
        """Answer a question."""
        await self._broker("Answer", "tas", question, answer)

    async def change_agent(self, name: str, verb: str) -> None:
        """Begin to start, kill or restart an agent."""
        await call(
            self._bus,
            "lifecycle",
            VERBS[verb],
            "",
            path=agent_path(name),
            interface=names.AGENT_INTERFACE,
        )

    async def approve(self, approval: int, *, now: bool) -> None:
        """Approve a request; with `now`, do not wait until the agent's turn is over."""
        await call(self._bus, "approvals", "ApproveNow" if now else "Approve", "t", approval)

    async def diff(self, approval: int) -> str:
        """Return the change that a request asks for, as a unified diff."""
        [text] = await call(self._bus, "approvals", "Diff", "t", approval)
        return str(text)

    async def deny(self, approval: int, note: str) -> None:
        """Deny a request; `note` tells the manager why."""
        await call(self._bus, "approvals", "Deny", "ts", approval, note)

    async def refresh(self, service: str) -> None:
        """Start a service, if the bus can, and have its feed ask for everything again."""
        try:
            await call(self._bus, service, "Ping", "", interface=PEER)
        except HiveError:
            self._feeds[service].request_all()
            raise
        self._feeds[service].request_all()

    async def _broker(self, member: str, signature: str, *args: Any) -> list[Any]:
        return await call(self._bus, "broker", member, signature, *args)
