"""Lines of the host's journal about the hive: pages of them, and the lines that come."""

from collections.abc import AsyncGenerator
from typing import Final

from services.dashboard.clients.services import ExplainingCaller, no_such_agent
from services.dashboard.state.rows import log_row
from services.dashboard.state.tables import Json
from wire.clients.lifecycle import LifecycleClient
from wire.errors import NotFound
from wire.records.lifecycle import LogFilter

LINES: Final = 200
"""The lines of one answer."""


class HiveLogs:
    """The host's journal. Each method raises a HiveError whose text says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._lifecycle = LifecycleClient(caller)

    async def page(self, wanted: LogFilter) -> list[dict[str, Json]]:
        """Return lines, oldest first."""
        try:
            return [log_row(entry) for entry in await self._lifecycle.read_logs(wanted, LINES)]
        except NotFound as error:
            if wanted.agent is None or wanted.unit is not None:
                raise
            raise no_such_agent(wanted.agent) from error

    async def follow(self, wanted: LogFilter) -> AsyncGenerator[list[dict[str, Json]], None]:
        """Yield the lines that come after `wanted.after`, some at a time; nothing when none came.

        Lifecycle answers each call with the next line, or after a while without one.
        """
        while True:
            found = await self._lifecycle.read_logs(wanted._replace(wait=True), LINES)
            yield [log_row(entry) for entry in found]
            if found:
                wanted = wanted._replace(after=found[-1].cursor)
