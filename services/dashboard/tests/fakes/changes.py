"""A fake of the changes of projects: each has two revisions of a diff of two files."""

# ruff: noqa: N802 - D-Bus members are PascalCase

from typing import Any

from services.dashboard.tests.fakes.now import NOW
from services.dashboard.tests.fakes.projects import TIP
from wire import names
from wire.errors import Conflict, NotFound
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
from wire.types import Dict, Str, UInt64

ALIVE = (
    ChangeState.OPEN,
    ChangeState.CHANGES_REQUESTED,
    ChangeState.APPROVED,
    ChangeState.CONFLICT,
)
DIFF = (
    "diff --git a/app.py b/app.py\nindex 1..2 100644\n--- a/app.py\n+++ b/app.py\n"
    "@@ -1,3 +1,4 @@ def main():\n one\n-two\n+zwei\n+drei\n three\n"
    "diff --git a/run.sh b/start.sh\nsimilarity index 100%\nold mode 100644\nnew mode 100755\n"
    "rename from run.sh\nrename to start.sh\n"
)
FILES = [
    ChangedFile("app.py", "app.py", "M", "100644", "100644", False, 2, 1, 14, 19),
    ChangedFile("start.sh", "run.sh", "R", "100644", "100755", False, 0, 0, 30, 30),
]
SINCE = "diff --git a/app.py b/app.py\n--- a/app.py\n+++ b/app.py\n@@ -2 +2,2 @@\n zwei\n+drei\n"


def commit_of(number: int, revision: int) -> str:
    return f"{number:038x}{revision:02x}"


class FakeChanges(Interface, name=names.CHANGES):
    def __init__(self) -> None:
        self.changes: dict[int, ProjectChange] = {}
        self.revisions: dict[int, list[Revision]] = {}
        self.comments: list[Comment] = []
        self.base = TIP
        self.diff = DIFF
        self.since = SINCE
        self.files = list(FILES)
        self.commits: list[ChangeCommit] = []
        self.conflicts: list[str] = []
        self.more_files = 0
        self.cut = False
        self.calls: list[tuple[Any, ...]] = []
        self.asked: list[ChangeFilter | ChangeDiffOptions] = []

    def submit(self, title: str, *, revisions: int = 2, **values: Any) -> int:
        """Add a change, and signal it; return its number."""
        number = len(self.changes) + 1
        self.revisions[number] = [
            Revision(one, commit_of(number, one), TIP, NOW + one, "", [])
            for one in range(1, revisions + 1)
        ]
        self.changes[number] = ProjectChange(
            id=number,
            project="website",
            agent="alice",
            branch="main",
            title=title,
            description="It says **more**.",
            state=ChangeState.OPEN,
            note="",
            revision=revisions,
            commit=commit_of(number, revisions),
            submitted=NOW,
            changed=NOW,
            published="",
        )
        self.become(number, **values)
        return number

    def become(self, number: int, **values: Any) -> None:
        """Change a change, and signal that."""
        change = self.changes[number] = self.changes[number]._replace(**values)
        self.ChangeChanged(number, change.project, change.agent, change.state)

    def update(self, number: int, note: str = "", findings: tuple[str, ...] = ()) -> None:
        """Submit another revision of a change."""
        revision = self.changes[number].revision + 1
        commit = commit_of(number, revision)
        self.revisions[number].append(Revision(revision, commit, TIP, NOW, note, list(findings)))
        self.become(number, revision=revision, commit=commit, state=ChangeState.OPEN)

    def _get(self, number: int) -> ProjectChange:
        if number not in self.changes:
            raise NotFound(f"There is no change c{number}.")
        return self.changes[number]

    def _check(self, number: int, commit: str) -> ProjectChange:
        change = self._get(number)
        if change.commit != commit:
            raise Conflict(f"c{number} is at revision {change.revision}: look at it again.")
        if change.state not in ALIVE:
            raise Conflict(f"c{number} is {change.state}, which is final.")
        return change

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> list[ProjectChange]:
        wanted = decode(ChangeFilter, filter)
        self.asked.append(wanted)
        states = (wanted.state,) if wanted.state else tuple(ChangeState) if wanted.closed else ALIVE
        found = [
            one
            for one in self.changes.values()
            if one.state in states
            and wanted.project in (None, one.project)
            and wanted.agent in (None, one.agent)
        ]
        return found[-wanted.limit :]

    @method(allow=OPERATOR)
    async def Get(self, id: UInt64) -> ChangeDetails:
        return ChangeDetails(self._get(id), self.revisions[id], self.comments)

    @method(allow=OPERATOR)
    async def Diff(self, id: UInt64, options: Dict) -> ChangeDiff:
        wanted = decode(ChangeDiffOptions, options)
        change = self._get(id)
        self.asked.append(wanted)
        number = wanted.revision or change.revision
        if number > change.revision:
            raise NotFound(f"c{id} has no revision {number}.")
        return ChangeDiff(
            revision=number,
            commit=self.revisions[id][number - 1].commit,
            base=self.base,
            merge_base=TIP,
            diff=self.since if wanted.since else self.diff,
            cut=self.cut and not wanted.path,
            files=self.files,
            commits=self.commits
            or [ChangeCommit(commit_of(id, number), "alice", NOW, change.title)],
            conflicts=self.conflicts,
            more_files=self.more_files,
        )

    @method(allow=OPERATOR)
    async def Comment(self, id: UInt64, text: Str, options: Dict) -> None:
        change, wanted = self._get(id), decode(CommentOptions, options)
        self.calls.append(("comment", id, text, wanted))
        revision = wanted.revision or change.revision
        self.comments.append(Comment("operator", NOW, revision, wanted.path, wanted.line, text))
        self.become(id)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, base: Str, options: Dict) -> None:
        self.calls.append(("approve", id, commit, base, decode(ApproveChangeOptions, options).how))
        self._check(id, commit)
        if base != self.base:
            raise Conflict(f"main of website is {self.base[:12]} now: look at the change again.")
        self.become(id, state=ChangeState.APPROVED, note="")

    @method(allow=OPERATOR)
    async def RequestChanges(
        self, id: UInt64, commit: Str, note: Str, comments: list[LineComment]
    ) -> None:
        found = decode_all(LineComment, comments)
        self.calls.append(("request", id, commit, note, found))
        self._check(id, commit)
        self.become(id, state=ChangeState.CHANGES_REQUESTED)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        self.calls.append(("deny", id, commit, note))
        self._check(id, commit)
        self.become(id, state=ChangeState.DENIED, note=note)

    @signal()
    def ChangeChanged(self, id: UInt64, project: Str, agent: Str, state: Str) -> None: ...
