"""The jobs of lifecycle, and how they end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from wire import names
from wire.bus import Bus
from wire.clients.lifecycle import JobClient, LifecycleClient
from wire.errors import HiveError, NotFound, Timeout, Unavailable
from wire.records import decode
from wire.records.lifecycle import JobProperties, JobRemoved, ManagedObjects
from wire.signals import Signal

MOST_LINES: Final = 200
"""The lines of one signal that are kept of a job that nobody waits for yet."""


class Jobs:
    """The jobs of a hive."""

    def __init__(self, bus: Bus, lifecycle: LifecycleClient) -> None:
        self._bus = bus
        self._lifecycle = lifecycle

    async def of(self, agent: str) -> JobProperties | None:
        """Return the queued or running job of an agent, None if it has none."""
        for job in (await self._lifecycle.managed_objects()).jobs.values():
            if job.agent == agent:
                return job
        return None

    async def cancel(self, number: int) -> None:
        """Cancel a job and undo what it did.

        Raises:
            NotFound: there is no such job, or it has ended.
        """
        try:
            await JobClient(self._bus, names.job_path(number)).cancel()
        except NotFound as error:
            raise NotFound(f"Job {number} does not exist, or has ended.") from error

    @asynccontextmanager
    async def watch(
        self, output: Callable[[list[str]], None] = lambda _lines: None
    ) -> AsyncIterator["EndedJobs"]:
        """Watch how jobs end.

        Enter the context *before* the call that starts a job: a quick end is missed otherwise.

        Args:
            output: gets the lines that the job prints while its end is waited for, such as those of
                a build.
        """
        ended = EndedJobs(self._lifecycle.managed_objects, output)
        printed = await self._bus.on_signal(
            ended.on_output,
            sender=names.LIFECYCLE,
            interface=names.JOB_INTERFACE,
            member="Output",
        )
        removed = await self._bus.on_signal(
            ended.on_removed,
            sender=names.LIFECYCLE,
            interface=names.LIFECYCLE,
            member="JobRemoved",
        )
        try:
            owner = await self._bus.on_owner(names.LIFECYCLE, came=ended.on_restart)
            try:
                yield ended
            finally:
                await owner.close()
        finally:
            await removed.close()
            await printed.close()


class EndedJobs:
    """The ends of jobs since the watch began.

    A job outlives lifecycle: when lifecycle is killed, the next one continues the job.
    """

    def __init__(
        self,
        managed_objects: Callable[[], Awaitable[ManagedObjects]],
        output: Callable[[list[str]], None] = lambda _lines: None,
    ) -> None:
        """Watch.

        Args:
            managed_objects: returns the agents and jobs that lifecycle has now.
            output: gets the lines that the job prints whose end is waited for.
        """
        self._managed_objects = managed_objects
        self._output = output
        self._printed: dict[str, list[str]] = {}
        """The lines of jobs before their ends are waited for."""
        self._path = ""
        """The job whose end is waited for."""
        self._announce: Callable[[], None] | None = None
        """Says which job is waited for; None after that."""
        self._ended: dict[str, JobRemoved] = {}
        self._unreadable: list[tuple[Signal, HiveError]] = []
        """The signals of a lifecycle of another version."""
        self._restarted = False
        self._changed = asyncio.Event()

    def on_removed(self, signal: Signal) -> None:
        """Keep how a job ended: the reply that names the job may still be on its way."""
        try:
            ended = decode(JobRemoved, signal.args)
        except HiveError as error:
            self._unreadable.append((signal, error))
        else:
            self._ended[ended.job] = ended
        self._changed.set()

    def on_output(self, signal: Signal) -> None:
        """Pass the lines of the job on; the reply that names the job may still be on its way."""
        [lines] = signal.args
        if signal.path == self._path:
            self._print(lines)
        else:
            self._printed.setdefault(signal.path, []).extend(lines[:MOST_LINES])

    def on_restart(self, _owner: str) -> None:
        """Note that lifecycle started again."""
        self._restarted = True
        self._changed.set()

    async def end_of(self, path: str, announce: Callable[[], None], seconds: float) -> JobRemoved:
        """Wait for the end of the job at `path`.

        `announce` is called once: before the first line that the job prints, or when the job has
        taken a second. It is not called for a quick job without lines.

        Raises:
            Timeout: the job has not ended after `seconds`.
            Unavailable: the job ended while lifecycle was not running.
            Conflict: lifecycle is of another version, and the result is not known to this one.
        """
        self._path, self._announce = path, announce
        if early := self._printed.pop(path, []):
            self._print(early)
        ending = asyncio.ensure_future(self._wait(path))
        try:
            async with asyncio.timeout(seconds):
                done, _ = await asyncio.wait({ending}, timeout=1.0)
                if not done:
                    self._announced()
                return await ending
        except TimeoutError:
            number = path.rpartition("/")[2]
            raise Timeout(
                f"Job {number} still runs after {seconds:g} s, and continues. `hivectl logs NAME "
                f"--unit jobs` shows its progress; `hivectl cancel-job {number}` cancels it."
            ) from None
        finally:
            ending.cancel()

    def _print(self, lines: list[str]) -> None:
        self._announced()
        self._output(lines)

    def _announced(self) -> None:
        announce, self._announce = self._announce, None
        if announce:
            announce()

    async def _wait(self, path: str) -> JobRemoved:
        while path not in self._ended:
            for signal, error in self._unreadable:
                if path in signal.args:
                    raise error
            await self._changed.wait()
            self._changed.clear()
            if self._restarted:
                self._restarted = False
                await self._check(path)
        return self._ended[path]

    async def _check(self, path: str) -> None:
        """Raise Unavailable if the lifecycle that started again does not continue the job."""
        continued = (await self._managed_objects()).jobs
        if path not in continued and path not in self._ended:
            raise Unavailable(
                "hive-lifecycle was killed when the job ended, and the result is unknown. `hivectl "
                "list` shows the state of the agent."
            )
