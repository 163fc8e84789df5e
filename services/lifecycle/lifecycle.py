"""The rules: which agents there are, what may be done to them, and what their ends mean."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

from services.lifecycle import uidrange
from services.lifecycle.agent import Agent, State, UnitStatus, check_name, check_options
from services.lifecycle.backends import Backend
from services.lifecycle.courier import Broker, Courier
from services.lifecycle.crash import Crash, crash_of
from services.lifecycle.jobs import Job, JobObserver, Jobs, Verb
from services.lifecycle.registry import Notice, Phase, Record, Registry
from wire import names
from wire.errors import AccessDenied, AlreadyExists, HiveError, InvalidArgument, NotFound
from wire.principal import Principal

log = logging.getLogger(__name__)

SPAWNED: Final = "spawned"

MAX_LOG_LINES: Final = 200


class Observer(JobObserver, Protocol):
    """Who is told of everything that changes (the D-Bus side)."""

    def agent_added(self, agent: Agent) -> None:
        """There is a new agent."""

    def agent_removed(self, agent: Agent) -> None:
        """It is gone."""

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """These attributes of it have new values."""

    def agent_crashed(self, agent: Agent, crash: Crash) -> None:
        """Its container ended, and no job of ours explains it."""


class Lifecycle:
    """All agents of the hive. Owns the task that follows what systemd says of their containers."""

    def __init__(
        self, registry: Registry, backend: Backend, broker: Broker, observer: Observer
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._broker = broker
        self._observer = observer
        self._agents: dict[str, Agent] = {}
        self._records: dict[str, Record] = {}
        self._jobs = Jobs(observer)
        self._courier = Courier(registry, broker, lambda: tuple(self._agents))
        self._news: asyncio.Queue[tuple[str, UnitStatus]] = asyncio.Queue()
        self._following: asyncio.Task[None] | None = None
        self._boot = ""
        self._adopting = True

    @property
    def agents(self) -> Iterable[Agent]:
        """The agents that there are."""
        return self._agents.values()

    async def start(self) -> None:
        """Adopt what runs, notice what ended meanwhile, finish what was half done, and start what
        should run. Returns when the agents are known; the jobs go on.
        """
        await self._backend.watch(lambda name, status: self._news.put_nowait((name, status)))
        self._boot = await self._backend.boot()
        self._following = asyncio.create_task(self._follow(), name="follow-containers")
        records = [r for r in self._registry.records() if r.phase is not Phase.KEPT]
        for record in records:
            if record.boot != self._boot:
                record.seen = ""  # the whole host went down, that is no crash
            self._add(record)
        for record in records:
            await self._refresh(record.name)
        self._adopting = False
        self._courier.start()
        for record in records:
            self._resume(record)

    async def stop(self) -> None:
        """Let jobs end, then let go of everything; containers run on."""
        await self._jobs.drain()
        with contextlib.suppress(HiveError):  # the bus may be what is lost
            if await self._backend.host_is_stopping():
                for record in self._records.values():
                    self._excuse(record)
        await self._courier.stop()
        if self._following:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    def broker_appeared(self) -> None:
        """The broker's name has an owner (again)."""
        self._courier.broker_appeared()

    def spawn(self, name: str, options: Mapping[str, object]) -> Job:
        """Order a new agent. Raises InvalidArgument, AlreadyExists, Conflict."""
        check_name(name)
        model = check_options(options)
        job = self._jobs.of(name)
        if name in self._agents and not (job and job.verb is Verb.SPAWN):
            raise AlreadyExists(f"There is an agent {name} already; choose another name.")
        return self._jobs.submit(name, Verb.SPAWN, lambda: self._spawn(name, model), model)

    def destroy(self, name: str, purge: bool) -> Job:
        """Order the end of an agent; its data and uid range are kept unless `purge`.

        Raises NotFound (also for one whose kept data is not to be purged), Conflict.
        """
        record = self._records.get(name) or self._registry.find(name)
        if record is None:
            raise self._unknown(name)
        if record.phase is Phase.KEPT and not purge:
            raise NotFound(
                f"{name} is destroyed already and its data is kept; destroy it with purge to "
                "remove that, or spawn it again to use it."
            )
        return self._jobs.submit(name, Verb.DESTROY, lambda: self._destroy(record, purge), purge)

    def order(self, verb: Verb, name: str) -> Job:
        """Start, stop or restart an agent. Raises NotFound, Conflict."""
        agent = self._agent(name)
        work: Mapping[Verb, Callable[[Agent], Awaitable[None]]] = {
            Verb.START: self._start,
            Verb.STOP: self._stop,
            Verb.RESTART: self._restart,
        }
        return self._jobs.submit(name, verb, lambda: work[verb](agent))

    def report(self, principal: Principal, name: str, report: Mapping[str, object]) -> None:
        """Note what the harness of `name` says of itself.

        Raises AccessDenied for anybody else, InvalidArgument for what is no report.
        """
        if not (principal.is_agent and principal.name == name):
            raise AccessDenied(f"Only {name} itself may report for {name}.")
        self._agent(name).report(report)

    async def logs(self, name: str, lines: int) -> list[str]:
        """The newest `lines` lines (1 to MAX_LOG_LINES) that the host logged about an agent.

        Raises NotFound, InvalidArgument, and Unavailable when there is no journal to read.
        """
        agent = self._agent(name)
        if not 1 <= lines <= MAX_LOG_LINES:
            raise InvalidArgument(f"GetLogs shows 1 to {MAX_LOG_LINES} lines, not {lines}.")
        return await self._backend.logs(agent.name, lines)

    # The jobs

    async def _spawn(self, name: str, model: str) -> None:
        record, had_data = self._claim(name, model)
        self._registry.save(record)
        agent = self._add(record)
        try:
            await self._backend.configure(record.spec)
            await self._broker.register(name)
            await self._backend.start(record.spec)
            await self._refresh(name)
        except Exception:
            await self._undo(record, purge=not had_data)
            raise
        record.enter(Phase.PRESENT)
        notice = None
        if name != names.MANAGER:
            key = f"{SPAWNED}:{name}:{agent.unit_status.invocation}"
            notice = Notice(SPAWNED, f"The agent {name} was spawned and runs.", key)
        self._registry.save(record, notice)
        self._courier.wake()

    async def _undo(self, record: Record, *, purge: bool) -> None:
        try:
            await self._destroy(record, purge)
        except Exception:
            # The record says how far it came: the next start of lifecycle goes on with it.
            log.exception("half a spawn could not be undone", extra={"HIVE_AGENT": record.name})

    async def _destroy(self, record: Record, purge: bool) -> None:
        wanted = Phase.PURGING if purge else Phase.DESTROYING
        if record.phase is not wanted:
            record.enter(wanted)
        self._excuse(record)
        await self._backend.stop(record.name)
        await self._backend.destroy(record.spec, purge=purge)
        await self._broker.unregister(record.name)
        await self._remove(record.name)
        if purge:
            self._registry.remove(record.name)
        else:
            record.enter(Phase.KEPT)
            record.seen = ""
            self._registry.save(record)

    async def _start(self, agent: Agent) -> None:
        self._want(agent, enabled=True)
        if not agent.unit_status.up:
            await self._bring_up(agent)

    async def _stop(self, agent: Agent) -> None:
        self._want(agent, enabled=False)
        await self._take_down(agent)

    async def _restart(self, agent: Agent) -> None:
        self._want(agent, enabled=True)
        await self._take_down(agent)
        await self._bring_up(agent)

    async def _bring_up(self, agent: Agent) -> None:
        try:
            await self._backend.configure(agent.spec)
            await self._backend.start(agent.spec)
        except Exception:
            # Or systemd would go on trying what was just answered as failed.
            await self._take_down(agent)
            raise
        await self._refresh(agent.name)

    async def _take_down(self, agent: Agent) -> None:
        self._excuse(self._records[agent.name])
        await self._backend.stop(agent.name)
        await self._refresh(agent.name)

    # What systemd says

    async def _refresh(self, name: str) -> None:
        """Ask systemd, and return when everything it said until now is dealt with."""
        self._news.put_nowait((name, await self._backend.status(name)))
        await self._news.join()

    async def _follow(self) -> None:
        while True:
            name, status = await self._news.get()
            try:
                if name in self._agents:
                    await self._take(self._agents[name], self._records[name], status)
            except Exception:
                # One container that cannot be dealt with must not hide the others.
                log.exception("news of a container were lost", extra={"HIVE_AGENT": name})
            finally:
                self._news.task_done()

    async def _take(self, agent: Agent, record: Record, status: UnitStatus) -> None:
        job = self._adopting or self._jobs.of(agent.name) is not None
        restarting = agent.state in (State.STARTING, State.STOPPED)
        if status.state is State.FAILED and restarting and not job:
            # systemd passes through `failed` on its way to every restart: only what it says
            # afterwards tells whether it gave up.
            status = await self._backend.status(agent.name)
        crash = crash_of(record, agent.state, status, job=job)
        if crash and crash.clean and await self._backend.host_is_stopping():
            crash = None
        before = (record.seen, record.boot)
        if status.up:
            record.seen, record.boot = status.invocation, self._boot
        elif status.settled:
            record.seen = ""
        if crash or before != (record.seen, record.boot):
            self._registry.save(record, crash.notice if crash else None)
        if crash:
            self._courier.wake()
            log.warning(crash.notice.body, extra={"HIVE_AGENT": agent.name})
            self._observer.agent_crashed(agent, crash)
        ended = status.state is State.STOPPED and agent.state is not State.STOPPED
        agent.set_unit_status(status)
        if ended and not job:
            await self._backend.ended(agent.name)

    # What is remembered

    def _claim(self, name: str, model: str) -> tuple[Record, bool]:
        """A record for a new agent, and whether data of an earlier one waits for it."""
        record = self._registry.find(name)
        kept = self._backend.kept_uid(name)
        if record is None:
            taken = [*self._backend.taken_uids(), *self._claimed_uids()]
            free = kept is not None and not any(kept in used for used in taken)
            base = kept if kept is not None and free else uidrange.choose(name, taken)
            return Record(name, base, model=model), kept is not None
        if record.phase is Phase.KEPT:
            record.enter(Phase.CREATING)
        record.model, record.enabled, record.seen = model or record.model, True, ""
        return record, True

    def _claimed_uids(self) -> list[range]:
        records = self._registry.records()
        return [range(record.uid_base, record.uid_base + uidrange.SIZE) for record in records]

    def _resume(self, record: Record) -> None:
        """Go on with `record` as it was left."""
        status = self._agents[record.name].unit_status
        if record.phase is Phase.PRESENT:
            if record.enabled and not status.up:
                self.order(Verb.START, record.name)
        else:
            self.destroy(record.name, record.phase is Phase.PURGING)

    def _excuse(self, record: Record) -> None:
        """What ends now ends by us."""
        agent = self._agents.get(record.name)
        record.excused = record.seen or (agent.unit_status.invocation if agent else "")
        self._registry.save(record)

    def _want(self, agent: Agent, *, enabled: bool) -> None:
        record = self._records[agent.name]
        record.enabled = enabled
        self._registry.save(record)
        agent.set_enabled(enabled)

    def _add(self, record: Record) -> Agent:
        agent = Agent(record.spec, self._backend.unit(record.name), enabled=record.enabled)
        agent.announce = self._observer.agent_changed
        self._agents[record.name] = agent
        self._records[record.name] = record
        self._observer.agent_added(agent)
        return agent

    async def _remove(self, name: str) -> None:
        await self._backend.forget(name)
        self._records.pop(name, None)
        if agent := self._agents.pop(name, None):
            self._observer.agent_removed(agent)

    def _agent(self, name: str) -> Agent:
        agent = self._agents.get(name)
        if agent is None:
            raise self._unknown(name)
        return agent

    def _unknown(self, name: str) -> NotFound:
        known = ", ".join(sorted(self._agents)) or "none"
        return NotFound(f"There is no agent {name!r}; there are: {known}.")
