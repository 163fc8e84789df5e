"""Jobs that end while lifecycle restarts."""

from hivectl.clients.jobs import EndedJobs
from wire import names
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
