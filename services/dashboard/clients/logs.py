"""Lines of the host's journal about the hive, and of the journals inside containers."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from services.dashboard.clients.harnesses import Harnesses
from services.dashboard.clients.pace import Pace
from services.dashboard.clients.services import ExplainingCaller, agent_path, no_such_agent
from services.dashboard.state.rows import log_row
from services.dashboard.state.tables import Row
from wire.clients.lifecycle import LifecycleClient
from wire.errors import NotFound
from wire.records.lifecycle import LogFilter

LINES: Final = 200
"""The lines of one answer."""


class HostLogs:
    """The host's journal. Each method raises a HiveError whose text says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._lifecycle = LifecycleClient(caller)

    async def page(self, wanted: LogFilter) -> list[Row]:
        """Return lines, oldest first."""
        try:
            return [log_row(entry) for entry in await self._lifecycle.read_logs(wanted, LINES)]
        except NotFound as error:
            if wanted.agent is None or wanted.unit is not None:
                raise
            raise no_such_agent(wanted.agent) from error

    async def follow(self, wanted: LogFilter) -> AsyncGenerator[list[Row], None]:
        """Yield the lines that come after `wanted.after`, some at a time; nothing when none came.

        Lifecycle answers each call with the next line, or after a while without one.
        """
        while True:
            found = await self._lifecycle.read_logs(wanted._replace(wait=True), LINES)
            yield [log_row(entry) for entry in found]
            if found:
                wanted = wanted._replace(after=found[-1].cursor)


class ContainerLogs:
    """The journal inside a container, as its harness tells it. Its methods are as of HostLogs."""

    def __init__(self, harnesses: Harnesses, require: Callable[[str], None]) -> None:
        """Ask `harnesses`; `require` raises NotFound for an agent that does not exist."""
        self._harnesses = harnesses
        self._require = require

    async def page(self, wanted: LogFilter) -> list[Row]:
        """Return lines, oldest first."""
        agent = wanted.agent or ""
        agent_path(agent)
        self._require(agent)
        return await self._harnesses.journal(
            agent, LINES, wanted.priority, wanted.text, wanted.before or ""
        )

    async def follow(self, wanted: LogFilter) -> AsyncGenerator[list[Row], None]:
        """Yield the lines that come after `wanted.after`."""
        agent, pace = wanted.agent or "", Pace()
        agent_path(agent)
        self._require(agent)
        lines = self._harnesses.follow_journal(agent, wanted.after or "", wanted.priority)
        async with aclosing(lines):
            async for line in lines:
                await pace.take()
                yield [line]
