"""Jobs that end while lifecycle restarts, or in a way that this version does not know."""

import asyncio
from dataclasses import replace

import pytest

from hivectl.clients.jobs import EndedJobs
from wire import names
from wire.errors import Conflict, Timeout
from wire.records.lifecycle import JobResult, ManagedObjects
from wire.signals import Signal

PATH = names.job_path(1)
REMOVED = Signal(
    sender=":1.7",
    path=names.LIFECYCLE_PATH,
    interface=names.LIFECYCLE,
    member="JobRemoved",
    args=[1, PATH, "alice", "start", "done", ""],
)


async def test_a_job_that_ends_during_the_check_is_not_lost() -> None:
    async def managed_objects() -> ManagedObjects:
        ended.on_removed(REMOVED)
        return ManagedObjects({}, {})

    ended = EndedJobs(managed_objects)
    ended.on_restart(":1.7")
    job = await ended.end_of(PATH, lambda: None, 10)
    assert job.result is JobResult.DONE


async def no_objects() -> ManagedObjects:
    return ManagedObjects({}, {})


@pytest.mark.parametrize("args", [[1, PATH, "alice", "start", "postponed", ""], [1, PATH, "done"]])
async def test_an_end_that_is_not_known_does_not_hang_the_command(args: list[object]) -> None:
    ended = EndedJobs(no_objects)
    ended.on_removed(replace(REMOVED, args=args))
    with pytest.raises(Conflict, match="different versions"):
        await ended.end_of(PATH, lambda: None, 10)


@pytest.mark.parametrize("early", [True, False])
async def test_the_job_is_announced_once_before_its_lines(early: bool) -> None:
    told: list[str] = []
    ended = EndedJobs(no_objects, told.extend)
    lines = replace(REMOVED, path=PATH, member="Output", args=[["a line"]])
    if early:
        ended.on_output(lines)
    waiting = asyncio.ensure_future(ended.end_of(PATH, lambda: told.append("starting …"), 10))
    await asyncio.sleep(0)
    if not early:
        ended.on_output(lines)
    ended.on_output(lines)
    ended.on_removed(REMOVED)
    await waiting
    assert told == ["starting …", "a line", "a line"]


async def test_the_unknown_end_of_another_job_is_ignored() -> None:
    ended = EndedJobs(no_objects)
    ended.on_removed(replace(REMOVED, args=[2, names.job_path(2), "bob", "hibernate", "done", ""]))
    with pytest.raises(Timeout):
        await ended.end_of(PATH, lambda: None, 0.1)
    ended.on_removed(REMOVED)
    assert (await ended.end_of(PATH, lambda: None, 10)).result is JobResult.DONE
