"""The logins of agents, whose containers name the page: only Anthropic's pages reach a caller."""

from contextlib import suppress

from wire.clients.lifecycle import LONG_SECONDS, AgentClient
from wire.errors import Conflict, HiveError
from wire.text.login_pages import UnknownPageError, known_page, without_addresses
from wire.text.urls import Url


async def begin_login(agent: AgentClient) -> tuple[int, Url]:
    """Begin a login of an agent, or go on with the one that runs.

    Returns:
        The number of the login, and the address of a login page of Anthropic.

    Raises:
        Conflict: the login names no page, or another address: then it is ended.
        HiveError: the harness does not answer.
    """
    try:
        page = await agent.within(LONG_SECONDS).begin_login()
    except Conflict as error:
        raise Conflict(without_addresses(str(error))) from error
    try:
        return page.login, known_page(page.address)
    except UnknownPageError as error:
        with suppress(HiveError):  # or it would be the login of the next attempt, too
            await agent.cancel_login(page.login)
        raise Conflict(str(error)) from error


async def enter_login_code(agent: AgentClient, login: int, code: str) -> str:
    """Enter the code of a login page; return a sentence of the harness.

    Raises:
        Conflict: the login has failed, or is over.
        HiveError: the harness does not answer.
    """
    try:
        said = await agent.within(LONG_SECONDS).enter_login_code(login, code)
    except Conflict as error:
        raise Conflict(without_addresses(str(error))) from error
    return without_addresses(said)
