"""Taking a commit out of a repository that somebody hostile writes to.

No git ever runs in that repository: its configuration, hooks, references and links to other
repositories are never read. Only its objects are copied, file by file, into a repository of our own
in a private place. From there the one commit, with everything it needs, is fetched into the
repository that we keep, and checked on the way.
"""

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final

from services.quarantine.object_copy import ObjectCopy
from services.quarantine.runner import GitFailed, git
from wire.errors import InvalidArgument, LimitExceeded, NotFound, Timeout

MAX_NEW: Final = 20 * 2**20
"""Bytes that one commit may add with its history, compressed."""
MAX_NEW_OBJECTS: Final = 20_000
"""Objects that one commit may add: git keeps some bytes in memory for each, and has a limit."""
SECONDS: Final = 60.0
"""Seconds that all of it may take."""

SCRATCH: Final = Path("/var/tmp")  # noqa: S108 - on a disk, and private to the unit that uses it

_BRANCH: Final = "refs/heads/wanted"
_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")


class Quarantine:
    """The way of commits from hostile repositories into ours, one at a time."""

    def __init__(self, scratch: Path = SCRATCH) -> None:
        """Make each quarantine in `scratch`; it is gone when its commit is fetched."""
        self._scratch = scratch
        # Bounds the cost of hostile commits.
        self._lock = asyncio.Lock()

    async def fetch(self, source: Path, commit: str, repository: Path) -> str:
        """Fetch `commit` from the hostile work tree `source` into our `repository`.

        A commit that only our repository has is found, too. No reference of ours moves.

        Args:
            source: a work tree; its owner must not be able to change anything above it.
            commit: 7 to 40 hexadecimal digits.
            repository: the git directory of ours.

        Returns:
            All 40 digits of the commit.

        Raises:
            NotFound: there is no such commit, or no repository.
            InvalidArgument: the commit is ambiguous, damaged or incomplete, or the repository
                cannot be read.
            LimitExceeded: the commit or the repository is too large.
            Timeout: it takes longer than SECONDS.
        """
        if not _COMMIT.fullmatch(commit):
            raise InvalidArgument(
                f"{commit[:64]!r} is not a valid commit: use 7 to 40 digits, 0-9 and a-f."
            )
        ours = await _candidates(repository, commit)
        if len(commit) == 40 and ours:
            return ours[0]
        try:
            async with self._lock:
                return await _take_in_time(source, commit, repository, self._scratch)
        except NotFound:
            if len(ours) == 1:
                return ours[0]
            raise

    async def fetch_tags(
        self, source: Path, references: Mapping[str, str], repository: Path, prefix: str
    ) -> list[str]:
        """Fetch many objects with their histories from the hostile work tree `source`, as tags.

        Args:
            source: a work tree; its owner must not be able to change anything above it.
            references: the object of each tag. Those that do not lead to a commit are left out.
            repository: the git directory of ours. A tag that it has already is replaced.
            prefix: the beginning of the names of the tags there, such as `imported/`.

        Returns:
            The names of the tags, without the prefix.

        Raises:
            NotFound, InvalidArgument, LimitExceeded, Timeout: see `fetch`.
        """
        async with self._lock, _in_time("The history", source):
            return await _take_tags(source, references, repository, self._scratch, prefix)


async def _take_in_time(source: Path, commit: str, repository: Path, scratch: Path) -> str:
    async with _in_time(f"The commit {commit}", source):
        return await _take(source, commit, repository, scratch)


@contextlib.asynccontextmanager
async def _in_time(what: str, source: Path) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError:
        raise Timeout(
            f"{what} could not be fetched from the repository {source.name} within {SECONDS:g} s. "
            "Run `git gc --prune=now` in it, and try again."
        ) from None


async def _take_tags(
    source: Path, references: Mapping[str, str], repository: Path, scratch: Path, prefix: str
) -> list[str]:
    async with _quarantined(source, repository, scratch) as home:
        asked = "".join(f"{value}^{{commit}}\n" for value in references.values())
        kinds = await git(home, "cat-file", "--batch-check", stdin=asked.encode())
        known = [line.split()[1:2] == [b"commit"] for line in kinds.splitlines()]
        names = [name for name, good in zip(references, known, strict=True) if good]
        if not names:
            return []
        orders = "".join(f"create refs/tags/{name} {references[name]}\n" for name in names)
        try:
            await git(
                *(home, "-c", "core.fsync=none", "update-ref", "--stdin"), stdin=orders.encode()
            )
            await _check_size(home, "--tags")
            await _fetch(home, repository, f"+refs/tags/*:refs/tags/{prefix}*")
        except GitFailed as error:
            raise InvalidArgument(
                f"The history cannot be fetched from the repository {source.name}: {error}. Run "
                "`git fsck` in it to see whether an object is missing."
            ) from None
        return names


async def _take(source: Path, commit: str, repository: Path, scratch: Path) -> str:
    async with _quarantined(source, repository, scratch) as home:
        found = await _found(home, commit, source.name)
        await git(home, "-c", "core.fsync=none", "update-ref", _BRANCH, found)
        try:
            await _check_size(home, _BRANCH)
            await _fetch(home, repository, _BRANCH)
        except GitFailed as error:
            raise InvalidArgument(
                f"The commit {found[:12]} cannot be fetched from the repository {source.name}: "
                f"{error}. Run `git fsck` in it to see whether an object is missing."
            ) from None
        return found


@contextlib.asynccontextmanager
async def _quarantined(source: Path, repository: Path, scratch: Path) -> AsyncIterator[Path]:
    """Copy the objects of `source` into a repository of our own, and check the packs."""
    with _directory(scratch) as home:
        await git(home, "init", "--quiet", "--bare", "--template=")
        # Objects that we have already need not be there again.
        (home / "objects/info").mkdir(exist_ok=True)
        (home / "objects/info/alternates").write_text(f"{repository}/objects\n")
        packs = await _copied(source, home / "objects")
        try:
            for pack in packs:
                await git(home, "-c", "core.fsync=none", "index-pack", str(pack))
        except GitFailed as error:
            raise InvalidArgument(
                f"The pack {pack.name} in the repository {source.name} is not valid: {error}. Run "
                "`git fsck` in it to find the damage."
            ) from None
        yield home


async def _check_size(home: Path, wanted: str) -> None:
    """Check how much the commits at `wanted` add: they are kept for ever."""
    new = (wanted, "--not", "--alternate-refs")
    size = int(await git(home, "rev-list", "--objects", "--disk-usage", *new))
    if size > MAX_NEW:
        raise LimitExceeded(
            f"The commit and its history add {size // 2**20} MiB; at most {MAX_NEW // 2**20} MiB "
            "may be added at a time. Keep large files elsewhere."
        )
    count = int(await git(home, "rev-list", "--objects", "--count", *new))
    if count > MAX_NEW_OBJECTS:
        raise LimitExceeded(
            f"The commit and its history add {count} objects; at most {MAX_NEW_OBJECTS} may be "
            "added at a time. Commit less."
        )


async def _fetch(home: Path, repository: Path, references: str) -> None:
    await git(
        repository,
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--no-recurse-submodules",
        str(home),
        references,
    )


async def _candidates(repository: Path, commit: str) -> list[str]:
    """Return the commits in `repository` whose names begin with `commit`."""
    names = await git(repository, "rev-parse", f"--disambiguate={commit}")
    kinds = await git(repository, "cat-file", "--batch-check", stdin=names)
    return [line.split()[0] for line in kinds.decode().splitlines() if line.split()[1] == "commit"]


async def _found(home: Path, commit: str, name: str) -> str:
    found = await _candidates(home, commit)
    if not found:
        raise NotFound(
            f"There is no commit {commit} in the repository {name}; `git rev-parse HEAD` prints "
            "the last one."
        )
    if len(found) > 1:
        raise InvalidArgument(
            f"{commit} is the beginning of {len(found)} commits in {name}; give all 40 digits."
        )
    return found[0]


@contextlib.contextmanager
def _directory(scratch: Path) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="hive-quarantine-", dir=scratch)).resolve()
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _copied(source: Path, target: Path) -> list[Path]:
    """Copy the objects in a thread; return the packs. When cancelled, it first ends the thread."""
    copying = ObjectCopy(source, target)
    task = asyncio.create_task(asyncio.to_thread(copying.run))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        copying.stop.set()
        await asyncio.wait((task,))
        raise
