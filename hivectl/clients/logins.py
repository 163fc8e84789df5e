"""The logins of agents."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from hivectl.clients.agents import Agents
from wire.clients.logins import begin_login, enter_login_code
from wire.errors import HiveError
from wire.text.urls import Url


@dataclass
class Login:
    """A login that an agent's harness has begun.

    Attributes:
        page: the login page of Anthropic that shows the code.
    """

    page: Url
    _agents: Agents
    _name: str
    _number: int
    _is_over: bool = False

    async def enter(self, code: str) -> str:
        """Enter the code that the page shows; return a sentence of the harness.

        Raises:
            Conflict: the login has failed, or is over.
            HiveError: the harness does not answer.
        """
        said = await self._agents.call(
            self._name, lambda agent: enter_login_code(agent, self._number, code)
        )
        self._is_over = True
        return said

    async def end(self) -> None:
        """End the login, unless it is over: or it would be the login of the next attempt, too."""
        if not self._is_over:
            with suppress(HiveError):
                await self._agents.call(self._name, lambda agent: agent.cancel_login(self._number))


@asynccontextmanager
async def login(agents: Agents, name: str) -> AsyncIterator[Login]:
    """Begin a login of an agent, or go on with the one that runs; end it with the context.

    Raises:
        NotFound: there is no such agent.
        Conflict: the login names no page, or not one of Anthropic.
        HiveError: the harness does not answer.
    """
    number, page = await agents.call(name, begin_login)
    begun = Login(page, agents, name, number)
    try:
        yield begun
    finally:
        await begun.end()
