"""The way of an agent's commit into the repository of its project."""

from pathlib import Path
from typing import Final, NamedTuple

from services.projects.changes import inspection
from services.projects.changes.inspection import Inspected
from services.projects.changes.model import reference
from services.projects.repositories import Repositories
from services.quarantine.bounds import Bounds
from services.quarantine.quarantine import SCRATCH, Quarantine
from services.quarantine.runner import Limits, git, resolve
from wire.errors import Conflict, Unavailable

BOUNDS: Final = Bounds(
    files=50_000,
    size=256 * 2**20,
    unpacked=2**30,
    single=50 * 2**20,
    new=50 * 2**20,
    new_objects=50_000,
    seconds=120.0,
    step_seconds=60.0,
    limits=Limits(memory=2**30, file=512 * 2**20, processor=60),
)
"""The bounds of a submission: a working copy borrows what upstream has."""

_NEW: Final = "0" * 40


class Taken(NamedTuple):
    """A commit that was taken, and is not referenced yet."""

    commit: str
    base: str
    findings: tuple[str, ...]
    size: int
    """Bytes that it has added to the repository, which keeps them for ever."""


class Submissions:
    """Takes commits from the working copies of agents, which are hostile."""

    def __init__(
        self,
        repositories: Repositories,
        copies: Path,
        *,
        scratch: Path = SCRATCH,
        bounds: Bounds = BOUNDS,
        refusal: str = "",
    ) -> None:
        """Take commits from `copies`/AGENT/work/PROJECT; the quarantines are made in `scratch`.

        Args:
            repositories: our repositories.
            copies: the directory with the data of all agents.
            scratch: the directory of the quarantines.
            bounds: the bounds of one submission.
            refusal: why none is taken on this host; empty: they are.
        """
        self._refusal = refusal
        self._repositories = repositories
        self._copies = copies
        self._quarantine = Quarantine(scratch, bounds)

    async def take(self, project: str, agent: str, commit: str, branch: str) -> Taken:
        """Take a commit from the working copy of an agent, if it may be submitted for a branch.

        Args:
            project: the project; it has a repository.
            agent: the agent.
            commit: 7 to 40 hexadecimal digits.
            branch: a branch of the project, or the one that an empty project will have.

        Raises:
            NotFound, InvalidArgument, LimitExceeded, Timeout: see Quarantine.fetch.
            Conflict, InvalidArgument, LimitExceeded: see inspection.inspect.
            Conflict: the project was removed meanwhile.
            Unavailable: this host takes none.
        """
        if self._refusal:
            raise Unavailable(self._refusal)
        home = self._repositories.home(project)
        found: list[tuple[Inspected, int]] = []

        async def check(where: Path, whole: str) -> None:
            size = 0 if where == home else await _size(where, whole)
            inspected = await inspection.inspect(where, whole, tip, project=project, branch=branch)
            found.append((inspected, size))

        source = self._copies / agent / "work" / project
        async with self._repositories.writing(project):
            self._check_there(project)
            tip = await self._repositories.commit(project, branch) or ""
            whole = await self._quarantine.fetch(source, commit, home, check)
        inspected, size = found[-1]
        return Taken(whole, inspected.base, inspected.findings, size)

    async def pin(self, project: str, change: int, revision: int, commit: str) -> None:
        """Let the reference of a revision lead to its commit, for ever.

        Raises:
            Conflict: it leads to another commit, or the project was removed.
        """
        home, name = self._repositories.home(project), reference(change, revision)
        async with self._repositories.writing(project):
            self._check_there(project)
            there = await resolve(home, name)
            if there is None:
                await git(home, "update-ref", name, commit, _NEW)
            elif there != commit:
                raise Conflict(f"{name} of {project} is {there[:12]}, not {commit[:12]}.")

    def _check_there(self, project: str) -> None:
        if not self._repositories.exists(project):
            raise Conflict(f"The project {project} is not there any more.")

    async def pinned(self, project: str, change: int, revision: int) -> str | None:
        """Return the commit of the reference of a revision; None: there is no such reference."""
        if not self._repositories.exists(project):
            return None
        return await resolve(self._repositories.home(project), reference(change, revision))


async def _size(home: Path, commit: str) -> int:
    """Return the bytes that a commit has with its history, beside those of our repository."""
    options = ("--objects", "--disk-usage", commit, "--not", "--alternate-refs")
    return int(await git(home, "rev-list", *options))
