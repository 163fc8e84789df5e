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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from services.quarantine import runner
from services.quarantine.bounds import DEFAULT, Bounds
from services.quarantine.object_copy import ObjectCopy
from services.quarantine.runner import Conditions, GitFailed
from services.tasks import run_in_thread
from wire.errors import InvalidArgument, LimitExceeded, NotFound, Timeout

SCRATCH: Final = Path("/var/tmp")  # noqa: S108 - on a disk, and private to the unit that uses it

Check = Callable[[Path, str], Awaitable[None]]
"""A check of a commit, in the git directory that has it; it raises the refusal."""

_BRANCH: Final = "refs/heads/wanted"
_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")
_WHOLE: Final = 40
"""The digits of the whole name of a commit."""


class Quarantine:
    """The way of commits from hostile repositories into ours, one at a time."""

    def __init__(self, scratch: Path = SCRATCH, bounds: Bounds = DEFAULT) -> None:
        """Make each quarantine in `scratch`; it is gone when its commit is fetched."""
        self._scratch = scratch
        self._bounds = bounds
        # Bounds the cost of hostile commits.
        self._lock = asyncio.Lock()

    async def fetch(
        self, source: Path, commit: str, repository: Path, check: Check | None = None
    ) -> str:
        """Fetch `commit` from the hostile work tree `source` into our `repository`.

        A commit that only our repository has is found, too. No reference of ours moves.

        Args:
            source: a work tree; its owner must not be able to change anything above it.
            commit: 7 to 40 hexadecimal digits.
            repository: the git directory of ours.
            check: called before anything of the commit is in our repository, unless it was there
                already; a commit that it refuses leaves nothing behind.

        Returns:
            All 40 digits of the commit.

        Raises:
            NotFound: there is no such commit, or no repository.
            InvalidArgument: the commit is ambiguous, damaged or incomplete, or the repository
                cannot be read.
            LimitExceeded: the commit or the repository is too large.
            Timeout: it takes too long.
        """
        if not _COMMIT.fullmatch(commit):
            raise InvalidArgument(
                f"{commit[:64]!r} is not a valid commit: use 7 to 40 digits, 0-9 and a-f."
            )
        ours = await self._candidates(repository, commit)
        if len(commit) == _WHOLE and ours:
            return await _checked(repository, ours[0], check)
        try:
            async with self._lock, self._in_time(f"The commit {commit}", source):
                return await self._take(source, commit, repository, check)
        except NotFound:
            if len(ours) == 1:
                return await _checked(repository, ours[0], check)
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
        async with self._lock, self._in_time("The history", source):
            return await self._take_tags(source, references, repository, prefix)

    @contextlib.asynccontextmanager
    async def _in_time(self, what: str, source: Path) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._bounds.seconds):
                yield
        except TimeoutError:
            raise Timeout(
                f"{what} could not be fetched from the repository {source.name} within "
                f"{self._bounds.seconds:g} s. Run `git gc --prune=now` in it, and try again."
            ) from None

    async def _git(self, repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run git within the bounds; see runner.git."""
        return await runner.git(
            repository,
            *arguments,
            stdin=stdin,
            seconds=self._bounds.step_seconds,
            conditions=Conditions(self._bounds.limits),
        )

    async def _take_tags(
        self, source: Path, references: Mapping[str, str], repository: Path, prefix: str
    ) -> list[str]:
        async with self._quarantined(source, repository) as home:
            asked = "".join(f"{value}^{{commit}}\n" for value in references.values())
            kinds = await self._git(home, "cat-file", "--batch-check", stdin=asked.encode())
            known = [line.split()[1:2] == [b"commit"] for line in kinds.splitlines()]
            names = [name for name, good in zip(references, known, strict=True) if good]
            if not names:
                return []
            orders = "".join(f"create refs/tags/{name} {references[name]}\n" for name in names)
            try:
                await self._git(
                    *(home, "-c", "core.fsync=none", "update-ref", "--stdin"), stdin=orders.encode()
                )
                await self._check_size(home, "--tags")
                await self._fetch(home, repository, f"+refs/tags/*:refs/tags/{prefix}*")
            except GitFailed as error:
                raise InvalidArgument(
                    f"The history cannot be fetched from the repository {source.name}: {error}. "
                    "Run `git fsck` in it to see whether an object is missing."
                ) from None
            return names

    async def _take(self, source: Path, commit: str, repository: Path, check: Check | None) -> str:
        async with self._quarantined(source, repository) as home:
            found = await self._found(home, commit, source)
            await self._git(home, "-c", "core.fsync=none", "update-ref", _BRANCH, found)
            try:
                await self._check_size(home, _BRANCH)
                await _checked(home, found, check)
                await self._fetch(home, repository, _BRANCH)
            except GitFailed as error:
                raise InvalidArgument(
                    f"The commit {found[:12]} cannot be fetched from the repository {source.name}: "
                    f"{error}. Run `git fsck` in it to see whether an object is missing."
                ) from None
            return found

    @contextlib.asynccontextmanager
    async def _quarantined(self, source: Path, repository: Path) -> AsyncIterator[Path]:
        """Copy the objects of `source` into a repository of our own, and check the packs."""
        async with _directory(self._scratch) as home:
            await self._git(home, "init", "--quiet", "--bare", "--template=")
            # Objects that we have already need not be there again.
            (home / "objects/info").mkdir(exist_ok=True)
            (home / "objects/info/alternates").write_text(f"{repository}/objects\n")
            with contextlib.suppress(FileNotFoundError):
                # The history of ours may end early; the parents of its first commits are nowhere.
                shutil.copyfile(repository / "shallow", home / "shallow")
            packs = await self._copied(source, home / "objects")
            try:
                for pack in packs:
                    await self._git(home, "-c", "core.fsync=none", "index-pack", str(pack))
            except GitFailed as error:
                raise InvalidArgument(
                    f"The pack {pack.name} in the repository {source.name} is not valid: {error}. "
                    "Run `git fsck` in it to find the damage."
                ) from None
            yield home

    async def _check_size(self, home: Path, wanted: str) -> None:
        """Check how much the commits at `wanted` add: they are kept for ever."""
        most, most_objects = self._bounds.new, self._bounds.new_objects
        new = (wanted, "--not", "--alternate-refs")
        size = int(await self._git(home, "rev-list", "--objects", "--disk-usage", *new))
        if size > most:
            raise LimitExceeded(
                f"The commit and its history add {size // 2**20} MiB; at most {most // 2**20} MiB "
                "may be added at a time. Keep large files elsewhere."
            )
        count = int(await self._git(home, "rev-list", "--objects", "--count", *new))
        if count > most_objects:
            raise LimitExceeded(
                f"The commit and its history add {count} objects; at most {most_objects} may be "
                "added at a time. Commit less."
            )

    async def _fetch(self, home: Path, repository: Path, references: str) -> None:
        await self._git(
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

    async def _candidates(self, repository: Path, commit: str) -> list[str]:
        """Return the commits in `repository` whose names begin with `commit`."""
        names = f"{commit}\n".encode()
        if len(commit) < _WHOLE:
            names = await self._git(repository, "rev-parse", f"--disambiguate={commit}")
        kinds = await self._git(repository, "cat-file", "--batch-check", stdin=names)
        lines = [line.split() for line in kinds.decode().splitlines()]
        return [name for name, kind, *_ in lines if kind == "commit"]

    async def _found(self, home: Path, commit: str, source: Path) -> str:
        found = await self._candidates(home, commit)
        if not found:
            raise NotFound(
                f"There is no commit {commit} in the repository {source.name}; `git rev-parse "
                "HEAD` prints the last one."
            )
        if len(found) > 1:
            raise InvalidArgument(
                f"{commit} is the beginning of {len(found)} commits in the repository "
                f"{source.name}; give all 40 digits."
            )
        return found[0]

    async def _copied(self, source: Path, target: Path) -> list[Path]:
        """Copy the objects in a thread; return the packs. When cancelled, it first ends the
        thread."""
        copying = ObjectCopy(source, target, self._bounds)
        task = asyncio.create_task(asyncio.to_thread(copying.run))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            copying.stop.set()
            await asyncio.wait((task,))
            raise


async def _checked(home: Path, commit: str, check: Check | None) -> str:
    if check is not None:
        await check(home, commit)
    return commit


def _new(scratch: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="hive-quarantine-", dir=scratch)).resolve()


@contextlib.asynccontextmanager
async def _directory(scratch: Path) -> AsyncIterator[Path]:
    home = _new(scratch)
    try:
        yield home
    finally:
        # In a thread: what somebody hostile has made may have very many files.
        await run_in_thread(shutil.rmtree, home, ignore_errors=True)
