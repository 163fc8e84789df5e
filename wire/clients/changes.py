"""Changes of projects as their callers see them; docs/dbus.md describes each member."""

from wire import names
from wire.clients.client import Client, remote
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeDetails,
    ChangeDiff,
    ChangeDiffOptions,
    ChangeFilter,
    CommentOptions,
    LineComment,
    ProjectChange,
    SubmitOptions,
)
from wire.types import Bytes, Str, UInt32, UInt64


class ChangesClient(
    Client, interface=names.CHANGES, path=names.PROJECTS_PATH, destination=names.PROJECTS
):
    """org.hyperhive.Changes1."""

    @remote("Submit")
    async def submit(
        self, project: Str, commit: Str, title: Str, description: Str, options: SubmitOptions
    ) -> UInt64:
        """Hand commits back for a branch of a project; return the id of the change."""

    @remote("Update")
    async def update(self, id: UInt64, commit: Str, note: Str) -> UInt32:
        """Submit another revision of a change; return its number."""

    @remote("Withdraw")
    async def withdraw(self, id: UInt64) -> None:
        """Take a change back."""

    @remote("List")
    async def list_changes(self, filter: ChangeFilter) -> list[ProjectChange]:
        """Return the changes that match, oldest first."""

    @remote("Get")
    async def get_change(self, id: UInt64) -> ChangeDetails:
        """Return a change with its revisions and comments."""

    @remote("Diff")
    async def diff(self, id: UInt64, options: ChangeDiffOptions) -> ChangeDiff:
        """Return what a change changes, and whether it merges."""

    @remote("Bundle")
    async def bundle(self, id: UInt64, revision: UInt32) -> Bytes:
        """Return the commits of a revision as a bundle of git; 0: the newest."""

    @remote("Comment")
    async def comment(self, id: UInt64, text: Str, options: CommentOptions) -> None:
        """Comment on a change."""

    @remote("Approve")
    async def approve(
        self, id: UInt64, commit: Str, base: Str, options: ApproveChangeOptions
    ) -> None:
        """Approve a change, if it and its branch are at these commits, and begin to publish it."""

    @remote("RequestChanges")
    async def request_changes(
        self, id: UInt64, commit: Str, note: Str, comments: list[LineComment]
    ) -> None:
        """Give a change back to its agent, if it is at `commit`."""

    @remote("Deny")
    async def deny(self, id: UInt64, commit: Str, note: Str) -> None:
        """Deny a change, if it is at `commit`."""
