"""Taking a commit out of a repository that somebody hostile writes to.

No git ever runs in that repository: its configuration, hooks, references and links to other
repositories are never read. Its objects, and nothing else, are copied file by file into a
repository of our own in a private place. What lies there single is checked here; what is packed
is indexed by git anew, which names each object by its content. From there the one commit, with what
belongs to it, is fetched into the repository we keep, and checked on the way.

The owner may change anything at any moment. So each file is looked at once, through a descriptor
that no link leads to, and what was copied counts.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.approvals.gitrun import GitFailed, git
from wire.errors import InvalidArgument, LimitExceeded, NotFound, Stopping, Timeout

MAX_FILES: Final = 20_000
"""Entries in the directories of objects."""
MAX_PACKS: Final = 50
MAX_BYTES: Final = 64 * 2**20
"""Of all files together."""
MAX_INFLATED: Final = 256 * 2**20
"""Of all single objects together, unpacked."""
MAX_OBJECT: Final = 10 * 2**20
"""Of one single object, unpacked; what is larger is left out."""

MAX_NEW: Final = 20 * 2**20
"""Bytes that one commit may bring with its history, compressed."""
MAX_NEW_OBJECTS: Final = 20_000
"""Objects that it may bring: for each, git has some bytes of all memory that it may have."""
SECONDS: Final = 60.0
"""For all of it."""

_ATTEMPTS: Final = 5
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# O_NONBLOCK also where a pipe or a lease on the file would keep us waiting.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER: Final = re.compile(r"[0-9a-f]{2}")
_LOOSE: Final = re.compile(r"[0-9a-f]{38}")
_PACK: Final = re.compile(r"pack-[0-9a-f]{40}\.pack")
_HEADER: Final = re.compile(rb"(?:commit|tree|blob|tag) (0|[1-9][0-9]{0,9})\0")
_BRANCH: Final = "refs/heads/wanted"


class _VanishedError(Exception):
    """A pack that was listed is gone: the owner's git is packing anew."""


async def take(source: Path, commit: str, repository: Path, *, scratch: Path) -> str:
    """Fetch `commit` from the hostile work tree `source` into our `repository`.

    `commit` is 7 to 40 hexadecimal digits; returns all 40. Everything above `source` must be out of
    the owner's reach. The quarantine is made in `scratch` and gone afterwards.

    Raises NotFound when there is no such commit, or no repository; InvalidArgument when it is
    ambiguous, damaged or incomplete, or the repository cannot be read; LimitExceeded when it is
    too large; Timeout.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _take(source, commit, repository, scratch)
    except TimeoutError:
        raise Timeout(
            f"Taking {commit} from the repository {source.name} did not end within {SECONDS:g} s; "
            "`git gc --prune=now` there makes it smaller."
        ) from None


async def _take(source: Path, commit: str, repository: Path, scratch: Path) -> str:
    with _directory(scratch) as home:
        await git(home, "init", "--quiet", "--bare", "--template=")
        # What we have already need not be there again.
        (home / "objects/info").mkdir(exist_ok=True)
        (home / "objects/info/alternates").write_text(f"{repository}/objects\n")
        packs = await _copied(source, home / "objects")
        try:
            for pack in packs:
                await git(home, "-c", "core.fsync=none", "index-pack", str(pack))
        except GitFailed as error:
            raise InvalidArgument(
                f"The pack {pack.name} in the repository {source.name} cannot be taken: {error}. "
                "`git fsck` there shows what is wrong with it."
            ) from None
        found = await _found(home, commit, source.name)
        await git(home, "-c", "core.fsync=none", "update-ref", _BRANCH, found)
        try:
            await _check_size(home)
            await _fetch(home, repository)
        except GitFailed as error:
            raise InvalidArgument(
                f"The commit {found[:12]} cannot be taken from the repository {source.name}: "
                f"{error}. `git fsck` there shows whether something is missing."
            ) from None
        return found


async def _check_size(home: Path) -> None:
    """What came once is kept for ever, so it is not much at a time."""
    new = (_BRANCH, "--not", "--alternate-refs")
    size = int(await git(home, "rev-list", "--objects", "--disk-usage", *new))
    if size > MAX_NEW:
        raise LimitExceeded(
            f"The commit and its history bring {size // 2**20} MiB that were not submitted "
            f"before; {MAX_NEW // 2**20} MiB are allowed. Keep large files elsewhere."
        )
    count = int(await git(home, "rev-list", "--objects", "--count", *new))
    if count > MAX_NEW_OBJECTS:
        raise LimitExceeded(
            f"The commit and its history bring {count} objects that were not submitted before; "
            f"{MAX_NEW_OBJECTS} are allowed. Commit less at a time."
        )


async def _fetch(home: Path, repository: Path) -> None:
    await git(
        repository,
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--no-recurse-submodules",
        str(home),
        _BRANCH,
    )


async def candidates(repository: Path, commit: str) -> list[str]:
    """The commits in `repository` whose names begin with `commit`."""
    names = await git(repository, "rev-parse", f"--disambiguate={commit}")
    kinds = await git(repository, "cat-file", "--batch-check", stdin=names)
    return [line.split()[0] for line in kinds.decode().splitlines() if line.split()[1] == "commit"]


async def _found(home: Path, commit: str, name: str) -> str:
    found = await candidates(home, commit)
    if not found:
        raise NotFound(
            f"There is no commit {commit} in the repository {name}; `git rev-parse HEAD` there "
            "prints what was committed last."
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
    """Copy the objects in a thread; returns the packs. Cancelled, it first ends the thread."""
    copying = _Copying(source, target)
    task = asyncio.create_task(asyncio.to_thread(copying.run))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        copying.stop.set()
        await asyncio.wait((task,))
        raise


class _Copying:
    """One pass over the objects of a hostile repository, within the bounds above."""

    def __init__(self, source: Path, target: Path) -> None:
        self.stop = threading.Event()
        self._source = source
        self._target = target
        self._files = 0
        self._bytes = 0
        self._inflated = 0

    def run(self) -> list[Path]:
        """Copy; returns the packs. Raises NotFound, InvalidArgument, LimitExceeded."""
        for _ in range(_ATTEMPTS):
            self._files = self._bytes = self._inflated = 0
            try:
                with self._objects() as objects:
                    self._copy_loose(objects)
                    # After them: git packs first, and removes what was packed then.
                    return self._copy_packs(objects)
            except _VanishedError:
                continue
            except OSError as error:
                raise self._unreadable(error) from None
        raise InvalidArgument(
            f"The repository {self._source.name} is being packed anew; wait until git has done so."
        )

    @contextlib.contextmanager
    def _objects(self) -> Iterator[int]:
        """The directory of objects; nothing on the way to it may be a link."""
        with contextlib.ExitStack() as stack:
            at = os.open(self._source.parent, _DIRECTORY)
            stack.callback(os.close, at)
            for name in (self._source.name, ".git", "objects"):
                at = os.open(name, _DIRECTORY, dir_fd=at)
                stack.callback(os.close, at)
            yield at

    def _unreadable(self, error: OSError) -> Exception:
        name = self._source.name
        if error.errno == errno.ENOENT:
            return NotFound(f"There is no git repository {name} among the proposed ones.")
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return InvalidArgument(
                f"The repository {name} is not a plain one: {name}, its .git and what is in it "
                "have to be directories, not links or files."
            )
        return InvalidArgument(
            f"The repository {name} cannot be read: {error.strerror}. Everybody must be able to "
            "(chmod -R a+rX .git), and no program may hold its files."
        )

    def _entries(self, folder: int) -> Iterator[str]:
        with os.scandir(folder) as entries:
            for entry in entries:
                self._files += 1
                if self._files > MAX_FILES:
                    raise self._too_large(f"more than {MAX_FILES} files")
                if self.stop.is_set():
                    raise Stopping("Approvals is stopping; ask again.")
                yield entry.name

    def _too_large(self, what: str) -> LimitExceeded:
        return LimitExceeded(
            f"The repository {self._source.name} has {what} of objects; `git gc --prune=now` there "
            "makes it smaller, and large files do not belong into it."
        )

    def _copy_loose(self, objects: int) -> None:
        for folder in filter(_FOLDER.fullmatch, self._entries(objects)):
            try:
                at = os.open(folder, _DIRECTORY, dir_fd=objects)
            except FileNotFoundError:
                continue  # git has packed all that was in it
            try:
                target = self._target / folder
                target.mkdir(exist_ok=True)
                for name in filter(_LOOSE.fullmatch, self._entries(at)):
                    data = self._read(at, name)
                    if data is not None and self._is_object(data, folder + name):
                        (target / name).write_bytes(data)
            finally:
                os.close(at)

    def _copy_packs(self, objects: int) -> list[Path]:
        try:
            at = os.open("pack", _DIRECTORY, dir_fd=objects)
        except FileNotFoundError:
            return []
        packs: list[Path] = []
        (self._target / "pack").mkdir(exist_ok=True)
        try:
            for name in filter(_PACK.fullmatch, self._entries(at)):
                if len(packs) == MAX_PACKS:
                    raise self._too_large(f"more than {MAX_PACKS} packs")
                data = self._read(at, name)
                if data is None:
                    raise _VanishedError
                packs.append(self._target / "pack" / name)
                packs[-1].write_bytes(data)
        finally:
            os.close(at)
        return packs

    def _read(self, folder: int, name: str) -> bytes | None:
        """The content of a regular file; None when it is gone, or something else."""
        try:
            # Opening a device may do something to it.
            if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return None
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            self._bytes += status.st_size
            if self._bytes > MAX_BYTES:
                raise self._too_large(f"more than {MAX_BYTES // 2**20} MiB")
            # No more than that, should it grow meanwhile.
            return file.read(status.st_size)

    def _is_object(self, data: bytes, name: str) -> bool:
        """Whether a single object is what its name says, and not too large.

        What is not is left out: should the commit need it, git will say that it is missing.
        """
        unpacking = zlib.decompressobj()
        try:
            content = unpacking.decompress(data, MAX_OBJECT + 32)
        except zlib.error:
            return False
        self._inflated += len(content)
        if self._inflated > MAX_INFLATED:
            raise self._too_large(f"more than {MAX_INFLATED // 2**20} MiB, unpacked,")
        header = _HEADER.match(content)
        whole = unpacking.eof and not unpacking.unused_data
        if not whole or header is None or len(content) != header.end() + int(header[1]):
            return False
        return hashlib.sha1(content, usedforsecurity=False).hexdigest() == name
