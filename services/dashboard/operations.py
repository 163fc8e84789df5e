"""What the operator does from the page, as calls on the bus; failures come back as sentences."""

from typing import Any

from wire import names
from wire.bus import Bus
from wire.errors import HiveError, NotFound
from wire.types import U64

from .about import agent_path
from .calls import call
from .feed import Feed

VERBS = {"start": "Start", "kill": "Stop", "restart": "Restart"}
PEER = "org.freedesktop.DBus.Peer"


class BusActions:
    """See `web.Actions`. The services take the dashboard for the operator."""

    def __init__(self, bus: Bus, feeds: list[Feed]) -> None:
        self._bus = bus
        self._feeds = {feed.service: feed for feed in feeds}

    async def _call(
        self, service: str, member: str, signature: str, *args: Any,
        path: str | None = None, interface: str | None = None,
    ) -> list[Any]:  # fmt: skip
        return await call(
            self._bus, service, member, signature, *args, path=path, interface=interface
        )

    async def send(self, to: str, body: str, in_reply_to: int | None) -> int:
        """Send a message as the operator; the answer is its id."""
        options = {} if in_reply_to is None else {"in_reply_to": U64(in_reply_to)}
        [message] = await self._call("broker", "Send", "ssa{sv}", to, body, options)
        return int(message)

    async def body(self, message: int) -> str:
        """The whole body of a message."""
        wanted = {"after": U64(message - 1), "before": U64(message + 1)}
        [found] = await self._call("broker", "ListMessages", "a{sv}u", wanted, 1)
        if not found:
            raise NotFound("This message is gone.")
        return str(found[0][4])

    async def acknowledge(self, message: int) -> None:
        """Mark a message to the operator as read."""
        await self._call("broker", "Acknowledge", "at", [message])

    async def requeue(self, message: int) -> None:
        """Have a dead letter handed out again."""
        await self._call("broker", "Requeue", "at", [message])

    async def drop(self, message: int) -> None:
        """Give a dead letter up."""
        await self._call("broker", "Drop", "at", [message])

    async def question(self, question: int) -> str:
        """The whole text of a question."""
        wanted = {"after": U64(question - 1), "before": U64(question + 1)}
        [found] = await self._call("broker", "ListQuestions", "a{sv}u", wanted, 1)
        if not found:
            raise NotFound("This question is gone.")
        return str(found[0][3])

    async def answer(self, question: int, answer: list[str]) -> None:
        """Answer a question."""
        await self._call("broker", "Answer", "tas", question, answer)

    async def agent(self, name: str, verb: str) -> None:
        """Begin to start, kill or restart an agent."""
        path = agent_path(name)
        await self._call(
            "lifecycle", VERBS[verb], "", path=path, interface=names.AGENT_INTERFACE
        )  # fmt: skip

    async def approve(self, approval: int, *, now: bool) -> None:
        """Approve a request, also in the middle of the agent's turn if `now`."""
        await self._call("approvals", "ApproveNow" if now else "Approve", "t", approval)

    async def diff(self, approval: int) -> str:
        """What a request changes."""
        [text] = await self._call("approvals", "Diff", "t", approval)
        return str(text)

    async def deny(self, approval: int, note: str) -> None:
        """Deny a request, saying why."""
        await self._call("approvals", "Deny", "ts", approval, note)

    async def refresh(self, service: str) -> None:
        """Wake a service, if it can be, and ask it for everything again."""
        try:
            await self._call(service, "Ping", "", interface=PEER)
        except HiveError:
            self._feeds[service].want_all()
            raise
        self._feeds[service].want_all()
