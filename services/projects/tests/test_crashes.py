"""The service is killed at any git command and at any row: the next start ends the work."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from git import Repo

from services.projects.repositories import GIT
from services.projects.store import Store
from services.projects.tests.conftest import LIMIT, Room
from services.quarantine import runner
from services.quarantine.tests.worktree import WorkTree
from wire.errors import HiveError, NotFound
from wire.records.projects import AddOptions, ProjectState

STRIDE = 2
"""Only every so many steps are tried: each run takes some tenths of a second."""


class KilledError(BaseException):
    """The process is gone."""


class Steps:
    """Counts the steps of a run, and kills the room at one of them."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal
        self.count = 0
        self.struck = asyncio.Event()

    def step(self) -> None:
        self.count += 1
        if self.struck.is_set() or self.count > self.fatal:
            self.struck.set()
            raise KilledError


@contextmanager
def killed_at(steps: Steps) -> Iterator[None]:
    """Let each row that is written, and each end of a git, be a step."""
    with pytest.MonkeyPatch.context() as patched:
        talk, add, put, delete = runner.communicate, Store.add, Store.put, Store.delete

        async def communicate(*arguments: Any) -> Any:
            steps.step()
            return await talk(*arguments)

        def before(change: Callable[..., None]) -> Callable[..., None]:
            def changed(*arguments: Any) -> None:
                steps.step()
                change(*arguments)

            return changed

        patched.setattr(runner, "communicate", communicate)
        patched.setattr(Store, "add", before(add))
        patched.setattr(Store, "put", before(put))
        patched.setattr(Store, "delete", before(delete))
        yield


async def run(room: Room, steps: Steps, story: Callable[[], Awaitable[None]]) -> None:
    """Tell a story until its end, or until the room is killed."""

    async def told() -> None:
        with suppress(KilledError, HiveError):
            await story()

    telling = asyncio.ensure_future(told())
    dying = asyncio.ensure_future(steps.struck.wait())
    async with asyncio.timeout(LIMIT):
        await asyncio.wait({telling, dying}, return_when=asyncio.FIRST_COMPLETED)
    for task in (telling, dying):
        task.cancel()
    await asyncio.wait({telling, dying})
    await room.fetches.close()
    room.store.close()


@pytest.fixture(autouse=True)
async def quiet() -> None:
    """Do not report the tasks of a killed room."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)


async def test_a_kill_at_any_step_ends_with_the_project_fetched(
    tmp_path: Path, upstream: WorkTree
) -> None:
    tip = upstream.git("rev-parse", "main")
    for fatal in itertools.count(0, STRIDE):
        room = _room(tmp_path, fatal)
        await room.start()
        steps = Steps(fatal)
        with killed_at(steps):
            await run(room, steps, partial(_add, room, upstream))
        await room.start()
        try:
            known = [row.name for row in room.store.all()]
            if known:
                found = await room.settled("website")
                assert (found.state, found.commit) == (ProjectState.READY, tip), fatal
            _check_directories(room, known)
        finally:
            await room.stop()
        if not steps.struck.is_set():
            break
    assert fatal > 3 * STRIDE, "several steps were tried"


async def test_a_kill_at_any_step_of_a_removal_ends_with_nothing_left(
    tmp_path: Path, upstream: WorkTree
) -> None:
    for fatal in itertools.count():
        room = _room(tmp_path, fatal)
        await room.start()
        await _add(room, upstream)
        steps = Steps(fatal)
        with killed_at(steps):
            await run(room, steps, partial(room.projects.remove, "website"))
        await room.start()
        try:
            if fatal:
                with pytest.raises(NotFound):
                    room.store.get("website")
            _check_directories(room, [row.name for row in room.store.all()])
        finally:
            await room.stop()
        if not steps.struck.is_set():
            break
    assert fatal == 2, "the row says that it is removed, and is deleted"


def _room(tmp_path: Path, fatal: int) -> Room:
    folder = tmp_path / f"run{fatal}"
    folder.mkdir()
    return Room(folder / "projects")


async def _add(room: Room, upstream: WorkTree) -> None:
    await room.projects.add("website", str(upstream.path), AddOptions())
    await room.settled("website")


def _check_directories(room: Room, known: list[str]) -> None:
    folders = {path.name for path in room.root.iterdir() if path.is_dir()}
    assert folders == set(known), "nothing unfinished is left"


async def test_the_leavings_of_a_killed_git_are_removed(room: Room, upstream: WorkTree) -> None:
    await room.added("website", str(upstream.path))
    home = room.root / "website" / GIT
    left = [
        home / "packed-refs.lock",
        home / "refs/heads/main.lock",
        home / "objects/pack/tmp_pack_x",
        home / "shallow.lock",
    ]
    await room.stop()
    for path in left:
        path.touch()
    await room.start()
    assert [path for path in left if path.exists()] == []
    upstream.commit({"README": "two\n"})
    assert (await room.fetched("website")).state is ProjectState.READY


async def test_a_git_that_is_killed_alone_does_not_lock_the_next_one_out(
    room: Room, upstream: WorkTree
) -> None:
    await room.added("website", str(upstream.path))
    for name in ("packed-refs.lock", "refs/heads/main.lock", "shallow.lock"):
        (room.root / "website" / GIT / name).touch()
    tip = upstream.commit({"README": "two\n"})
    assert (await room.fetched("website")).commit == tip


async def test_a_fetch_that_was_wanted_is_done_after_a_restart(
    room: Room, upstream: WorkTree
) -> None:
    await room.added("website", str(upstream.path))
    tip = upstream.commit({"README": "two\n"})
    room.projects.fetch("website")
    await room.stop()
    await room.start()
    assert (await room.settled("website")).commit == tip


async def test_a_repository_that_is_missing_is_fetched_again(
    room: Room, upstream: WorkTree
) -> None:
    tip = (await room.added("website", str(upstream.path))).commit
    await room.added("own", "")
    await room.repositories.remove("website")
    away = room.root.parent / "away"
    (room.root / "own").rename(away)
    await room.stop()
    await room.start()
    assert (await room.settled("website")).commit == tip
    own = room.store.get("own")
    assert own.state is ProjectState.FAILED
    assert "is missing. Restore it from a backup" in own.message
    away.rename(room.root / "own")
    await room.stop()
    await room.start()
    assert room.state("own") is ProjectState.READY
    with Repo(room.root / "own" / GIT) as repo:
        assert repo.head.reference.name == "main"


async def test_a_directory_of_no_project_is_left_alone(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await room.stop()
    (room.root / "restored" / GIT).mkdir(parents=True)
    await room.start()
    assert (room.root / "restored" / GIT).is_dir()
    assert "restored belongs to no project" in caplog.text
