"""What systemd says of the containers, and what it means."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from services.lifecycle.agents.agent import Agent, State, UnitStatus
from services.lifecycle.agents.record import Record
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.watch.crash import Crash, crash_of
from wire.errors import HiveError

log = logging.getLogger(__name__)

LAST_LINES: Final = 20
"""Of its log, in the message about a container that does not come up again."""


class Monitor:
    """Owns the task that takes the news of all containers, one after the other."""

    def __init__(
        self,
        roster: Roster,
        backend: Backend,
        busy: Callable[[str], bool],
        told: Callable[[], None],
    ) -> None:
        """`busy`: whether a job is being done to an agent; `told`: there is a new notice."""
        self._roster = roster
        self._backend = backend
        self._busy = busy
        self._told = told
        self._news: asyncio.Queue[tuple[str, UnitStatus]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._boot = ""

    async def start(self) -> str:
        """Begin; answers what tells this boot of the host from others."""
        await self._backend.watch(lambda name, status: self._news.put_nowait((name, status)))
        self._boot = await self._backend.boot()
        self._task = asyncio.create_task(self._follow(), name="follow-containers")
        return self._boot

    async def stop(self) -> None:
        """End."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def refresh(self, name: str) -> None:
        """Ask systemd, and return when everything it said until now is dealt with."""
        self._news.put_nowait((name, await self._backend.status(name)))
        await self._news.join()

    async def _follow(self) -> None:
        roster = self._roster
        while True:
            name, status = await self._news.get()
            try:
                if name in roster.agents:
                    await self._take(roster.agents[name], roster.records[name], status)
            except Exception:
                # One container that cannot be dealt with must not hide the others.
                log.exception("news of a container were lost", extra={"HIVE_AGENT": name})
            finally:
                self._news.task_done()

    async def _take(self, agent: Agent, record: Record, status: UnitStatus) -> None:
        job, was = self._busy(agent.name), agent.unit_status.state
        # A killed systemd-nspawn leaves an init behind, so its crash is told while it is stopping.
        told = was is State.STOPPING and not record.seen
        restarting = told or was in (State.STARTING, State.STOPPED)
        if status.state is State.FAILED and restarting and not job:
            # systemd passes through `failed` on its way to every restart: only what it says
            # afterwards tells whether it gave up.
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
            self._told()
            log.warning(crash.sentence, extra={"HIVE_AGENT": agent.name})
            self._roster.observer.agent_crashed(agent, crash)
        agent.set_unit_status(status)
        if not job:
            await self._let_go(agent.name, was, status)

    async def _let_go(self, name: str, was: State, status: UnitStatus) -> None:
        """End what nobody has ordered and nobody needs."""
        if status.state is State.STOPPED and was is not State.STOPPED:
            await self._backend.stop_endpoint(name)
        if was is State.STARTING and status.overdue:
            # systemd would try again for ever: each try takes longer than its limit looks back.
            await self._backend.stop_restarting(name)

    async def _last_lines(self, crash: Crash) -> list[str]:
        if not crash.gave_up:
            return []
        try:
            return await self._backend.logs(crash.name, LAST_LINES)
        except HiveError as error:
            return [f"(its log cannot be read: {error})"]
