"""As test_crashes.py, with the real git: the process is killed at its commands."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from services.approvals.git.meta import Meta
from services.approvals.git.repositories import Repositories
from services.approvals.tests.faults import Faults, Killed
from services.approvals.tests.room import memory
from services.approvals.tests.test_crashes import CONFIG, EMPTY, Story
from services.quarantine import runner
from services.quarantine.tests.worktree import WorkTree

STRIDE = 19
"""Only every so many steps are tried: with git each takes some milliseconds."""
PARTS = 8
"""The steps are spread over so many tests."""
QUICK = 1
"""The tests that are not long: they try an eighth of the steps."""


class RealStory(Story):
    """A room with real repositories below the directory of its store."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        root: Any = path.parent
        self.git: Any = Repositories(root, scratch=root)
        self.meta: Any = Meta(root)
        self._root = root
        self._trees: dict[str, WorkTree] = {}

    async def start(self) -> None:
        # A new process remembers nothing.
        self.git = Repositories(self._root, scratch=self._root)
        self.meta = Meta(self._root)
        await super().start()

    async def propose(self, agent: str, text: str) -> str:
        if agent not in self._trees:
            self._trees[agent] = WorkTree(self._root / "proposed" / agent)
        tree = self._trees[agent]
        main = await self.git.resolve(agent, "main")
        tree.pull(self._root / "applied" / agent, main)
        return tree.commit({"agent.toml": text})


@asynccontextmanager
async def _room(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealStory]:
    with TemporaryDirectory(dir=memory()) as directory, monkeypatch.context() as patched:
        room = RealStory(Path(directory) / "approvals.sqlite")
        patched.setattr(runner, "communicate", _faulty(room.faults))
        room.path.write_bytes(EMPTY)
        try:
            await room.start()
            await room.agent()
            yield room
        finally:
            room.close()


def _faulty(faults: Faults) -> Callable[..., Any]:
    talk = runner.communicate

    async def faulty(process: asyncio.subprocess.Process, *arguments: Any) -> Any:
        # Killed before it, git has begun, and is killed with us.
        async with faults.at("git"):
            return await talk(process, *arguments)

    return faulty


async def _all(room: RealStory) -> None:
    """Tell of a deploy, one that fails, and the way back."""
    await room.apply("alice", CONFIG)
    await room.settle("alice")
    room.lifecycle.endings["alice"] = ("failed", "No.")
    await room.apply("alice", CONFIG + "# more\n")
    await room.settle("alice")
    del room.lifecycle.endings["alice"]
    await room.ask(lambda: room.approvals.revert("operator", "alice", "deployed/0"))
    await room.settle("alice")
    await room.changed()
    await room.check()


@pytest.mark.parametrize(
    "part",
    [*range(QUICK), *(pytest.param(part, marks=pytest.mark.long) for part in range(QUICK, PARTS))],
)
async def test_a_kill_at_any_git_ends_in_agreement(
    monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    for number in itertools.count(part, PARTS):
        async with _room(monkeypatch) as room:
            room.faults.fails = Killed
            room.faults.fatal = fatal = len(room.faults.steps) + number * STRIDE
            try:
                await _all(room)
            except Exception as error:
                raise AssertionError(f"step {fatal}, {room.faults.steps[fatal]}") from error
            if not room.faults.struck:
                break  # there are fewer steps
    assert number >= PARTS, "at least one step of each part was tried"
