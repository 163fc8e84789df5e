"""The agent's projects: their working copies, the news about them, and resets."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from harness.config import Config, Paths
from harness.inotify import DirectoryWatch
from harness.projects.copy import CopyError, WorkingCopy
from harness.projects.moves import Moves
from harness.projects.project import Project, projects_of

log = logging.getLogger(__name__)


class Projects:
    """The projects of the agent.

    Attributes:
        on_move: Called when the branch of a project has moved of which the agent wants to be told
            at once.
    """

    def __init__(self, config: Config, paths: Paths, note: Callable[[str], None]) -> None:
        """Do nothing yet.

        Args:
            config: the configuration of the agent.
            paths: the paths in the container.
            note: called with a sentence when a working copy cannot be made.
        """
        self.on_move: Callable[[], None] = lambda: None
        self._note = note
        self._copies = {
            project.name: (project, WorkingCopy(project.name, paths.work, paths.projects))
            for project in projects_of(config)
        }
        self._moves = Moves(paths.state)
        self._lock = asyncio.Lock()
        self._news: list[str] = []
        self._failures: dict[str, str] = {}
        self._moved: set[str] = set()
        self._told = {name: asyncio.Event() for name in self._copies}

    @property
    def made(self) -> int:
        """How many directories of working copies this harness has made."""
        return sum(copy.made for _, copy in self._copies.values())

    @property
    def has_moved(self) -> bool:
        """Whether the agent is to be told of a move at once."""
        return bool(self._moved)

    async def run(self) -> None:
        """Make the working copies, and wait for moves that begin a turn, until cancelled."""
        await self.prepare()
        waking = [(project, copy) for project, copy in self._copies.values() if project.wake]
        async with asyncio.TaskGroup() as tasks:
            for project, copy in waking:
                tasks.create_task(self._watch(project, copy), name=f"project {project.name}")

    async def prepare(self) -> None:
        """Make the working copies that are missing; a failure is noted once, and tried again."""
        async with self._lock:
            for name, (_, copy) in self._copies.items():
                failure = ""
                try:
                    await copy.prepare()
                    await self._moves.learn(copy)
                except CopyError as error:
                    failure = str(error)
                    if failure != self._failures.get(name):
                        self._note(failure)
                self._failures[name] = failure

    async def news(self) -> list[str]:
        """Return sentences for the agent about its projects."""
        async with self._lock:
            failures = [failure for failure in self._failures.values() if failure]
            made, failed = list[WorkingCopy](), list[WorkingCopy]()
            for name, (_, copy) in self._copies.items():
                (failed if self._failures[name] else made).append(copy)
            await self._moves.pass_over(failed)  # the agent hears of the failure in this turn
            return [*failures, *self._news, *await self._moves.news(made)]

    def told(self) -> None:
        """Take note that the agent has been told of what `news` has returned last."""
        self._news.clear()
        self._moves.told()
        self._moved.clear()
        for told in self._told.values():
            told.set()  # there may have been another move since `news`

    async def reset(self, name: str, by: str) -> str:
        """Make the working copy of a project clean; the work in it is kept.

        Args:
            name: the project.
            by: the one who wants it.

        Returns:
            A sentence that says where the work is kept.

        Raises:
            CopyError: it cannot be reset, or the agent has no such project.
        """
        async with self._lock:
            if name not in self._copies:
                known = ", ".join(self._copies) or "none"
                raise CopyError(f"The agent has no project {name[:40]!r}. Its projects: {known}.")
            done = await self._copies[name][1].reset()
        self._news.append(f"The {by} has reset your working copy: {done}")
        return done

    async def keep_objects(self, names: list[str]) -> None:
        """Copy the objects that working copies borrow, and leave these copies alone afterwards.

        Args:
            names: the projects; those that the agent does not have are passed over.

        Raises:
            CopyError: they cannot be copied; the working copy borrows them still.
        """
        async with self._lock:
            for name in names:
                if name in self._copies:
                    await self._copies[name][1].keep_objects()
                    self._drop(name)

    def _drop(self, name: str) -> None:
        """Know a project no more; the harness ends soon, and a turn may begin before that."""
        del self._copies[name]
        self._failures.pop(name, None)
        self._moved.discard(name)
        self._told[name].set()

    async def _watch(self, project: Project, copy: WorkingCopy) -> None:
        """Tell `on_move` when the branch of a project moves, as long as the agent has it."""
        told = self._told[project.name]
        while project.name in self._copies:
            told.clear()
            try:
                # Anew each time: directories of branches come and go.
                with DirectoryWatch(*copy.references()) as watch:
                    if await self._moves.is_untold(copy) and project.name in self._copies:
                        self._moved.add(project.name)
                        self.on_move()
                    await _first(watch.change(), told.wait())
            except FileNotFoundError:
                if not copy.heads.is_dir():
                    log.warning("%s is missing, and is looked for after a turn", copy.heads)
                    await told.wait()
            except OSError as error:
                log.warning("%s cannot be watched: %s", copy.upstream, error.strerror or error)
                return


async def _first(*events: Coroutine[None, None, bool]) -> None:
    """Wait for one of `events`."""
    tasks = [asyncio.create_task(event) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
