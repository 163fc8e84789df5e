"""Two ways to hand a commit back and to publish it: changes of projects, and git alone.

With git alone, the author pushes the commit to the clone of a reviewer, who merges it and pushes
the branch.
"""

from pathlib import Path
from statistics import median
from typing import Final, Protocol

from bench.projects import upstreams
from bench.projects.upstreams import Size
from bench.projects.ways import PROJECT, Hive, run_git, timed
from services.quarantine.tests.worktree import WorkTree
from wire import names
from wire.records import decode
from wire.records.changes import ApproveChangeOptions, ChangeChanged, ChangeState, SubmitOptions

SUBMIT: Final = "submit, until it is visible"
APPROVE: Final = "approve, until it is pushed"


class Way(Protocol):
    """A way to hand commits back."""

    async def submit(self, commit: str) -> None:
        """Hand a commit back."""

    async def approve(self, commit: str, base: str) -> None:
        """Merge the commit into the branch, which is at `base`, and push it."""


class HiveWay:
    """Changes of projects: an agent submits, and the operator approves."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self._id = 0

    async def submit(self, commit: str) -> None:
        """See Way."""
        self._id = await self._hive.alice.submit(PROJECT, commit, "A page", "", SubmitOptions())

    async def approve(self, commit: str, base: str) -> None:
        """See Way."""
        rule = {"interface": names.CHANGES, "member": "ChangeChanged"}
        async with self._hive.bus.subscribe(**rule) as signals:
            await self._hive.changes.approve(self._id, commit, base, ApproveChangeOptions())
            async for signal in signals:
                state = decode(ChangeChanged, signal.args).state
                if state is ChangeState.MERGED:
                    return
                if state is not ChangeState.APPROVED:
                    raise RuntimeError(f"The change is {state}.")


class GitWay:
    """git alone: an author with a working copy, and a reviewer with another one."""

    def __init__(self, author: Path, review: Path) -> None:
        self._author = author
        self._review = review

    async def submit(self, commit: str) -> None:
        """See Way."""
        target = f"{commit}:refs/changes/{commit}"
        await run_git("-C", str(self._author), "push", "--quiet", str(self._review), target)

    async def approve(self, commit: str, base: str) -> None:
        """See Way."""
        here = ("-C", str(self._review), "-c", "user.name=r", "-c", "user.email=r@hive.invalid")
        await run_git(*here, "merge", "--quiet", "--no-ff", "-m", "A page", commit)
        await run_git(*here, "push", "--quiet", "origin", "main")


class Author:
    """A working copy in which commits are made; nothing here is measured."""

    def __init__(self, place: Path, upstream: Path) -> None:
        self._tree = WorkTree(place)
        self._tree.git("remote", "add", "origin", str(upstream))

    def commit(self, number: int) -> tuple[str, str]:
        """Make a commit on the branch of upstream; return it, and the commit below it."""
        self._tree.git("fetch", "-q", "origin")
        self._tree.git("reset", "-q", "--hard", "origin/main")
        base = self._tree.git("rev-parse", "HEAD")
        return self._tree.commit({f"page-{number}": f"{number}\n"}), base


async def measure(
    hive: Hive, directory: Path, copies: Path, size: Size, runs: int
) -> dict[str, tuple[float, float]]:
    """Return the median seconds of each step with the hive and with git alone, in turn.

    Args:
        hive: the service.
        directory: an empty directory for the upstreams and the copies of git alone.
        copies: the directory in which the service looks for the working copies of the agent.
        size: that of the upstreams.
        runs: how often each step is measured.
    """
    sources = [directory / f"{name}.git" for name in ("ours", "theirs")]
    for source in sources:
        upstreams.make(source, size)
    review = directory / "review"
    upstreams.git("clone", "--quiet", str(sources[1]), str(review))
    await hive.add(PROJECT, sources[0])
    places = [copies / PROJECT, directory / "author"]
    authors = [Author(*pair) for pair in zip(places, sources, strict=True)]
    ways: list[Way] = [HiveWay(hive), GitWay(places[1], review)]
    times: dict[str, tuple[list[float], list[float]]] = {SUBMIT: ([], []), APPROVE: ([], [])}
    for number in range(runs):
        for author, way, submits, approvals in zip(
            authors, ways, times[SUBMIT], times[APPROVE], strict=True
        ):
            commit, base = author.commit(number)
            submits.append(await timed(way.submit(commit)))
            approvals.append(await timed(way.approve(commit, base)))
        # Publishing has begun a fetch: the next run begins after it.
        await hive.fetch(PROJECT)
    return {what: (median(one), median(other)) for what, (one, other) in times.items()}
