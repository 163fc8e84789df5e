"""The commit that is published for a change. It follows from the approval alone: made again after a
crash, it is the same one.

No file is ever checked out: `git merge-tree` computes trees from trees.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from services.projects.changes import trees
from services.projects.changes.model import Approval, RevisionRow, Row
from services.quarantine.runner import Conditions, GitFailed, git, run
from wire import names
from wire.errors import Conflict
from wire.records.changes import PublishMode

HIVE: Final = b"hyperhive <hyperhive@hive.invalid>"
"""The committer."""
MAX_CONFLICTS: Final = 100

PRETENDING: Final = re.compile(
    rb"^(?=(?:Hive-[A-Za-z]+|Approved-by)[ \t]*:)", re.MULTILINE | re.IGNORECASE
)
"""The beginning of a line that pretends to be one of our trailers."""
_SECOND: Final = 1_000_000
_COMMIT: Final = 2**20
"""Bytes of a commit object."""


class Merged(NamedTuple):
    """A commit, or the files that do not merge."""

    commit: str
    conflicts: list[str]


class ConflictingError(Exception):
    """Two trees do not merge."""

    def __init__(self, tree: str, paths: list[str]) -> None:
        super().__init__()
        self.tree = tree
        """The merge with marks where they conflict."""
        self.paths = paths


async def merged_tree(
    home: Path, ours: str, theirs: str, conditions: Conditions | None = None
) -> str:
    """Return the tree of a merge.

    Raises:
        ConflictingError: they do not merge.
    """
    options = ("--write-tree", "--name-only", "--no-messages", "-z")
    ended = await run(home, "merge-tree", *options, ours, theirs, conditions=conditions)
    if ended.status not in (0, 1):
        raise GitFailed(ended.message or "git merge-tree failed")
    tree, *paths = ended.output.split(b"\0")
    # Only conflicts make it long.
    if ended.status or ended.cut:
        found = [trees.text(path) for path in dict.fromkeys(paths) if path]
        raise ConflictingError(tree.decode(), found[:MAX_CONFLICTS])
    return tree.decode().strip()


async def moved_tree(
    home: Path, before: str, onto: str, tree: str, conditions: Conditions | None = None
) -> str:
    """Return the tree `onto` with what differs between the trees `before` and `tree`.

    The three trees become commits of one small history, in which git finds the merge base.

    Raises:
        ConflictingError: that does not merge.
    """
    root = await _bare_commit(home, before, "", conditions)
    ours = await _bare_commit(home, onto, root, conditions)
    theirs = await _bare_commit(home, tree, root, conditions)
    return await merged_tree(home, ours, theirs, conditions)


async def tree_of(home: Path, commit: str) -> str:
    """Return the tree of a commit; without one, the empty tree."""
    return await _resolved(home, f"{commit}^{{tree}}") if commit else trees.EMPTY


async def _bare_commit(home: Path, tree: str, parent: str, conditions: Conditions | None) -> str:
    who = HIVE + b" 0 +0000"
    parents = [f"parent {parent}".encode()] if parent else []
    lines = [f"tree {tree}".encode(), *parents, b"author " + who, b"committer " + who, b"", b"x\n"]
    return await _written(home, b"\n".join(lines), conditions)


async def _written(home: Path, commit: bytes, conditions: Conditions | None = None) -> str:
    written = ("-t", "commit", "-w", "--stdin")
    made = await git(home, "hash-object", *written, stdin=commit, conditions=conditions)
    return made.decode().strip()


async def _resolved(home: Path, name: str) -> str:
    found = await git(home, "rev-parse", "--verify", "--end-of-options", name)
    return found.decode().strip()


async def merge(home: Path, row: Row, revision: RevisionRow, approval: Approval) -> Merged:
    """Return the commit that is published for a revision.

    Args:
        home: the repository of the project.
        row: the change.
        revision: the approved revision.
        approval: the approval.

    """
    made = _Made(home, row, revision, approval)
    try:
        match approval.how:
            case PublishMode.MERGE:
                return Merged(await made.merge(), [])
            case PublishMode.SQUASH:
                return Merged(await made.squash(), [])
            case PublishMode.REBASE | PublishMode.BRANCH:
                return Merged(await made.rebase(), [])
    except ConflictingError as error:
        return Merged("", error.paths)


async def check(home: Path, row: Row, revision: RevisionRow, how: PublishMode) -> None:
    """Check that a revision can be published in a certain way.

    Raises:
        Conflict: it has merges, and is to be rebased.
    """
    if how not in (PublishMode.REBASE, PublishMode.BRANCH):
        return
    range_ = [revision.commit, *([f"^{revision.base}"] if revision.base else [])]
    counted = await git(home, "rev-list", "--count", "--min-parents=2", *range_)
    if int(counted):
        raise Conflict(
            f"{names.change(row.id)} has merges of its own, and cannot be rebased. Approve it with "
            "`--how merge` or `--how squash`."
        )


class _Made:
    """The commits of one approval."""

    def __init__(self, home: Path, row: Row, revision: RevisionRow, approval: Approval) -> None:
        self._home = home
        self._row = row
        self._revision = revision
        self._base = approval.base
        self._date = f"{approval.at // _SECOND} +0000".encode()
        self._trailers = (
            f"Hive-Change: {names.change(row.id)}/{revision.number}\n"
            f"Hive-Agent: {row.agent}\n"
            f"Hive-Commit: {revision.commit}\n"
            f"Approved-by: {approval.approver}\n"
        ).encode()

    async def merge(self) -> str:
        tree = await self._tree()
        parents = [one for one in (self._base, self._revision.commit) if one]
        title = f"Merge {names.change(self._row.id)}: {self._row.title}"
        return await self._commit(tree, parents, self._text(title))

    async def squash(self) -> str:
        parents = [self._base] if self._base else []
        return await self._commit(await self._tree(), parents, self._text(self._row.title))

    async def rebase(self) -> str:
        commit, base = self._revision.commit, self._base
        listed = await git(
            self._home,
            "rev-list",
            "--reverse",
            "--topo-order",
            "--parents",
            commit,
            *([f"^{base}"] if base else []),
        )
        top = base
        for one, *parents in (line.split() for line in listed.decode().splitlines()):
            top = await self._picked(one, parents[0] if parents else "", top)
        return top

    async def _picked(self, commit: str, parent: str, onto: str) -> str:
        """Return the commit again, on top of another one."""
        content = await git(self._home, "cat-file", "commit", commit, limit=_COMMIT)
        head, _, message = content.partition(b"\n\n")
        tree = await tree_of(self._home, commit)
        if parent != onto:
            before, there = [await tree_of(self._home, one) for one in (parent, onto)]
            tree = await moved_tree(self._home, before, there, tree)
        kept = [line for line in head.split(b"\n") if line.startswith((b"author ", b"encoding "))]
        author = next(line for line in kept if line.startswith(b"author "))
        encoding = [line for line in kept if line.startswith(b"encoding ")]
        text = PRETENDING.sub(b"> ", message).rstrip(b"\n") + b"\n\n" + self._trailers
        return await self._put(tree, [onto] if onto else [], author, encoding, text)

    async def _tree(self) -> str:
        if not self._base:
            return await tree_of(self._home, self._revision.commit)
        return await merged_tree(self._home, self._base, self._revision.commit)

    def _text(self, title: str) -> bytes:
        said = _plain(f"{title}\n\n{self._row.description}".strip())
        return PRETENDING.sub(b"> ", said.encode()) + b"\n\n" + self._trailers

    async def _commit(self, tree: str, parents: Sequence[str], text: bytes) -> str:
        agent = self._row.agent
        author = f"author {agent} <{agent}@hive.invalid> ".encode() + self._date
        return await self._put(tree, parents, author, [], text)

    async def _put(
        self,
        tree: str,
        parents: Sequence[str],
        author: bytes,
        encoding: Sequence[bytes],
        text: bytes,
    ) -> str:
        lines = [
            f"tree {tree}".encode(),
            *(f"parent {parent}".encode() for parent in parents),
            author,
            b"committer " + HIVE + b" " + self._date,
            *encoding,
            b"",
            text,
        ]
        return await _written(self._home, b"\n".join(lines))


def _plain(text: str) -> str:
    """Return `text` without characters that control the terminal, or hide what follows."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)
