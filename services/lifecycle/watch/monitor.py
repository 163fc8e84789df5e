"""The monitor of all containers: notes what systemd reports, and recognizes crashes."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from services.lifecycle.agents.agent import Agent, UnitStatus
from services.lifecycle.agents.record import Record
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.start import CRASH, SYSTEM, Start
from services.lifecycle.agents.turn import now
from services.lifecycle.backends.backend import Backend
from services.lifecycle.notices.crash import Crash, crash_of
from services.tasks import Tasks
from wire.errors import HiveError
from wire.records.lifecycle import AgentState

log = logging.getLogger(__name__)

LAST_LINES: Final = 20
"""The log lines in the message about a container that systemd no longer restarts."""


class Monitor:
    """Handles the status changes of all containers in their order. Owns one task."""

    def __init__(
        self,
        roster: Roster,
        backend: Backend,
        busy: Callable[[str], bool],
        notice_added: Callable[[], None],
    ) -> None:
        """Do nothing before `start`.

        Args:
            roster: the agents.
            backend: the containers.
            busy: returns whether an agent has a job.
            notice_added: is called when the store has a new message.
        """
        self._roster = roster
        self._backend = backend
        self._busy = busy
        self._notice_added = notice_added
        self._changes: asyncio.Queue[tuple[str, UnitStatus]] = asyncio.Queue()
        self._tasks = Tasks()
        self._boot = ""

    async def start(self) -> str:
        """Begin, and return the identifier of the host's current boot."""
        await self._backend.watch(lambda name, status: self._changes.put_nowait((name, status)))
        self._boot = await self._backend.boot()
        self._tasks.start_detached(self._run(), "monitor")
        return self._boot

    async def stop(self) -> None:
        """End the task."""
        await self._tasks.cancel()

    async def refresh(self, name: str) -> None:
        """Ask systemd for the current status, and wait until that and all before is handled."""
        self._changes.put_nowait((name, await self._backend.status(name)))
        await self.settle()

    async def settle(self) -> None:
        """Wait until all changes that systemd has reported so far are handled."""
        await self._changes.join()

    async def _run(self) -> None:
        roster = self._roster
        while True:
            name, status = await self._changes.get()
            try:
                if name in roster.agents:
                    await self._handle(roster.agents[name], roster.records[name], status)
            except Exception:
                # A failure with one container must not hide the others.
                log.exception("a status change was lost", extra={"HIVE_AGENT": name})
            finally:
                self._changes.task_done()

    async def _handle(self, agent: Agent, record: Record, status: UnitStatus) -> None:
        job, was = self._busy(agent.name), agent.unit_status.state
        # The init of a killed systemd-nspawn outlives it, so that crash is reported while the
        # unit is still stopping.
        reported = was is AgentState.STOPPING and not record.seen
        restarting = reported or was in (AgentState.STARTING, AgentState.STOPPED)
        if status.state is AgentState.FAILED and restarting and not job:
            # systemd passes through `failed` on its way to every restart. Only its next status
            # shows whether it gave up.
            status = await self._backend.status(agent.name)
        crash = crash_of(record, was, status, job=job)
        if crash and crash.clean and await self._backend.host_is_stopping():
            crash = None
        before = (record.seen, record.boot)
        if status.up:
            record.seen, record.boot = status.invocation, self._boot
        elif status.settled:
            record.seen = ""
        if crash or before != (record.seen, record.boot):
            notices = crash.notices(await self._last_lines(crash)) if crash else []
            self._roster.store.save(record, *notices)
        if crash:
            self._notice_added()
            log.warning(crash.sentence, extra={"HIVE_AGENT": agent.name})
            if not crash.clean:
                self._roster.set_crashes(agent.name, record.crashes.another(now()))
            self._roster.observer.agent_crashed(agent, crash)
            if not (crash.clean or crash.gave_up):
                await self._tell_agent(agent, crash)
        agent.set_unit_status(status)
        if not job:
            await self._clean_up(agent.name, was, status)

    async def _clean_up(self, name: str, was: AgentState, status: UnitStatus) -> None:
        """Stop the units that only served a container which ended without a job."""
        if status.state is AgentState.STOPPED and was is not AgentState.STOPPED:
            await self._backend.stop_endpoint(name)
        if was is AgentState.STARTING and status.overdue:
            # systemd would try for ever: each try takes longer than its start limit looks back.
            await self._backend.stop_restarting(name)

    async def _tell_agent(self, agent: Agent, crash: Crash) -> None:
        """Write the crash where the harness of the next container finds it: systemd starts it."""
        self._roster.set_started(agent.name, Start.now(CRASH, SYSTEM, crash.sentence))
        try:
            await self._backend.write_started(agent.spec)
        except (HiveError, OSError) as error:
            log.warning(
                "%s is not told of its crash: %s", agent.name, error,
                extra={"HIVE_AGENT": agent.name},
            )  # fmt: skip

    async def _last_lines(self, crash: Crash) -> list[str]:
        if not crash.gave_up:
            return []
        try:
            return await self._backend.logs(crash.name, LAST_LINES)
        except HiveError as error:
            return [f"(its log cannot be read: {error})"]
