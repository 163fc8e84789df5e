"""The bare repository of each project, which only this service writes.

`NAME/upstream.git` has the branches and tags of upstream under their own names. Working copies
borrow its objects, so no object is ever removed from it.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import re
import secrets
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from services.projects.access import LIMITS, Access
from services.quarantine import leftovers
from services.quarantine.runner import Conditions, Ended, git, resolve, run
from services.tasks import run_in_thread
from wire.names import PROJECT_NAME
from wire.records.projects import Branch

GIT: Final = "upstream.git"
KNOWN_HOSTS: Final = "known_hosts"
FETCH_SECONDS: Final = 4 * 3600.0
"""Seconds that a fetch may take, as long as data comes."""
ASK_SECONDS: Final = 120.0
REPACK_SECONDS: Final = 3600.0
MAX_PACKS: Final = 50
"""Packs beyond which a repository is packed anew."""
MAX_BRANCHES: Final = 100
"""Branches that are listed of a project, those with the newest commits."""

_OURS: Final = Conditions(LIMITS)
_REFSPECS: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_HEAD: Final = re.compile(r"^ref: refs/heads/(\S+)\tHEAD$", re.MULTILINE)
_PROMISOR: Final = "upstream"
_LISTED: Final = "%(refname:strip=2)%00%(objectname)%00%(committerdate:unix)%00%(contents:subject)"
_NOTED: Final = (".gitmodules", ".gitattributes")
_MICROSECONDS: Final = 1_000_000
_SUBJECT: Final = 200
_LAST: Final = 253_402_300_799
"""The end of the year 9999, in seconds: a commit may claim any date."""


class Contents(NamedTuple):
    """The references of a project."""

    branches: list[Branch]
    """The MAX_BRANCHES with the newest commits."""
    branch_count: int
    tag_count: int


class Repositories:
    """The repositories below one directory."""

    def __init__(self, root: Path) -> None:
        """Keep the repositories in `root`, a directory for each project."""
        self._root = root
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._upstream: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def upstream(self, name: str) -> asyncio.Lock:
        """Return the lock to hold while git talks to the upstream of a project."""
        return self._upstream[name]

    def writing(self, name: str) -> asyncio.Lock:
        """Return the lock to hold while git adds something to a repository beside a fetch.

        Several git may write at once, but the leavings of a killed one are removed under this lock,
        and must not be those of a living one.
        """
        return self._writing[name]

    def prepare(self) -> None:
        """Remove the unfinished work of an earlier run. Call it once, before anything else."""
        for path in self._root.glob(".*"):
            if path.name.startswith((".new-", ".gone-")):
                leftovers.remove_tree(path)
        for name in self.names():
            leftovers.clear(self.home(name))
            _show_changes(self.home(name))

    def names(self) -> list[str]:
        """Return the projects that have a directory."""
        return sorted(
            path.name
            for path in self._root.iterdir()
            if path.is_dir() and PROJECT_NAME.fullmatch(path.name)
        )

    def home(self, name: str) -> Path:
        """Return the git directory of a project."""
        return self._root / name / GIT

    def known_hosts(self, name: str) -> Path:
        """Return the file with the keys of a project's host."""
        return self._root / name / KNOWN_HOSTS

    def exists(self, name: str) -> bool:
        """Return whether a project has a repository."""
        return self.home(name).is_dir()

    async def create(self, name: str, branch: str) -> None:
        """Make an empty repository, unless there is one; HEAD leads to `branch`."""
        if self.exists(name):
            return
        new = self._root / f".new-{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        home = new / GIT
        await git(home, "init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}")
        # Containers read it, through a mount that shows nothing of the directory above.
        home.chmod(0o755)
        _show_changes(home)
        (self._root / name).mkdir(mode=0o700, exist_ok=True)
        home.rename(self.home(name))
        new.rmdir()

    async def remove(self, name: str) -> None:
        """Remove the directory of a project, if there is one."""
        gone = self._root / f".gone-{secrets.token_hex(8)}"
        if (self._root / name).is_dir():
            (self._root / name).rename(gone)
            await asyncio.to_thread(leftovers.remove_tree, gone)

    def forget_host_keys(self, name: str) -> None:
        """Let the next fetch trust the host that answers, whatever its key."""
        self.known_hosts(name).unlink(missing_ok=True)

    def host_keys(self, name: str) -> list[str]:
        """Return the keys of the project's host, as `ssh-keygen -l` shows them."""
        try:
            lines = self.known_hosts(name).read_text().splitlines()
        except (FileNotFoundError, UnicodeDecodeError):
            return []
        return [shown for line in lines if (shown := _fingerprint(line))]

    async def head(self, name: str, source: str, access: Access) -> tuple[Ended, str]:
        """Ask upstream for its main branch; return how that ended, and the branch if it has one."""
        ended = await run(
            self.home(name),
            *access.options,
            "ls-remote",
            f"--upload-pack={access.upload_pack}",
            "--symref",
            "--",
            source,
            "HEAD",
            seconds=ASK_SECONDS,
            conditions=access.conditions,
        )
        found = _HEAD.search(ended.output.decode(errors="replace"))
        return ended, found[1] if found and not ended.status else ""

    async def fetch(
        self,
        name: str,
        source: str,
        access: Access,
        *,
        depth: int,
        filter: str,
        heard: Callable[[str], None],
    ) -> Ended:
        """Fetch all branches and tags of `source`, and remove those that it no longer has.

        Hold `upstream` meanwhile.

        Args:
            name: the project.
            source: the address or path of its upstream.
            access: the way there.
            depth: the commits of history; 0: all.
            filter: the filter of a partial clone; empty: none.
            heard: called with each line that git prints about its progress.

        Returns:
            The end of git; a status other than 0 is a failure.
        """
        # A git that was killed, when memory ran out for example, holds its locks for ever.
        await self._clear(name)
        limited = (f"--depth={depth}",) if depth else ()
        await self._set_filter(name, filter)
        partial = self._partial(source, filter)
        ended = await run(
            self.home(name),
            *access.options,
            *partial,
            "fetch",
            "--progress",
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--update-shallow",
            f"--upload-pack={access.upload_pack}",
            *limited,
            *((f"--filter={filter}",) if filter else ()),
            "--",
            _PROMISOR if filter else source,
            *_REFSPECS,
            seconds=FETCH_SECONDS,
            conditions=access.conditions,
            heard=heard,
        )
        if ended.status:
            # Unfinished packs fill the disk otherwise, until the next fetch.
            await self._clear(name)
        return ended

    async def _clear(self, name: str) -> None:
        async with self.writing(name):
            await run_in_thread(leftovers.clear, self.home(name))

    async def ask(self, name: str, source: str, access: Access, branch: str) -> tuple[Ended, str]:
        """Ask upstream for the commit of a branch.

        Returns:
            How that ended, and the commit; empty: upstream has no such branch.
        """
        reference = f"refs/heads/{branch}"
        ended = await run(
            self.home(name),
            *access.options,
            "ls-remote",
            f"--upload-pack={access.upload_pack}",
            "--",
            source,
            reference,
            seconds=ASK_SECONDS,
            conditions=access.conditions,
        )
        for line in ended.output.decode(errors="replace").splitlines():
            commit, _, named = line.partition("\t")
            if named == reference and not ended.status:
                return ended, commit
        return ended, ""

    async def push(
        self, name: str, source: str, access: Access, *, commit: str, branch: str
    ) -> Ended:
        """Push a commit to a branch of upstream, which git refuses unless that moves forward.

        Hold `upstream` meanwhile.
        """
        return await run(
            self.home(name),
            *access.options,
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-recurse-submodules",
            "--no-signed",
            f"--receive-pack={access.receive_pack}",
            "--",
            source,
            f"{commit}:refs/heads/{branch}",
            seconds=FETCH_SECONDS,
            conditions=access.conditions,
        )

    async def contains(self, name: str, commit: str, ancestor: str) -> bool:
        """Return whether `ancestor` is `commit` or in its history, as far as both are there."""
        ended = await run(self.home(name), "merge-base", "--is-ancestor", ancestor, commit)
        return ended.status == 0

    async def move(self, name: str, reference: str, new: str, old: str) -> bool:
        """Let a reference lead to `new` if it leads to `old`; return whether it does then.

        Args:
            name: the project.
            reference: the full name of the reference.
            new: a commit.
            old: a commit; empty: there is no such reference yet.
        """
        home = self.home(name)
        async with self.writing(name):
            moved = await run(home, "update-ref", reference, new, old or "0" * 40)
            return not moved.status or await resolve(home, reference) == new

    async def fetch_files(
        self, name: str, source: str, access: Access, *, branch: str, filter: str
    ) -> Ended | None:
        """Fetch the files of the branch that a partial clone has left out; None: none were."""
        if await self.commit(name, branch) is None:
            return None
        home = self.home(name)
        missing = await run(
            home,
            "rev-list",
            "--objects",
            "--missing=print",
            "--no-object-names",
            f"refs/heads/{branch}^{{tree}}",
            seconds=REPACK_SECONDS,
            limit=2**27,
            conditions=_OURS,
        )
        wanted = [line[1:] for line in missing.output.splitlines() if line.startswith(b"?")]
        if not wanted:
            return None
        return await run(
            home,
            *access.options,
            *self._partial(source, filter),
            "-c",
            "fetch.negotiationAlgorithm=noop",
            "fetch",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            f"--upload-pack={access.upload_pack}",
            f"--filter={filter}",
            "--stdin",
            _PROMISOR,
            stdin=b"\n".join(wanted) + b"\n",
            seconds=FETCH_SECONDS,
            conditions=access.conditions,
        )

    async def _set_filter(self, name: str, filter: str) -> None:
        """Let git know that objects may be missing; it fetches none of them by itself."""
        if not filter:
            return
        home = self.home(name)
        for key, value in (
            ("core.repositoryFormatVersion", "1"),
            ("extensions.partialClone", _PROMISOR),
            (f"remote.{_PROMISOR}.promisor", "true"),
            (f"remote.{_PROMISOR}.partialCloneFilter", filter),
        ):
            await git(home, "config", key, value)

    @staticmethod
    def _partial(source: str, filter: str) -> tuple[str, ...]:
        return ("-c", f"remote.{_PROMISOR}.url={source}") if filter else ()

    async def set_head(self, name: str, branch: str) -> None:
        """Make `branch` the one that a clone checks out."""
        if (self.home(name) / "HEAD").read_text() == f"ref: refs/heads/{branch}\n":
            return
        await git(self.home(name), "symbolic-ref", "HEAD", f"refs/heads/{branch}")

    async def commit(self, name: str, branch: str) -> str | None:
        """Return the commit of a branch; None: there is no such branch, or no commit yet."""
        # A name that git would take for an expression, such as main~1, is none of a branch.
        reference = f"refs/heads/{branch}"
        form = "--format=%(objectname) %(refname)"
        listed = await git(self.home(name), "for-each-ref", form, "--", reference)
        found = (line.split(" ", 1) for line in listed.decode(errors="replace").split("\n")[:-1])
        return next((commit for commit, one in found if one == reference), None)

    async def branches(self, name: str) -> list[str]:
        """Return the names of all branches."""
        listed = await git(
            self.home(name),
            "for-each-ref",
            "--format=%(refname:strip=2)",
            "refs/heads",
            limit=2**24,
            conditions=_OURS,
        )
        return listed.decode(errors="replace").splitlines()

    async def contents(self, name: str) -> Contents:
        """Return the branches, those with the newest commits first, and the number of tags."""
        home = self.home(name)
        sort = "--sort=-committerdate"
        listing = git(
            home,
            "for-each-ref",
            sort,
            f"--count={MAX_BRANCHES}",
            f"--format={_LISTED}",
            "refs/heads",
            limit=2**24,
        )
        listed, branch_count, tag_count = await asyncio.gather(
            listing, _count(home, "refs/heads"), _count(home, "refs/tags")
        )
        branches = [_branch(line) for line in listed.decode(errors="replace").split("\n") if line]
        return Contents(branches, branch_count, tag_count)

    async def notes(self, name: str, branch: str) -> tuple[str, ...]:
        """Return sentences about what the branch refers to, and a fetch does not bring."""
        home, found = self.home(name), []
        modules, attributes = (f"refs/heads/{branch}:{file}" for file in _NOTED)
        # Most projects have neither. The answer has a line for each, in this order.
        asked = f"{modules}\n{attributes}\n".encode()
        listed = await run(home, "cat-file", "--batch-check", stdin=asked)
        there = [b" blob " in line for line in listed.output.splitlines()]
        has_modules, has_attributes = there if len(there) == len(_NOTED) else (False, False)
        if has_modules and (count := await self._submodules(home, modules)):
            noun = "submodule" if count == 1 else "submodules"
            found.append(f"It refers to {count} {noun}, whose contents are not fetched.")
        if has_attributes:
            text = (await run(home, "cat-file", "blob", attributes, conditions=_OURS)).output
            if re.search(rb"\bfilter=lfs\b", text):
                found.append(
                    "Files of Git LFS are kept as the pointers in their place; their contents are "
                    "not fetched."
                )
        return tuple(found)

    @staticmethod
    async def _submodules(home: Path, modules: str) -> int:
        listed = await run(
            home,
            "config",
            f"--blob={modules}",
            "--name-only",
            "--get-regexp",
            r"^submodule\..*\.path$",
        )
        return len(listed.output.splitlines())

    async def tidy(self, name: str) -> None:
        """Pack the repository anew if it has many packs; no object is removed."""
        home = self.home(name)
        if len(list(home.glob("objects/pack/*.pack"))) <= MAX_PACKS:
            return
        await git(
            home,
            "repack",
            "-a",
            "-d",
            "--keep-unreachable",
            "--quiet",
            seconds=REPACK_SECONDS,
            conditions=_OURS,
        )

    async def size(self, name: str) -> int:
        """Return the bytes that a project takes on the disk."""
        return await asyncio.to_thread(_size, self._root / name)


def _show_changes(home: Path) -> None:
    """Let no .gitattributes of a commit hide a change from the operator."""
    attributes = home / "info/attributes"
    if home.is_dir() and not attributes.exists():
        attributes.parent.mkdir(mode=0o755, exist_ok=True)
        attributes.parent.chmod(0o755)
        attributes.write_text("* !diff\n")
        attributes.chmod(0o644)


async def _count(home: Path, below: str) -> int:
    listed = await git(home, "for-each-ref", "--format=x", below, limit=2**24, conditions=_OURS)
    return len(listed.splitlines())


def _branch(line: str) -> Branch:
    name, commit, date, subject = line.split("\0", 3)
    seconds = min(int(date or 0), _LAST)
    return Branch(name, commit, seconds * _MICROSECONDS, subject[:_SUBJECT].replace("\0", " "))


def _fingerprint(line: str) -> str:
    """Return the key of a line of known_hosts: its type, and its hash as ssh shows it."""
    words = line.split()
    if len(words) < 3 or line.startswith(("#", "@")):
        return ""
    try:
        digest = hashlib.sha256(base64.b64decode(words[2], validate=True)).digest()
    except binascii.Error:
        return ""
    shown = base64.b64encode(digest).decode().rstrip("=")
    return f"{words[1]} SHA256:{shown}"


def _size(path: Path) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += (Path(folder) / file).lstat().st_blocks * 512
            except FileNotFoundError:
                continue  # git has replaced it
    return total
