"""Projects, and the changes that agents hand back, for the pages about them."""

import asyncio
from typing import Final

from services.dashboard.clients.services import ExplainingCaller
from services.dashboard.state.project_rows import (
    change_details,
    change_diff,
    change_row,
    project_details,
)
from services.dashboard.state.tables import Row
from wire import names
from wire.clients.changes import ChangesClient
from wire.clients.projects import ProjectsClient
from wire.errors import NotFound
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeDiffOptions,
    ChangeFilter,
    CommentOptions,
    LineComment,
    PublishMode,
)

MAX_LISTED: Final = 999
"""Changes in one answer."""


class Projects:
    """Projects and changes. Each method raises a HiveError whose text says what to do.

    Threads make the rows of long texts, so others are answered meanwhile.
    """

    def __init__(self, caller: ExplainingCaller) -> None:
        self._projects = ProjectsClient(caller)
        self._changes = ChangesClient(caller)

    async def project(self, name: str) -> Row:
        """Return the branches of a project, and the keys of its host."""
        return project_details(await self._projects.show(_checked(name)))

    async def fetch(self, name: str) -> None:
        """Begin to fetch a project."""
        await self._projects.fetch(_checked(name))

    async def cancel_fetch(self, name: str) -> None:
        """End the fetch of a project."""
        await self._projects.cancel_fetch(_checked(name))

    async def changes(self, wanted: ChangeFilter) -> list[Row]:
        """Return the changes that match, newest first."""
        return [change_row(one) for one in reversed(await self._changes.list_changes(wanted))]

    async def change(self, number: int) -> Row:
        """Return a change with its description, revisions and comments."""
        return await asyncio.to_thread(change_details, await self._changes.get_change(number))

    async def diff(self, number: int, options: ChangeDiffOptions) -> Row:
        """Return what a change changes, and whether it merges."""
        found = await self._changes.diff(number, options)
        return await asyncio.to_thread(change_diff, found)

    async def comment(self, number: int, text: str, options: CommentOptions) -> None:
        """Comment on a change; its agent gets a message."""
        await self._changes.comment(number, text, options)

    async def approve(self, number: int, commit: str, base: str, how: PublishMode | None) -> None:
        """Approve a change, or try again to publish an approved one.

        Args:
            number: the change.
            commit: the commit of the newest revision, as the page showed it.
            base: the commit of the branch, as the page showed it; empty: it had none.
            how: the way into the branch; None: the usual one.
        """
        await self._changes.approve(number, commit, base, ApproveChangeOptions(how))

    async def request_changes(
        self, number: int, commit: str, note: str, comments: list[LineComment]
    ) -> None:
        """Give a change that the page showed with `commit` back to its agent, in one message."""
        await self._changes.request_changes(number, commit, note, comments)

    async def deny(self, number: int, commit: str, note: str) -> None:
        """Deny a change that the page showed with `commit`; `note` tells the agent why."""
        await self._changes.deny(number, commit, note)


def _checked(name: str) -> str:
    if not names.PROJECT_NAME.fullmatch(name):
        # The name may be of a link of another site: no words of it become the dashboard's.
        raise NotFound("There is no project of this name.")
    return name
