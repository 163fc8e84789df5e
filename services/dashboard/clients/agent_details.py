"""The details of one agent, which its page asks for when somebody opens it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from wire import names
from wire.bus import Bus
from wire.errors import NotFound

from ..state.rows import message_row, question_row
from ..state.tables import Row
from .services import agent_path, call, no_such_agent

MESSAGES: Final = 50
QUESTIONS: Final = 20
DEPLOYS: Final = 20
LOG_LINES: Final = 100

DEPLOY_FIELDS = ("at", "agent", "commit", "approval", "requested_by", "description")


class AgentDetails:
    """The details of agents. Each method raises a HiveError whose text says what to do."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._parts: Mapping[str, Callable[[str], Awaitable[object]]] = {
            "messages": self._messages,
            "questions": self._questions,
            "deploys": self._deploys,
            "usage": self._usage,
            "logs": self._logs,
        }

    async def part(self, name: str, part: str) -> object:
        """Return one part of an agent's details, ready to be encoded as JSON.

        Args:
            name: the agent.
            part: messages, questions, deploys, usage or logs.
        """
        agent_path(name)
        return await self._parts[part](name)

    async def wake(self, name: str) -> bool:
        """Start a sleeping agent and return True; leave any other agent as it is."""
        wanted = (names.AGENT_INTERFACE, "State")
        [state] = await self._agent(name, "Get", "ss", *wanted, interface=names.PROPERTIES)
        if state != "sleeping":
            return False
        await self._agent(name, "Start")
        return True

    async def _messages(self, name: str) -> list[Row]:
        """Return the newest messages from or to the agent."""
        [found] = await call(
            self._bus, "broker", "ListMessages", "a{sv}u", {"agent": name}, MESSAGES
        )
        return [message_row(message) for message in found]

    async def _questions(self, name: str) -> list[Row]:
        """Return the newest questions from or to the agent."""
        [found] = await call(
            self._bus, "broker", "ListQuestions", "a{sv}u", {"agent": name}, QUESTIONS
        )
        return [question_row(question) for question in found]

    async def _deploys(self, name: str) -> list[Row]:
        """Return the agent's deployed configurations, newest first."""
        [found] = await call(self._bus, "approvals", "DeployLog", "su", name, DEPLOYS)
        return [dict(zip(DEPLOY_FIELDS, deploy, strict=True)) for deploy in found]

    async def _usage(self, name: str) -> Row:
        """Return the agent's current use of resources; it is empty when the agent is down."""
        [usage] = await self._agent(name, "GetUsage")
        return dict(usage)

    async def _logs(self, name: str) -> list[str]:
        """Return the agent's last lines in the host's journal."""
        [lines] = await self._agent(name, "GetLogs", "u", LOG_LINES)
        return list(lines)

    async def _agent(
        self,
        name: str,
        member: str,
        signature: str = "",
        *args: Any,
        interface: str = names.AGENT_INTERFACE,
    ) -> list[Any]:
        path = agent_path(name)
        try:
            return await call(
                self._bus, "lifecycle", member, signature, *args, path=path, interface=interface
            )
        except NotFound as error:
            raise no_such_agent(name) from error  # lifecycle's sentence is about an object path
