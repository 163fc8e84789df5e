"""The files of commits, as git lists them: bytes that agents have chosen."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from services.quarantine.runner import git, run
from wire.errors import LimitExceeded

EMPTY: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The empty tree, which git knows without having it."""
LINK: Final = "120000"
SUBMODULE: Final = "160000"
EXECUTABLE: Final = "100755"

_LISTING: Final = 64 * 2**20
"""Bytes of the list of a whole tree: half a million files."""
_ENTRIES: Final = 16 * 2**20
_MAX_LINKS: Final = 5000
_MAX_TARGET: Final = 4096


class Entry(NamedTuple):
    """A file that one commit changes."""

    path: bytes
    old_mode: str
    new_mode: str
    old: str
    """The object of the old content."""
    new: str

    @property
    def added(self) -> bool:
        """Whether there was no such file before."""
        return self.old_mode == "000000"

    @property
    def deleted(self) -> bool:
        """Whether there is no such file any more."""
        return self.new_mode == "000000"


def text(path: bytes) -> str:
    """Return a path as text; bytes that are not UTF-8 are spelled out, as in `caf\\xe9`."""
    return path.decode(errors="backslashreplace")


async def between(home: Path, old: str, new: str) -> list[Entry]:
    """Return the files that differ between two commits or trees.

    Raises:
        LimitExceeded: there are too many.
    """
    return await _entries(home, "diff-tree", "-r", "--no-renames", old, new)


async def of_commits(home: Path, *commits: str) -> list[Entry]:
    """Return the files that each of the given commits changes.

    Of a merge, those are listed that differ from what git makes of its two parents.

    Args:
        home: the git directory.
        commits: what `git log` takes.

    Raises:
        LimitExceeded: there are too many.
    """
    options = ("--format=", "--diff-merges=remerge", "--no-renames", "--root")
    return await _entries(home, "log", *options, *commits)


async def _entries(home: Path, *command: str) -> list[Entry]:
    ended = await run(home, *command, "--raw", "-z", "--no-abbrev", "--", limit=_ENTRIES)
    if ended.cut:
        raise LimitExceeded(
            "The change touches too many files to be reviewed. Submit a smaller one."
        )
    if ended.status:
        raise LimitExceeded(f"The files of the change cannot be listed: {ended.message}.")
    return list(_parsed(ended.output))


def _parsed(output: bytes) -> Iterator[Entry]:
    fields = iter(output.split(b"\0"))
    for about in fields:
        if not (about := about.lstrip(b"\n")).startswith(b":"):
            continue
        old_mode, new_mode, old, new, _ = about[1:].decode().split(" ")
        yield Entry(next(fields), old_mode, new_mode, old, new)


async def paths(home: Path, commit: str) -> list[bytes]:
    """Return the paths of all files and directories of a commit.

    Raises:
        LimitExceeded: there are too many.
    """
    listed = await _listed(home, "-r", "-t", "--name-only", commit)
    return listed.split(b"\0")[:-1]


async def links(home: Path, commit: str) -> dict[str, str]:
    """Return the targets of all symbolic links of a commit, by their paths.

    Raises:
        LimitExceeded: there are too many, or one is too long.
    """
    listed = await _listed(home, "-r", commit)
    found: dict[bytes, str] = {}
    for line in listed.split(b"\0")[:-1]:
        about, _, path = line.partition(b"\t")
        mode, _, name = about.decode().split(" ")
        if mode == LINK:
            found[path] = name
    if len(found) > _MAX_LINKS:
        raise LimitExceeded(f"The commit has more than {_MAX_LINKS} symbolic links.")
    targets = await _targets(home, set(found.values()))
    return {text(path): text(targets[name]) for path, name in found.items()}


async def _targets(home: Path, names: Collection[str]) -> dict[str, bytes]:
    wanted = "".join(f"{name}\n" for name in names).encode()
    sizes = await git(home, "cat-file", "--batch-check", stdin=wanted, limit=2**20)
    for line in sizes.splitlines():
        if int(line.split()[2]) > _MAX_TARGET:
            raise LimitExceeded(
                f"A symbolic link of the commit has more than {_MAX_TARGET} characters."
            )
    return await contents(home, names, _MAX_LINKS * (_MAX_TARGET + 100))


async def contents(home: Path, names: Iterable[str], limit: int) -> dict[str, bytes]:
    """Return the contents of objects, by their names.

    Raises:
        GitFailed: they have more than `limit` bytes together.
    """
    wanted = "".join(f"{name}\n" for name in names).encode()
    rest = await git(home, "cat-file", "--batch", stdin=wanted, limit=limit)
    found: dict[str, bytes] = {}
    at = 0
    while at < len(rest):
        end = rest.index(b"\n", at)
        name, _, size = rest[at:end].decode().split(" ")
        found[name] = rest[end + 1 : end + 1 + int(size)]
        at = end + 2 + int(size)
    return found


async def _listed(home: Path, *options: str) -> bytes:
    ended = await run(home, "ls-tree", "-z", "--full-tree", *options, limit=_LISTING)
    if ended.cut:
        raise LimitExceeded("The commit has too many files.")
    if ended.status:
        raise LimitExceeded(f"The files of the commit cannot be listed: {ended.message}.")
    return ended.output


async def blob(home: Path, name: str, limit: int) -> bytes:
    """Return the beginning of a blob; empty if there is none."""
    ended = await run(home, "cat-file", "blob", name, limit=limit)
    return b"" if ended.status else ended.output
