"""The working copy of a project: a repository of the agent, which borrows the objects of upstream.

The host keeps the repository of the project, which the container sees read-only. No object is ever
removed there, so the working copy names its objects (`objects/info/alternates`) and copies none.
Everything in the working copy is the agent's, and the harness has no other rights than the agent.
"""

import asyncio
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Final

from harness.git import GitError, git, run
from harness.projects import borrowed

log = logging.getLogger(__name__)

REMOTE: Final = "origin"
LONG: Final = 1800.0
"""Seconds that git may take to write or to save all files of a project."""
KEPT: Final = "refs/hive/kept"
"""The references to work from before a reset."""

_AUTHOR: Final = ("-c", "user.name=hive", "-c", "user.email=hive@hive.invalid")
_UNFINISHED: Final = ("rebase", "merge", "cherry-pick", "revert", "am")
"""The commands of git that a conflict leaves in the middle."""


class CopyError(Exception):
    """A working copy cannot be made or used; the text is a sentence."""


class WorkingCopy:
    """The working copy of one project.

    Attributes:
        path: Its directory.
        upstream: The repository of the project.
        heads: The directory of the branches of the project.
        made: How often this harness has made the directory.
    """

    def __init__(self, project: str, work: Path, repositories: Path) -> None:
        """Do nothing yet.

        Args:
            project: the name of the project.
            work: the directory of all working copies.
            repositories: the directory of the repositories of projects.
        """
        self.path = work / project
        self.upstream = repositories / f"{project}.git"
        self.heads = self.upstream / "refs/heads"
        self.made = 0
        self._project = project

    def branch(self) -> str:
        """Return the branch of the project. Raises GitError."""
        try:
            head = (self.upstream / "HEAD").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GitError(f"{self.upstream} is not the repository of a project: {error}") from None
        return head.strip().removeprefix("ref: refs/heads/")

    async def tip(self) -> str | None:
        """Return the last commit of the branch of the project; None: it has none yet.

        Raises GitError.
        """
        name = f"refs/heads/{self.branch()}^{{commit}}"
        found = await self._of_upstream("rev-parse", "--verify", "--quiet", name, fails=(1,))
        return found.strip() or None

    def references(self) -> list[Path]:
        """Return the directories of the project in which a change of a branch shows."""
        below = (path for path in self.heads.rglob("*") if path.is_dir())
        return [self.upstream, self.heads, *below]

    async def prepare(self) -> None:
        """Make the working copy, unless there is one.

        Raises:
            CopyError: it cannot be made.
        """
        try:
            if not self._is_repository:
                await self._make()
                return
            borrowed.begin(self.upstream, self.path)
            if await self._waits_for_first_commit() and await self.tip():
                await self.fetch()
                await self._begin()
        except (GitError, OSError) as error:
            raise CopyError(
                f"The working copy {self.path} of the project {self._project} cannot be made: "
                f"{error}"
            ) from None

    async def head(self) -> str | None:
        """Return the commit that is checked out; None: there is none yet. Raises GitError."""
        found = await self.git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", fails=(1, 128))
        return found.strip() or None

    async def fetch(self) -> None:
        """Fetch the branches and tags of the project. Raises GitError."""
        await self.git("fetch", "--quiet", "--prune", "--update-shallow", REMOTE, seconds=LONG)

    async def git(self, *arguments: str, fails: tuple[int, ...] = (), seconds: float = LONG) -> str:
        """Run git in the working copy; see `harness.git.git`."""
        return await git("-C", str(self.path), *arguments, fails=fails, seconds=seconds)

    async def reset(self) -> str:
        """Make the working copy clean: at the branch of the project, without other files.

        The work in it is kept: all commits and files, but ignored ones stay where they are.

        Returns:
            A sentence that says where the work is kept.

        Raises:
            CopyError: it cannot be reset; no work is lost.
        """
        try:
            if await self.tip() is None:
                raise CopyError(f"The project {self._project} has no commits yet.")
            if self._is_repository:
                try:
                    return await self._reset()
                except GitError as error:
                    log.warning("%s is set aside: git cannot reset it: %s", self.path, error)
            return await self._set_aside()
        except (GitError, OSError) as error:
            raise CopyError(f"{self.path} could not be reset: {error}") from None

    async def keep_objects(self) -> None:
        """Copy all objects that the working copy borrows from the project.

        Raises:
            CopyError: they cannot be copied; the working copy borrows them still.
        """
        if not self._is_repository:
            return
        try:
            await asyncio.to_thread(borrowed.copy, self.upstream, self.path)
        except OSError as error:
            raise CopyError(
                f"The objects of {self.path} cannot be copied: {error.strerror or error}"
            ) from None

    @property
    def _is_repository(self) -> bool:
        return (self.path / ".git").exists()

    async def _of_upstream(self, *arguments: str, fails: tuple[int, ...] = ()) -> str:
        return await git(f"--git-dir={self.upstream}", *arguments, fails=fails)

    async def _make(self) -> None:
        if self.path.is_symlink() or (self.path.exists() and any(self.path.iterdir())):
            raise GitError(
                "there are files, and no repository; `hivectl project reset` sets them aside"
            )
        # Under another name until it is complete: the final name never holds half a copy.
        new = self.path.with_name(f".{self._project}.new")
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        branch = self.branch()
        await git("init", "--quiet", f"--initial-branch={branch}", str(new))
        borrowed.begin(self.upstream, new)
        await self._configure(new)
        copy = WorkingCopy(self._project, new.parent, self.upstream.parent)
        copy.path = new
        await copy.fetch()
        if await self.tip():
            await copy._begin()
        if self.path.exists():
            self.path.rmdir()
        new.rename(self.path)
        self.made += 1
        log.info("the working copy of the project %s is in %s", self._project, self.path)

    async def _waits_for_first_commit(self) -> bool:
        """Return whether the working copy was made when the project had no commits."""
        if await self.head():
            return False
        named = await self.git("symbolic-ref", "--quiet", "--short", "HEAD", fails=(1,))
        return named.strip() == self.branch()  # and not a branch without parents

    async def _begin(self) -> None:
        """Check the branch of the project out, in a working copy without commits and files."""
        branch = self.branch()
        await self.git("remote", "set-head", REMOTE, branch)
        await self.git("checkout", "--quiet", "-B", branch, "--track", f"{REMOTE}/{branch}")

    async def _configure(self, path: Path) -> None:
        remote = f'[remote "{REMOTE}"]'
        lines = [remote, f"url = {self.upstream}"]
        lines += [f"fetch = +refs/heads/*:refs/remotes/{REMOTE}/*"]
        if left_out := await self._left_out():
            # Otherwise git takes an object that the host has left out for a damage.
            lines += ["promisor = true", f"partialCloneFilter = {left_out}"]
            lines += ["[core]", "repositoryFormatVersion = 1"]
            lines += ["[extensions]", f"partialClone = {REMOTE}"]
        _append(path / ".git/config", lines)
        _copy(self.upstream / "shallow", path / ".git/shallow")

    async def _left_out(self) -> str:
        """Return the filter of the objects that the host has left out; empty: it has all."""
        if b"partialclone" not in (self.upstream / "config").read_bytes().lower():
            return ""
        pattern = r"^remote\..*\.partialclonefilter$"
        found = await self._of_upstream("config", "--get-regexp", pattern, fails=(1,))
        return found.partition("\n")[0].partition(" ")[2].strip()

    async def _reset(self) -> str:
        branch = self.branch()
        for command in _UNFINISHED:
            await run("-C", str(self.path), command, "--quit")
        (self.path / ".git/index.lock").unlink(missing_ok=True)
        await self.fetch()
        kept = await self._keep(branch)
        start = f"{REMOTE}/{branch}"
        # First: the other branch may ignore other files, which nobody has kept.
        await self.git("clean", "--quiet", "--force", "-d")
        force = ("--quiet", "--force", "--ignore-other-worktrees", "-B", branch, "--track")
        await self.git("checkout", *force, start)
        tip = (await self.git("rev-parse", "--short=12", "HEAD")).strip()
        where = " and ".join(kept)
        return (
            f"{self.path} is clean, and at {tip} of {branch}. The work before is kept there as "
            f"{where}; ignored files and worktrees were left alone."
        )

    async def _keep(self, branch: str) -> list[str]:
        """Make references to the work in the working copy; return their names. Raises GitError."""
        name = f"{KEPT}/{_now()}"
        commit = await self._snapshot()
        references = {name: commit} if commit else {}
        # The branch is about to move; it may be another one than that which is checked out.
        local = f"refs/heads/{branch}"
        found = await self.git("rev-parse", "--verify", "--quiet", local, fails=(1,))
        if own := found.strip():
            kept_by = [f"{REMOTE}/{branch}", *([commit] if commit else [])]
            if await self.git("rev-list", "--max-count=1", own, "--not", *kept_by):
                references[f"{name}-{branch}"] = own
        for reference, target in references.items():
            await self.git("update-ref", "-m", "before a reset", reference, target, "")
        return list(references)

    async def _snapshot(self) -> str | None:
        """Return a commit with all files that are not ignored; None: there is nothing to keep.

        Raises GitError.
        """
        head = await self.head()
        index = self.path / ".git/hive-index"
        _copy(index.with_name("index"), index)  # it spares git from reading all files
        at, variables = ("-C", str(self.path)), {"GIT_INDEX_FILE": str(index)}
        try:
            for command in (("add", "--all"), ("write-tree",)):
                ended = await run(*at, *command, seconds=LONG, variables=variables)
                if ended.status:
                    raise GitError(ended.message)
            tree = ended.output.strip()
        finally:
            index.unlink(missing_ok=True)
        if head and tree == (await self.git("rev-parse", f"{head}^{{tree}}")).strip():
            return head
        parents = ("-p", head) if head else ()
        message = ("-m", "The files of the working copy before a reset")
        return (await self.git(*_AUTHOR, "commit-tree", tree, *parents, *message)).strip()

    async def _set_aside(self) -> str:
        """Give the directory another name, and make a new working copy."""
        aside = self.path.with_name(f"{self._project}@before-{_now()}")
        there = _rename(self.path, aside)
        try:
            await self._make()
        except (GitError, OSError):
            _rename(aside, self.path)
            raise
        before = f" The directory before is {aside}." if there else ""
        return f"{self.path} was made anew.{before}"


def _now() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{time.time_ns() // 1000 % 10**6:06}"


def _append(file: Path, lines: list[str]) -> None:
    with file.open("a", encoding="utf-8") as end:
        end.writelines(f"{line}\n" for line in lines)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, if there is one."""
    if source.exists():
        shutil.copyfile(source, target)


def _rename(old: Path, new: Path) -> bool:
    """Give a file or a directory another name; return whether there is one."""
    if not os.path.lexists(old):
        return False
    old.rename(new)
    return True
