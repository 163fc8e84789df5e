"""The webhooks of forges, passed on to the service of projects, which has their secrets."""

from typing import Final

from wire.caller import Caller
from wire.clients.projects import ProjectsClient
from wire.errors import Stopping, Timeout, Unavailable
from wire.records.projects import HookHeaders

_AWAY: Final = "The service of projects does not answer. Send the webhook again later."


class Webhooks:
    """The way of webhooks to the service of projects."""

    def __init__(self, caller: Caller) -> None:
        self._projects = ProjectsClient(caller)

    async def receive(self, project: str, headers: HookHeaders, body: bytes) -> None:
        """Have a project fetched, if its forge has signed this.

        Raises:
            AccessDenied: it is not signed, or there is no such webhook.
            Unavailable: the service does not answer.
            HiveError: the project cannot be fetched.
        """
        try:
            await self._projects.receive_hook(project, headers, body)
        except (Unavailable, Stopping, Timeout):
            raise Unavailable(_AWAY) from None
