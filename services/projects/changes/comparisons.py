"""The changes as the operator reads them: lines, files, commits, and whether they merge."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

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
_LISTING: Final = 2**22


class Comparisons:
    """The differences that changes make. git computes two at a time."""

    def __init__(
        self, store: Store, repositories: Repositories, *, scratch: Path = SCRATCH
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._scratch = scratch
        # Bounds the cost of hostile commits.
        self._slots = asyncio.Semaphore(2)

    async def diff(self, row: Row, options: ChangeDiffOptions) -> ChangeDiff:
        """Return what a change changes.

        Args:
            row: the change.
            options: see ChangeDiffOptions.

        Raises:
            NotFound: there is no such revision or commit, or the repository has lost it.
        """
        revision = self._store.revision(row.id, options.revision)
        home = self._repositories.home(row.project)
        if not self._repositories.exists(row.project):
            raise _lost(row)
        async with self._slots:
            tip = await self._repositories.commit(row.project, row.branch) or ""
            base = await self._base(home, row, revision, tip)
            commits = await _commits(home, revision.commit, base)
            lines, cut = await self._lines(home, row, revision, base, commits, options)
            return ChangeDiff(
                revision=revision.number,
                commit=revision.commit,
                base=tip,
                merge_base=base,
                diff=lines,
                cut=cut,
                files=await _files(home, base or trees.EMPTY, revision.commit),
                commits=commits,
                conflicts=await self.conflicts(row, tip, revision.commit),
            )

    async def conflicts(self, row: Row, tip: str, commit: str) -> list[str]:
        """Return the files in which a commit does not merge into its branch.

        Args:
            row: the change; one whose state is final has no conflicts.
            tip: the commit of the branch; empty: it has none.
            commit: the commit.
        """
        if not tip or row.state not in ALIVE:
            return []
        home = self._repositories.home(row.project)
        # A merge that is only tried must leave no objects behind.
        with tempfile.TemporaryDirectory(prefix="hive-merge-", dir=self._scratch) as objects:
            elsewhere = {
                "GIT_OBJECT_DIRECTORY": objects,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{home}/objects",
            }
            conditions = Conditions(environment=elsewhere)
            try:
                await merges.merged_tree(home, tip, commit, conditions)
            except merges.ConflictingError as error:
                return error.paths
        return []

    @staticmethod
    async def _base(home: Path, row: Row, revision: RevisionRow, tip: str) -> str:
        """Return the commit with which the diff begins."""
        if not tip:
            return revision.base
        ended = await run(home, "merge-base", tip, revision.commit)
        if ended.status not in (0, 1):
            raise _lost(row)
        found = ended.output.decode().strip()
        # A change that is merged differs from its branch in nothing.
        return revision.base if found == revision.commit else found

    async def _lines(
        self,
        home: Path,
        row: Row,
        revision: RevisionRow,
        base: str,
        commits: Sequence[ChangeCommit],
        options: ChangeDiffOptions,
    ) -> tuple[str, bool]:
        context = 3 if options.context is None else options.context
        shown = [*_DIFF, f"--unified={context}"]
        if options.functions:
            shown.append("--function-context")
        chosen = [f":(top,literal){options.path}"] if options.path else []
        if options.since is not None:
            old = self._store.revision(row.id, options.since)
            if old.base != revision.base and old.base and revision.base:
                return await _range_diff(home, old, revision)
            return await _cut(home, "diff", *shown, old.commit, revision.commit, "--", *chosen)
        if options.commit is not None:
            known = [one.commit for one in commits if one.commit.startswith(options.commit)]
            if not options.commit or len(known) != 1:
                raise NotFound(
                    f"{names.change(row.id)} has no commit {options.commit[:40]!r}; give one of "
                    "those that are listed."
                )
            whole = ("--format=", "--first-parent", "-m", "--root")
            return await _cut(home, "log", "-1", "-p", *whole, *shown, known[0], "--", *chosen)
        between = (base or trees.EMPTY, revision.commit)
        return await _cut(home, "diff", *shown, *between, "--", *chosen)


def _lost(row: Row) -> NotFound:
    return NotFound(
        f"The commits of {names.change(row.id)} are not in the repository of {row.project}: it was "
        "removed, or lost and fetched again."
    )


async def _range_diff(home: Path, old: RevisionRow, new: RevisionRow) -> tuple[str, bool]:
    """Return how the commits of two revisions differ that branch off from different commits."""
    return await _cut(
        home,
        "range-diff",
        "--no-color",
        "--no-notes",
        f"{old.base}..{old.commit}",
        f"{new.base}..{new.commit}",
    )


async def _cut(home: Path, *command: str) -> tuple[str, bool]:
    """Return the output of a git, and whether it was too long."""
    ended = await run(home, *command, limit=MAX_DIFF)
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


async def _files(home: Path, old: str, new: str) -> list[ChangedFile]:
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
    )
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
    raw = raw[:MAX_FILES]
    sizes = await _sizes(home, {name for about, _, _ in raw for name in about[2:4]})
    return [_file(about, first, second, counts, sizes) for about, first, second in raw]


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


async def _sizes(home: Path, objects: set[str]) -> dict[str, int]:
    asked = "".join(f"{name}\n" for name in sorted(objects))
    listed = await git(home, "cat-file", "--batch-check", stdin=asked.encode(), limit=_LISTING)
    return dict(_sized(listed.decode().splitlines()))


def _sized(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        name, kind, *size = line.split(" ")
        if kind == "blob":
            yield name, int(size[0])
