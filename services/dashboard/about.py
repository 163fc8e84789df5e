"""What the page of one agent shows besides the tables, asked for when somebody looks at it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from wire import names
from wire.bus import Bus
from wire.errors import NotFound

from .calls import call
from .hive import message_row, question_row

MESSAGES: Final = 50
QUESTIONS: Final = 20
DEPLOYS: Final = 20
LOG_LINES: Final = 100

DEPLOY_FIELDS = ("at", "agent", "commit", "approval", "requested_by", "description")


class About:
    """See `web.Agents`. Every method raises the HiveError of its failure."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._parts: Mapping[str, Callable[[str], Awaitable[Any]]] = {
            "messages": self._messages,
            "questions": self._questions,
            "deploys": self._deploys,
            "usage": self._usage,
            "logs": self._logs,
        }

    async def part(self, name: str, part: str) -> Any:
        """One of the parts about the agent `name`, as JSON has it."""
        agent_path(name)
        return await self._parts[part](name)

    async def wake(self, name: str) -> bool:
        """Start `name` if it sleeps; says whether it did. One that is stopped stays so."""
        wanted = (names.AGENT_INTERFACE, "State")
        [state] = await self._agent(name, "Get", "ss", *wanted, interface=names.PROPERTIES)
        if state != "sleeping":
            return False
        await self._agent(name, "Start")
        return True

    async def _messages(self, name: str) -> list[dict[str, Any]]:
        """The newest that it sent or got."""
        wanted = {"agent": name}
        [found] = await call(
            self._bus, "broker", "ListMessages", "a{sv}u", wanted, MESSAGES
        )  # fmt: skip
        return [message_row(message) for message in found]

    async def _questions(self, name: str) -> list[dict[str, Any]]:
        """The newest that it asked or was asked."""
        wanted = {"agent": name}
        [found] = await call(
            self._bus, "broker", "ListQuestions", "a{sv}u", wanted, QUESTIONS
        )  # fmt: skip
        return [question_row(question) for question in found]

    async def _deploys(self, name: str) -> list[dict[str, Any]]:
        """Its deployed configurations, the newest first."""
        [found] = await call(self._bus, "approvals", "DeployLog", "su", name, DEPLOYS)
        return [dict(zip(DEPLOY_FIELDS, deploy, strict=True)) for deploy in found]

    async def _usage(self, name: str) -> dict[str, int]:
        """What it uses now; nothing when it does not run."""
        [usage] = await self._agent(name, "GetUsage")
        return dict(usage)

    async def _logs(self, name: str) -> list[str]:
        """Its last lines in the journal."""
        [lines] = await self._agent(name, "GetLogs", "u", LOG_LINES)
        return list(lines)

    async def _agent(
        self, name: str, member: str, signature: str = "", *args: Any,
        interface: str = names.AGENT_INTERFACE,
    ) -> list[Any]:  # fmt: skip
        path = agent_path(name)
        try:
            return await call(
                self._bus, "lifecycle", member, signature, *args, path=path, interface=interface
            )
        except NotFound as error:
            raise nobody(name) from error  # its own sentence is about an object path


def nobody(name: str) -> NotFound:
    """That there is no agent `name`."""
    return NotFound(f"There is no agent {name[:32]}.")


def agent_path(name: str) -> str:
    """The object of the agent `name`. Raises NotFound for what no agent may be called."""
    if not names.AGENT_NAME.fullmatch(name):
        raise nobody(name)
    return names.agent_path(name)
