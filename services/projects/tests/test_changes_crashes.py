"""The service is killed at any git command and any row of a change: nothing is half submitted."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from git import Repo

from services.projects.changes.store import NewRevision, Store
from services.projects.repositories import GIT
from services.projects.tests.conftest import LIMIT
from services.projects.tests.room_of_changes import ChangesRoom
from services.projects.tests.test_crashes import KilledError, Steps
from services.quarantine import runner
from services.quarantine.tests.worktree import WorkTree
from wire.errors import HiveError
from wire.records.changes import ChangeState

STRIDES = pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.long)])
"""Only every so many steps are tried: each run takes some tenths of a second."""

Story = Callable[[], Awaitable[object]]


@contextmanager
def killed_at(steps: Steps) -> Iterator[None]:
    """Let each change of the store, before it and after it, and each end of a git, be a step."""
    with pytest.MonkeyPatch.context() as patched:
        talk, transaction = runner.communicate, Store._transaction

        async def communicate(*arguments: Any) -> Any:
            steps.step()
            return await talk(*arguments)

        @contextmanager
        def stepping(store: Store) -> Iterator[None]:
            steps.step()
            with transaction(store):
                yield
            steps.step()

        def started(store: Store) -> AbstractContextManager[None]:
            return stepping(store)

        patched.setattr(runner, "communicate", communicate)
        patched.setattr(Store, "_transaction", started)
        yield


async def run(room: ChangesRoom, steps: Steps, story: Story) -> None:
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
    with suppress(KilledError, asyncio.CancelledError):
        await room.rules.close()
    await room.fetches.close()
    room.change_store.close()
    room.store.close()


@pytest.fixture(autouse=True)
async def quiet() -> None:
    """Do not report the tasks of a killed room."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)


def check_agreement(room: ChangesRoom) -> None:
    """Check that rows and references say the same, and that nothing is half done."""
    assert room.change_store.unrecorded() == []
    rows = {
        f"refs/changes/{one.change}/{one.number}": one.commit
        for change in room.change_store.find()
        for one in room.change_store.revisions(change.id)
    }
    with Repo(room.root / "website" / GIT) as repo:
        refs = {ref.path: ref.commit.hexsha for ref in repo.refs}
    assert {name: sha for name, sha in refs.items() if name.startswith("refs/changes/")} == rows


@STRIDES
async def test_a_kill_at_any_step_of_a_submission_leaves_all_or_nothing(
    tmp_path: Path, upstream: WorkTree, stride: int
) -> None:
    for fatal in itertools.count(stride // 2, stride):
        folder = tmp_path / f"run{fatal}"
        folder.mkdir()
        room = ChangesRoom(folder / "projects")
        await room.start()
        await room.added("website", str(upstream.path))
        alice = room.copy("alice", "website")
        old = await room.submitted("alice", alice.commit({"page": "one\n"}))
        commit = alice.commit({"page": "two\n"})
        steps = Steps(fatal)
        with killed_at(steps):
            await run(room, steps, partial(room.submitted, "alice", commit, replaces=old))
        await room.start()
        try:
            check_agreement(room)
            # The agent had no answer: it submits again, and there is one change.
            replaced = room.change_store.get(old).state is ChangeState.SUPERSEDED
            options: dict[str, Any] = {} if replaced else {"replaces": old}
            number = await room.submitted("alice", commit, **options)
            check_agreement(room)
            assert [row.id for row in room.change_store.alive()] == [number], fatal
        finally:
            await room.stop()
        if not steps.struck.is_set():
            break
    assert fatal > 2 * stride, "several steps were tried"


@STRIDES
async def test_a_kill_at_any_step_of_an_update_leaves_a_whole_revision(
    tmp_path: Path, upstream: WorkTree, stride: int
) -> None:
    for fatal in itertools.count(stride // 2, stride):
        folder = tmp_path / f"run{fatal}"
        folder.mkdir()
        room = ChangesRoom(folder / "projects")
        await room.start()
        await room.added("website", str(upstream.path))
        alice = room.copy("alice", "website")
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        room.change_store.move(number, ChangeState.CHANGES_REQUESTED, 1)
        commit = alice.commit({"page": "two\n"})
        steps = Steps(fatal)
        with killed_at(steps):
            await run(room, steps, partial(room.rules.update, "alice", number, commit, "new"))
        await room.start()
        try:
            check_agreement(room)
            row, newest = room.change_store.get(number), room.change_store.revision(number)
            done = newest.commit == commit
            assert (row.state is ChangeState.OPEN) == done, fatal
            if not done:
                await room.rules.update("alice", number, commit, "new")
                newest = room.change_store.revision(number)
            assert (newest.commit, newest.note) == (commit, "new")
            check_agreement(room)
        finally:
            await room.stop()
        if not steps.struck.is_set():
            break
    assert fatal > 2 * stride, "several steps were tried"


async def test_a_project_that_was_removed_in_between(tmp_path: Path, upstream: WorkTree) -> None:
    room = ChangesRoom(tmp_path / "projects")
    await room.start()
    await room.added("website", str(upstream.path))
    alice = room.copy("alice", "website")
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    room.projects.on_deleted = lambda name: None
    await room.projects.remove("website")
    await room.stop()
    await room.start()
    assert room.change_store.get(number).state is ChangeState.WITHDRAWN
    await room.stop()


async def test_a_number_of_a_revision_is_used_once(tmp_path: Path, upstream: WorkTree) -> None:
    room = ChangesRoom(tmp_path / "projects")
    await room.start()
    await room.added("website", str(upstream.path))
    alice = room.copy("alice", "website")
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    room.change_store.add_revision(number, NewRevision("a" * 40, "", 1, "", ()))
    await room.stop()
    await room.start()
    assert await room.rules.update("alice", number, alice.commit({"page": "two\n"}), "") == 3
    check_agreement(room)
    await room.stop()


async def test_a_revision_whose_reference_exists_is_kept(
    tmp_path: Path, upstream: WorkTree
) -> None:
    room = ChangesRoom(tmp_path / "projects")
    await room.start()
    await room.added("website", str(upstream.path))
    alice = room.copy("alice", "website")
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    room.change_store.move(number, ChangeState.CHANGES_REQUESTED, 1)
    commit = alice.commit({"page": "two\n"})
    with pytest.MonkeyPatch.context() as patched:

        def killed(*_arguments: object) -> None:
            raise KilledError

        patched.setattr(Store, "record", killed)
        with pytest.raises(KilledError):
            await room.rules.update("alice", number, commit, "new")
    await room.stop()
    await room.start()
    check_agreement(room)
    assert room.change_store.revision(number).commit == commit
    assert room.change_store.get(number).state is ChangeState.OPEN
    await room.stop()


async def test_a_damaged_repository_keeps_no_other_change_from_being_recorded(
    tmp_path: Path, upstream: WorkTree, caplog: pytest.LogCaptureFixture
) -> None:
    room = ChangesRoom(tmp_path / "projects")
    await room.start()
    commits = []
    for project in ("damaged", "website"):
        await room.added(project, str(upstream.path))
        copy = room.copy("alice", project)
        number = await room.submitted("alice", copy.commit({"page": "one\n"}), project=project)
        commits.append(copy.commit({"page": "two\n"}))
        revision = NewRevision(commits[-1], "", 1, "", ())
        room.change_store.add_revision(number, revision)
        taken = await room.submissions.take(project, "alice", commits[-1], "main")
        await room.submissions.pin(project, number, 2, taken.commit)
    await room.stop()
    head = room.root / "damaged" / GIT / "HEAD"
    good = head.read_text()
    head.write_text("nothing")
    await room.start()
    assert room.change_store.revision(2).commit == commits[1]
    assert "c1 of damaged stays unfinished, as its repository cannot be read" in caplog.text
    assert [one.change for one in room.change_store.unrecorded()] == [1]
    await room.stop()
    head.write_text(good)
    await room.start()
    assert room.change_store.revision(1).commit == commits[0]
    await room.stop()
