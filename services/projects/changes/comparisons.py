"""The changes as the operator reads them: lines, files, commits, and whether they merge."""

import asyncio
import contextlib
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from services.projects.changes import merges, trees
from services.projects.changes.model import ALIVE, RevisionRow, Row
from services.projects.changes.store import Store
from services.projects.repositories import Repositories
from services.quarantine.quarantine import SCRATCH
from services.quarantine.runner import Conditions, GitFailed, git, run
from wire import names
from wire.errors import NotFound
from wire.records.changes import ChangeCommit, ChangedFile, ChangeDiff, ChangeDiffOptions

MAX_DIFF: Final = 2**20
"""Bytes of a diff; a longer one is cut."""
MAX_FILES: Final = 1000
"""Files that are listed of a change."""

_DIFF: Final = (
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
    "--ignore-submodules=none",
    "--submodule=short",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--find-renames",
)
_COMMIT: Final = "%H%x00%an%x00%at%x00%s"
_MICROSECONDS: Final = 1_000_000
_LAST: Final = 253_402_300_799
"""The end of the year 9999, in seconds: a commit may claim any date."""
_SUBJECT: Final = 200
_LISTING: Final = 2**24


class _Review(NamedTuple):
    """The two sides of the review of a revision."""

    home: Path
    conditions: Conditions
    row: Row
    revision: RevisionRow
    start: str
    """The commit with which the diff begins; empty: everything is added."""
    end: str
    """The commit or the tree with which it ends."""


class Comparisons:
    """The differences that changes make.

    git computes two at a time for the operator, and one for the agents, who never wait in front of
    the operator; of each agent one waits.
    """

    def __init__(
        self, store: Store, repositories: Repositories, *, scratch: Path = SCRATCH
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._scratch = scratch
        # Bounds the cost of hostile commits.
        self._slots = asyncio.Semaphore(2)
        self._of_agents = asyncio.Semaphore(1)
        self._own: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def diff(
        self, row: Row, options: ChangeDiffOptions, who: str = names.OPERATOR
    ) -> ChangeDiff:
        """Return what a change changes.

        Args:
            row: the change.
            options: see ChangeDiffOptions.
            who: an agent, or the operator.

        Raises:
            NotFound: there is no such revision or commit, or the repository has lost it.
        """
        revision = self._store.revision(row.id, options.revision)
        home = self._repositories.home(row.project)
        if not self._repositories.exists(row.project):
            raise _lost(row)
        async with self._turn(who), self._tried(home) as conditions:
            tip = await self._repositories.commit(row.project, row.branch) or ""
            merged, conflicts = await _merged(home, row, tip, revision.commit, conditions)
            bases = await self._bases(home, row, revision, tip)
            # One of several bases alone would hide what the commit takes back of the others.
            start, end = (tip, merged) if len(bases) > 1 else (bases[0], revision.commit)
            commits = await _commits(home, revision.commit, start)
            review = _Review(home, conditions, row, revision, start, end)
            lines, cut = await self._lines(review, commits, options)
            files, more_files = await _files(home, start or trees.EMPTY, end, conditions)
            return ChangeDiff(
                revision=revision.number,
                commit=revision.commit,
                base=tip,
                merge_base=start,
                diff=lines,
                cut=cut,
                files=files,
                commits=commits,
                conflicts=conflicts,
                more_files=more_files,
            )

    @contextlib.asynccontextmanager
    async def _turn(self, who: str) -> AsyncIterator[None]:
        if who == names.OPERATOR:
            async with self._slots:
                yield
            return
        async with self._own[who], self._of_agents:
            yield

    @contextlib.asynccontextmanager
    async def _tried(self, home: Path) -> AsyncIterator[Conditions]:
        """Give a git conditions under which the objects that it makes are gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="hive-merge-", dir=self._scratch) as objects:
            elsewhere = {
                "GIT_OBJECT_DIRECTORY": objects,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{home}/objects",
            }
            yield Conditions(environment=elsewhere)

    @staticmethod
    async def _bases(home: Path, row: Row, revision: RevisionRow, tip: str) -> list[str]:
        """Return the commits from which the branch and the revision went apart; at least one."""
        if not tip:
            return [revision.base]
        ended = await run(home, "merge-base", "--all", tip, revision.commit)
        if ended.status not in (0, 1):
            raise _lost(row)
        found = ended.output.decode().split()
        # A change that is merged differs from its branch in nothing.
        return [revision.base] if found == [revision.commit] else found or [""]

    async def _lines(
        self, review: _Review, commits: Sequence[ChangeCommit], options: ChangeDiffOptions
    ) -> tuple[str, bool]:
        home, revision, conditions = review.home, review.revision, review.conditions
        context = 3 if options.context is None else options.context
        shown = [*_DIFF, f"--unified={context}"]
        if options.functions:
            shown.append("--function-context")
        chosen = ["--", *([f":(top,literal){options.path}"] if options.path else [])]
        if options.since is not None:
            old = self._store.revision(review.row.id, options.since)
            start = await _carried(home, old, revision, conditions)
            between = (start, revision.commit)
            return await _cut(home, "diff", *shown, *between, *chosen, conditions=conditions)
        if options.commit is not None:
            known = [one.commit for one in commits if one.commit.startswith(options.commit)]
            if not options.commit or len(known) != 1:
                raise NotFound(
                    f"{names.change(review.row.id)} has no commit {options.commit[:40]!r}; give "
                    "one of those that are listed."
                )
            whole = ("--format=", "--first-parent", "-m", "--root")
            return await _cut(home, "log", "-1", "-p", *whole, *shown, known[0], *chosen)
        between = (review.start or trees.EMPTY, review.end)
        return await _cut(home, "diff", *shown, *between, *chosen, conditions=conditions)


def _lost(row: Row) -> NotFound:
    return NotFound(
        f"The commits of {names.change(row.id)} are not in the repository of {row.project}: it was "
        "removed, or lost and fetched again."
    )


async def _merged(
    home: Path, row: Row, tip: str, commit: str, conditions: Conditions
) -> tuple[str, list[str]]:
    """Return the commit, or its merge with its branch, and the files that do not merge.

    A branch without a commit, and a change whose state is final, need no merge.
    """
    if not tip or row.state not in ALIVE:
        return commit, []
    try:
        return await merges.merged_tree(home, tip, commit, conditions), []
    except merges.ConflictingError as error:
        return error.tree, error.paths


async def _carried(home: Path, old: RevisionRow, new: RevisionRow, conditions: Conditions) -> str:
    """Return the tree of an earlier revision on the base of a later one.

    All that differs between that and the later revision is its agent's doing, also within merges.
    """
    tree = await merges.tree_of(home, old.commit)
    if old.base == new.base:
        return tree
    before, onto = [await merges.tree_of(home, one) for one in (old.base, new.base)]
    try:
        return await merges.moved_tree(home, before, onto, tree, conditions)
    except merges.ConflictingError as error:
        return error.tree


async def _cut(home: Path, *command: str, conditions: Conditions | None = None) -> tuple[str, bool]:
    """Return the output of a git, and whether it was too long."""
    ended = await run(home, *command, limit=MAX_DIFF, conditions=conditions)
    if ended.status:
        raise GitFailed(ended.message or "git cannot compare the commits")
    output = ended.output
    if ended.cut:
        output = output[: output.rfind(b"\n") + 1]
    # git takes a file for text that has a NUL late; the bus does not.
    return output.decode(errors="backslashreplace").replace("\0", "\\x00"), ended.cut


async def _commits(home: Path, commit: str, base: str) -> list[ChangeCommit]:
    options = ("--reverse", "--no-show-signature", "--no-color", f"--format={_COMMIT}")
    listed = await git(
        home, "log", *options, commit, *([f"^{base}"] if base else []), "--", limit=_LISTING
    )
    found = []
    for line in listed.decode(errors="backslashreplace").split("\n")[:-1]:
        name, author, at, subject = line.split("\0", 3)
        seconds = min(max(int(at or 0), 0), _LAST)
        found.append(ChangeCommit(name, author, seconds * _MICROSECONDS, subject[:_SUBJECT]))
    return found


async def _files(
    home: Path, old: str, new: str, conditions: Conditions
) -> tuple[list[ChangedFile], int]:
    """Return the first MAX_FILES that differ, and the number of the others."""
    listed = await run(
        home,
        "diff-tree",
        "-r",
        "--raw",
        "--numstat",
        "--find-renames",
        "--no-abbrev",
        "-z",
        old,
        new,
        limit=_LISTING,
        conditions=conditions,
    )
    if listed.status:
        raise GitFailed(listed.message or "git cannot list the files")
    raw: list[tuple[list[str], bytes, bytes]] = []
    counts: dict[bytes, tuple[str, str]] = {}
    fields = iter(listed.output.split(b"\0")[:-1])
    for field in fields:
        if field.startswith(b":"):
            about = field[1:].decode().split(" ")
            first = next(fields, b"")
            second = next(fields, b"") if about[4][0] in "RC" else first
            raw.append((about, first, second))
        elif field.count(b"\t") == 2:
            added, removed, path = field.split(b"\t", 2)
            if not path:
                next(fields, b"")
                path = next(fields, b"")
            counts[path] = (added.decode(), removed.decode())
    raw, others = raw[:MAX_FILES], len(raw[MAX_FILES:])
    named = {name for about, _, _ in raw for name in about[2:4]}
    sizes = await _sizes(home, named, conditions)
    return [_file(about, first, second, counts, sizes) for about, first, second in raw], others


def _file(
    about: Sequence[str],
    first: bytes,
    second: bytes,
    counts: dict[bytes, tuple[str, str]],
    sizes: dict[str, int],
) -> ChangedFile:
    old_mode, new_mode, old, new, status = about
    added, removed = counts.get(second, ("0", "0"))
    return ChangedFile(
        path=trees.text(second),
        old_path=trees.text(first),
        status=status[0],
        old_mode=old_mode,
        new_mode=new_mode,
        binary=added == "-",
        added=0 if added == "-" else int(added),
        removed=0 if removed == "-" else int(removed),
        old_size=sizes.get(old, 0),
        new_size=sizes.get(new, 0),
    )


async def _sizes(home: Path, objects: set[str], conditions: Conditions) -> dict[str, int]:
    asked = "".join(f"{name}\n" for name in sorted(objects)).encode()
    listed = await git(
        home, "cat-file", "--batch-check", stdin=asked, limit=_LISTING, conditions=conditions
    )
    return dict(_sized(listed.decode().splitlines()))


def _sized(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        name, kind, *size = line.split(" ")
        if kind == "blob":
            yield name, int(size[0])
