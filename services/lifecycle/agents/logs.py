"""The host's log lines about agents and about the services of the hive."""

from typing import Final

from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.host.log_reader import LogReader, Selection
from wire import names
from wire.errors import InvalidArgument, NotFound
from wire.records.lifecycle import LogEntry, LogFilter

MAX_LOG_LINES: Final = 200
"""The most lines that one call returns."""

SERVICES: Final = (
    *names.SERVICE_UNITS.values(),
    "hive-assistant.service",
    "hive-assistant.socket",
    "hive-canfilter.service",
    "hive-clock.service",
    "hive-dashboard.socket",
    "hive-fetch.service",
    "hive-forge.service",
    "hive-forge.socket",
    "hive-lifecycle.socket",
    "hive-notify.service",
    "hive-sweep.service",
    "hive-vacuum.service",
    names.TARGET,
)
"""The units of the hive that belong to no agent."""

SLICES: Final = ("hive-services.slice", "hive-agents.slice")
"""The slices of all processes of the hive."""


class Logs:
    """The host's journal, as far as it is about the hive."""

    def __init__(self, roster: Roster, backend: Backend, reader: LogReader) -> None:
        self._roster = roster
        self._backend = backend
        self._reader = reader

    async def newest(self, name: str, lines: int) -> list[str]:
        """Return the newest lines that the host has logged about an agent.

        Args:
            name: the agent.
            lines: the number of lines, 1 to MAX_LOG_LINES.

        Raises:
            NotFound: there is no such agent.
            InvalidArgument: the number is out of bounds.
            Unavailable: the journal cannot be read.
        """
        agent = self._roster.agent(name)
        _check(lines)
        return await self._backend.logs(agent.name, lines)

    async def read(self, wanted: LogFilter, lines: int) -> list[LogEntry]:
        """Return lines of the host's journal, oldest first.

        Args:
            wanted: the lines to return.
            lines: the most lines, 1 to MAX_LOG_LINES.

        Raises:
            NotFound: there is no such agent, or the unit is not one of the hive.
            InvalidArgument: the number is out of bounds, or a cursor is not one.
            LimitExceeded: too many calls wait.
            Unavailable: the journal cannot be read.
        """
        _check(lines)
        selection = self._selection(wanted)
        if wanted.after is None:
            return await self._reader.newest(selection, lines, wanted.before)
        return await self._reader.after(selection, lines, wanted.after or None, wait=wanted.wait)

    def _selection(self, wanted: LogFilter) -> Selection:
        of_agent: tuple[str, ...] = ()
        if wanted.agent:
            of_agent = self._backend.units_of(self._roster.agent(wanted.agent).name)
        found = Selection(priority=wanted.priority, text=wanted.text)
        if wanted.unit is None:
            if wanted.agent is None:
                return found._replace(units=SERVICES, slices=SLICES)
            return found._replace(units=of_agent)
        if wanted.unit not in (of_agent or SERVICES):
            raise NotFound(f"{wanted.unit[:64]!r} is not a unit of {wanted.agent or 'the hive'}.")
        return found._replace(units=[wanted.unit])


def _check(lines: int) -> None:
    if not 1 <= lines <= MAX_LOG_LINES:
        raise InvalidArgument(f"{lines} is not a valid number of lines. Use 1 to {MAX_LOG_LINES}.")
