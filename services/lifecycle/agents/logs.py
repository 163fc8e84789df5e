"""The host's log lines about one agent."""

from typing import Final

from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from wire.errors import InvalidArgument

MAX_LOG_LINES: Final = 200
"""The most lines that one call of GetLogs returns."""


class Logs:
    """The host's journal, agent by agent."""

    def __init__(self, roster: Roster, backend: Backend) -> None:
        self._roster = roster
        self._backend = backend

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
        if not 1 <= lines <= MAX_LOG_LINES:
            raise InvalidArgument(
                f"{lines} is not a valid number of lines. Use 1 to {MAX_LOG_LINES}."
            )
        return await self._backend.logs(agent.name, lines)
