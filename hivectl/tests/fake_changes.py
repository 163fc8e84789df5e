# ruff: noqa: N802 -- D-Bus members are PascalCase
"""A fake of the changes of projects."""

from typing import Any

from hivectl.tests.fake_agent import COMMIT, SINCE
from wire import names
from wire.errors import NotFound
from wire.interface import Interface, method, signal
from wire.principal import OPERATOR
from wire.records import decode, decode_all
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeCommit,
    ChangeDetails,
    ChangedFile,
    ChangeDiff,
    ChangeDiffOptions,
    ChangeFilter,
    ChangeState,
    Comment,
    CommentOptions,
    LineComment,
    ProjectChange,
    Revision,
)
from wire.types import Bytes, Dict, Str, UInt32, UInt64

BASE = "b" * 40
MADE = "d" * 40
DIFF = "diff --git a/page b/page\n--- a/page\n+++ b/page\n@@ -1 +1 @@\n-old\n+new\n"


def change(number: int, **values: Any) -> ProjectChange:
    """Return an open change of alice."""
    return ProjectChange(
        id=number,
        project="website",
        agent="alice",
        branch="main",
        title="A better page",
        description="It says more.",
        state=ChangeState.OPEN,
        note="",
        revision=2,
        commit=COMMIT,
        submitted=SINCE,
        changed=SINCE,
        published="",
    )._replace(**values)


class FakeChanges(Interface, name=names.CHANGES):
    """An approval is carried out before it is answered, with `outcome`."""

    def __init__(self) -> None:
        self.changes: dict[int, ProjectChange] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.outcome: dict[str, Any] = {"state": ChangeState.MERGED, "published": MADE}
        self.findings: list[str] = []
        self.bundle = b""
        self.lost = False
        """Whether no diff can be made."""
        self.comments: list[Comment] = []
        self.diff = ChangeDiff(
            *(2, COMMIT, BASE, BASE, DIFF, False),
            [ChangedFile("page", "page", "M", "100644", "100755", False, 1, 1, 4, 4)],
            [ChangeCommit(COMMIT, "alice", SINCE, "a change")],
            [],
            0,
        )

    def add(self, number: int, **values: Any) -> None:
        self.changes[number] = change(number, **values)

    def _get(self, number: int) -> ProjectChange:
        if number not in self.changes:
            raise NotFound(f"There is no change c{number}.")
        return self.changes[number]

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> list[ProjectChange]:
        self.calls.append(("list", decode(ChangeFilter, filter)))
        return list(self.changes.values())

    @method(allow=OPERATOR)
    async def Get(self, id: UInt64) -> ChangeDetails:
        revisions = [
            Revision(1, "a" * 40, BASE, SINCE, "", []),
            Revision(2, COMMIT, BASE, SINCE, "Shorter.", self.findings),
        ]
        return ChangeDetails(self._get(id), revisions, self.comments)

    @method(allow=OPERATOR)
    async def Diff(self, id: UInt64, options: Dict) -> ChangeDiff:
        self._get(id)
        self.calls.append(("diff", id, decode(ChangeDiffOptions, options)))
        if self.lost:
            raise NotFound("The repository has no commits of it.")
        return self.diff

    @method(allow=OPERATOR)
    async def Bundle(self, id: UInt64, revision: UInt32) -> Bytes:
        self.calls.append(("bundle", id, revision))
        return self.bundle

    @method(allow=OPERATOR)
    async def Comment(self, id: UInt64, text: Str, options: Dict) -> None:
        self.calls.append(("comment", id, text, decode(CommentOptions, options)))

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, base: Str, options: Dict) -> None:
        self.calls.append(("approve", id, commit, base, decode(ApproveChangeOptions, options)))
        later = self.changes[id].changed + 1
        self.changes[id] = self.changes[id]._replace(changed=later, **self.outcome)
        self.ChangeChanged(id, "website", "alice", self.changes[id].state)

    @method(allow=OPERATOR)
    async def RequestChanges(
        self, id: UInt64, commit: Str, note: Str, comments: list[LineComment]
    ) -> None:
        found = decode_all(LineComment, comments)
        self.calls.append(("request", id, commit, note, found))

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        self.calls.append(("deny", id, commit, note))

    @signal()
    def ChangeChanged(self, id: UInt64, project: Str, agent: Str, state: Str) -> None: ...
