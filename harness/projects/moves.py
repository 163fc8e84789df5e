"""The moves of the branches of projects, of which the agent is told in its next prompt."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from harness.git import GitError, run
from harness.lines import one_line
from harness.projects.copy import REMOTE, WorkingCopy

log = logging.getLogger(__name__)

FILE: Final = "hyperhive-projects.json"
"""The file in the agent's directory with the branches and commits that it was told of last."""
MAX_FILES: Final = 10
"""Files with conflicts that are named."""
MAX_NAME: Final = 200
SHORT: Final = 12
MERGE_SECONDS: Final = 60.0


class Known(NamedTuple):
    """A branch and its last commit, as the agent knows them."""

    branch: str
    commit: str


class Moves:
    """The commits of the projects that the agent knows, and those that are new."""

    def __init__(self, state: Path) -> None:
        """Take what the agent in the directory `state` was told."""
        self._file = state / FILE
        self._known: dict[str, Known] = _read(self._file)
        self._seen: dict[str, Known] = {}
        self._passed: dict[str, Known] = {}

    async def learn(self, copy: WorkingCopy) -> None:
        """Take the branch of a project as known, if the agent has a new working copy of it."""
        if copy.path.name in self._known:
            return
        if now := await _now(copy):
            self._known[copy.path.name] = now
            self._save()

    async def is_untold(self, copy: WorkingCopy) -> bool:
        """Return whether the branch of a project has moved since the agent was told of it.

        A move is not untold either if `pass_over` has met it.
        """
        name, now = copy.path.name, await _now(copy)
        known = self._known.get(name)
        return known is not None and now not in (None, known, self._passed.get(name))

    async def pass_over(self, copies: Iterable[WorkingCopy]) -> None:
        """Let the moves of `copies` until now begin no turn; `news` tells of them still."""
        for copy in copies:
            if now := await _now(copy):
                self._passed[copy.path.name] = now

    async def news(self, copies: Iterable[WorkingCopy]) -> list[str]:
        """Return a sentence for each of `copies` whose branch has moved since `told`."""
        found = [await self._news(copy) for copy in copies]
        return [text for text in found if text]

    def told(self) -> None:
        """Take note that the agent has been told of what `news` has returned last."""
        if not self._seen:
            return
        self._known |= self._seen
        self._seen = {}
        self._save()

    def _save(self) -> None:
        try:
            self._file.write_text(json.dumps(self._known) + "\n", encoding="utf-8")
        except OSError as error:
            log.warning("cannot save which commits the agent knows: %s", error)

    async def _news(self, copy: WorkingCopy) -> str:
        name = copy.path.name
        now, old = await _now(copy), self._known.get(name)
        if now is None or old is None or now == old:
            return ""
        self._seen[name] = now
        branch = f"`{_shown(now.branch)}`"
        try:
            if now.branch != old.branch:
                text = (
                    f"The branch of the project {name} is {branch} now, at {now.commit[:SHORT]}; "
                    f"it was `{_shown(old.branch)}`."
                )
            else:
                moved = await _moved(copy, old.commit, now.commit)
                text = f"The branch {branch} of the project {name} has {moved}."
            await copy.fetch()
            return f"{text} {await _yours(copy, now.branch)}"
        except GitError as error:
            log.warning("the move of the project %s cannot be described: %s", name, error)
            return (
                f"The project {name} has changed, and its working copy {copy.path} could not "
                f"follow: {one_line(str(error), MAX_NAME)}."
            )


async def _now(copy: WorkingCopy) -> Known | None:
    """Return the branch of a project and its commit; None: there is none, or no way to know."""
    try:
        branch, tip = copy.branch(), await copy.tip()
    except GitError as error:
        log.warning("%s cannot be read: %s", copy.upstream, error)
        return None
    return Known(branch, tip) if tip else None


async def _moved(copy: WorkingCopy, old: str, tip: str) -> str:
    way = f"from {old[:SHORT]} to {tip[:SHORT]}"
    upstream = f"--git-dir={copy.upstream}"
    fast = await run(upstream, "merge-base", "--is-ancestor", old, tip)
    counted = await run(upstream, "rev-list", "--count", f"{old}..{tip}")
    if fast.status > 1 or counted.status:
        return f"moved {way}"  # the commit before is gone, as in a shallow repository
    commits = "1 commit" if counted.output.strip() == "1" else f"{counted.output.strip()} commits"
    if fast.status:
        return f"been rewritten, {way}: {commits} that the one before does not have"
    return f"moved {way}: {commits}"


async def _yours(copy: WorkingCopy, branch: str) -> str:
    """Return what the move means for the branch that is checked out. Raises GitError."""
    remote = f"{REMOTE}/{_shown(branch)}"
    named = await copy.git("symbolic-ref", "--quiet", "--short", "HEAD", fails=(1,))
    own = f"Your branch `{_shown(named.strip())}`" if named else "The commit that you work on"
    if await copy.head() is None:
        return f"It is fetched as `{remote}`."
    ahead = (await copy.git("rev-list", "--count", f"{REMOTE}/{branch}..HEAD")).strip()
    if ahead == "0":
        behind = (await copy.git("rev-list", "--count", f"HEAD..{REMOTE}/{branch}")).strip()
        if behind == "0":
            return f"{own} in {copy.path} has it already."
        return (
            f"{own} in {copy.path} has no commits of its own: "
            f"`git merge --ff-only {remote}` brings it up to date."
        )
    merge = await run(
        *("-C", str(copy.path), "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z"),
        "--allow-unrelated-histories",
        *("HEAD", f"{REMOTE}/{branch}"),
        seconds=MERGE_SECONDS,
    )
    commits = "its commit" if ahead == "1" else f"its {ahead} commits"
    if merge.status == 0:
        return f"{own} in {copy.path}, with {commits}, does not conflict with `{remote}`."
    if merge.status == 1:
        files = [name for name in merge.output.split("\0")[1:] if name]
        shown = ", ".join(f"`{_shown(name)}`" for name in files[:MAX_FILES])
        more = f" and {len(files) - MAX_FILES} more" if len(files) > MAX_FILES else ""
        return (
            f"{own} in {copy.path}, with {commits}, conflicts with `{remote}` in {shown}{more}: "
            "merge or rebase before you hand it back."
        )
    raise GitError(merge.message or "git merge-tree failed")


def _shown(name: str) -> str:
    """Return the name of a branch or a file, which others chose, as one short line."""
    return one_line(name, MAX_NAME).replace("`", "'")


def _read(path: Path) -> dict[str, Known]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        str(name): Known(*known)
        for name, known in found.items()
        if isinstance(known, list) and len(known) == 2 and all(isinstance(k, str) for k in known)
    }
