"""The rules: which agents there are, and what may be done to them."""

import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from services.config import LifecycleConfig
from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Agent, check_commit, check_name, check_options
from services.lifecycle.agents.network import Network
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.agents.roster import AgentObserver, Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.broker import Broker
from services.lifecycle.jobs.job import Job, Result, Verb
from services.lifecycle.jobs.rolling_update import RollingUpdate
from services.lifecycle.jobs.runner import JobObserver, JobRunner
from services.lifecycle.jobs.steps import Steps
from services.lifecycle.notices.deliverer import Deliverer
from services.lifecycle.notices.login import login_notices, update_notice
from services.lifecycle.notices.notice import Notice
from services.lifecycle.store import Store
from services.lifecycle.watch.auto_sleep import AutoSleep
from services.lifecycle.watch.monitor import Monitor
from services.lifecycle.watch.turns import Turns
from wire import names
from wire.errors import AccessDenied, AlreadyExists, Conflict, HiveError, InvalidArgument, NotFound
from wire.principal import Principal

log = logging.getLogger(__name__)

MAX_LOG_LINES: Final = 200


class Observer(JobObserver, AgentObserver, Protocol):
    """Who is told of everything that changes (the D-Bus side)."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is kept of a destroyed agent; `size` in bytes, `destroyed` in µs since 1970."""

    name: str
    size: int
    destroyed: int


class Lifecycle:
    """All agents of the hive."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        broker: Broker,
        observer: Observer,
        settings: LifecycleConfig,
        version: str = "",
    ) -> None:
        """`version`: of Hyperhive; containers that another one made are stale."""
        self._settings = settings
        self._store = store
        self._backend = backend
        self._roster = Roster(store, backend, observer, version)
        self._auto_sleep = AutoSleep(
            self._roster, broker, self._sleeps_after, self._of_itself, self._busy
        )
        self._rolling_update = RollingUpdate(
            self._roster, self._update_at_rest, self._busy, self._tell
        )
        turns = Turns(broker)
        self._roster.watchers += (
            self._auto_sleep.agent_changed,
            self._rolling_update.agent_changed,
            turns.agent_changed,
        )
        self._jobs = JobRunner(store, observer, self._job_ended)
        self._deliverer = Deliverer(store, broker, lambda: tuple(self._roster.agents))
        self._monitor = Monitor(self._roster, backend, self._busy, self._deliverer.wake)
        self._steps = Steps(
            self._roster, backend, broker, self._monitor, self._deliverer, self._auto_sleep, turns
        )
        self._version = version
        self._adopting = True

    @property
    def agents(self) -> Iterable[Agent]:
        """The agents that there are."""
        return self._roster.agents.values()

    async def start(self) -> None:
        """Adopt what runs, notice what ended meanwhile, go on with what was interrupted, and start
        what should run. Returns when the agents are known; the jobs go on.
        """
        await self._backend.probe()
        boot = await self._monitor.start()
        self._roster.give_ports(await self._backend.listening_ports())
        records = [r for r in self._store.records() if r.phase is not Phase.KEPT]
        for record in records:
            if record.boot != boot:
                record.seen = ""  # the whole host went down, that is no crash
            self._roster.add(record)
        self._roster.compare_ports()
        for record in records:
            await self._monitor.refresh(record.name)
            await self._limit_again(record)
        self._adopting = False
        self._tell_of_stale()
        self._deliverer.start()
        for job in self._store.jobs():
            self._jobs.resume(job, *self._steps.of[job.verb])
        for record in records:
            if self._jobs.of(record.name) is None:
                self._resume(record)
        await self._auto_sleep.start()
        if self._settings.create_manager and self._roster.find(names.MANAGER) is None:
            self._create_manager()
        if self._settings.auto_update:
            self._rolling_update.begin()

    async def stop(self) -> None:
        """Let jobs end, then let go of everything; containers run on."""
        self._rolling_update.stop()
        await self._auto_sleep.stop()
        await self._jobs.drain()
        with contextlib.suppress(HiveError):  # the bus may be what is lost
            if await self._backend.host_is_stopping():
                self._roster.excuse_all()
        await self._deliverer.stop()
        await self._monitor.stop()

    def broker_appeared(self) -> None:
        """The broker's name has an owner (again)."""
        self._deliverer.broker_appeared()
        self._auto_sleep.look()

    # Orders

    def spawn(self, name: str, options: Mapping[str, object]) -> Job:
        """Order a new agent. Raises InvalidArgument, AlreadyExists, Conflict."""
        check_name(name)
        wanted = check_options(options)
        job = self._jobs.of(name)
        if name in self._roster.agents and not (job and job.verb is Verb.SPAWN):
            raise AlreadyExists(f"There is an agent {name} already; choose another name.")
        return self._submit(name, Verb.SPAWN, wanted)

    def deploy(self, name: str, commit: str, options: Mapping[str, object]) -> Job:
        """Give an agent the configuration at `commit`, when its turn is over, or, with the option
        `now`, before. Raises NotFound, InvalidArgument, Conflict.
        """
        self._roster.agent(name)
        for key in sorted(options.keys() - {"now"}):
            raise InvalidArgument(f"Deploy has no option {key!r}; it may have: now.")
        now = options.get("now", False)
        if not isinstance(now, bool):
            raise InvalidArgument("now is a boolean.")
        return self._submit(name, Verb.DEPLOY, {"commit": check_commit(commit), "now": now})

    def hurry(self, number: int) -> None:
        """Have a deploy wait for no turn. Raises NotFound, Conflict for a job that never does."""
        job = self._jobs.find(number)
        if job.verb is not Verb.DEPLOY:
            raise Conflict(f"Job {number} waits for no turn: it is a {job.verb}.")
        self._steps.deploys.hurry(job)

    def destroy(self, name: str, purge: bool) -> Job:
        """Order the end of an agent; its data and uid range are kept unless `purge`.

        Raises NotFound (also for one whose kept data is not to be purged), Conflict.
        """
        record = self._roster.find(name)
        if record is None:
            raise self._roster.unknown(name)
        if record.phase is Phase.KEPT and not purge:
            raise NotFound(
                f"{name} is destroyed already and its data is kept; destroy it with purge to "
                "remove that, or spawn it again to use it."
            )
        return self._submit(name, Verb.DESTROY, {"purge": purge})

    def order(self, verb: Verb, name: str) -> Job:
        """Start, stop, restart, rebuild or update an agent. Raises NotFound, Conflict."""
        self._roster.agent(name)
        return self._submit(name, verb, {})

    def update_all(self) -> list[str]:
        """Update what is stale, one after the other, each when it is at rest; says who that is."""
        return self._rolling_update.begin()

    def cancel(self, number: int) -> None:
        """Undo a job. Raises NotFound, Conflict."""
        self._jobs.cancel(number)

    # What it uses

    async def set_resources(self, name: str, asked: Mapping[str, object]) -> None:
        """Change an agent's limits, at once and for good.

        Raises NotFound, InvalidArgument; Conflict while a job is being done to it.
        """
        agent = self._roster.agent(name)
        values = resources.checked(asked)
        if job := self._jobs.of(name):
            raise Conflict(f"{name} is busy (job {job.number}); ask again when that is over.")
        record = self._roster.records[name]
        record.resources = resources.merged(record.resources, values)
        self._store.save(record)
        agent.set_spec(record.spec)
        await self._backend.limit(record.spec)

    def resources(self, name: str) -> dict[str, int]:
        """The limits that hold for an agent; what has none is left out."""
        return self._backend.resources(self._roster.agent(name).spec)

    async def usage(self, name: str) -> dict[str, int]:
        """What an agent uses now; nothing when it does not run. Raises NotFound."""
        return await self._backend.usage(self._roster.agent(name).name)

    async def pause(self, name: str) -> None:
        """Give an agent no processor time. Raises NotFound, Conflict."""
        if not self._roster.agent(name).unit_status.up:
            raise Conflict(f"{name} does not run; there is nothing to pause.")
        await self._backend.pause(name)
        await self._monitor.refresh(name)

    async def resume(self, name: str) -> None:
        """Let a paused agent go on. Raises NotFound, Conflict."""
        agent = self._roster.agent(name)
        if agent.unit_status.up:
            await self._backend.resume(name)
            await self._monitor.refresh(name)

    def network(self, name: str) -> Network:
        """Whom an agent may talk to."""
        return self._backend.network(self._roster.agent(name).spec)

    def image(self, name: str) -> str:
        """What an agent's /usr comes from; / is the host."""
        return self._settings.image_of(name)

    async def _limit_again(self, record: Record) -> None:
        """What runs obeys the configuration as it is now."""
        if self._roster.agents[record.name].unit_status.up:
            try:
                await self._backend.limit(record.spec)
            except HiveError as error:
                log.error("%s runs on as before: %s", record.name, error)

    # Tombstones

    async def tombstones(self) -> list[Tombstone]:
        """What is kept of destroyed agents, by name."""
        kept = [r for r in self._store.records() if r.phase is Phase.KEPT]
        return [Tombstone(r.name, await self._backend.size(r.name), r.destroyed) for r in kept]

    def purge(self, name: str) -> Job:
        """Order that what is kept of a destroyed agent goes for good. Raises NotFound, Conflict."""
        if self._jobs.of(name) is None:
            self._roster.tombstone(name)
        return self._submit(name, Verb.PURGE, {})

    # Reports

    def report(self, principal: Principal, name: str, report: Mapping[str, object]) -> None:
        """Note what the harness of `name` says of itself.

        Raises AccessDenied for anybody else, InvalidArgument for what is no report.
        """
        if not (principal.is_agent and principal.name == name):
            raise AccessDenied(f"Only {name} itself may report for {name}.")
        agent = self._roster.agent(name)
        before = agent.turn_state
        agent.report(report)
        for notice in login_notices(agent, before):
            self._tell(notice)

    async def logs(self, name: str, lines: int) -> list[str]:
        """The newest `lines` lines (1 to MAX_LOG_LINES) that the host logged about an agent.

        Raises NotFound, InvalidArgument, and Unavailable when there is no journal to read.
        """
        agent = self._roster.agent(name)
        if not 1 <= lines <= MAX_LOG_LINES:
            raise InvalidArgument(f"GetLogs shows 1 to {MAX_LOG_LINES} lines, not {lines}.")
        return await self._backend.logs(agent.name, lines)

    def _submit(self, name: str, verb: Verb, wanted: Mapping[str, object], **how: object) -> Job:
        """`wanted` is what makes it another request; `how` it is done is not."""
        arguments = {**wanted, **how, **self._steps.snapshot(name)}
        job = Job(name, verb, tuple(wanted.values()), arguments)
        return self._jobs.submit(job, *self._steps.of[verb])

    def _of_itself(self, verb: Verb, name: str) -> Job:
        return self._submit(name, verb, {})

    def _update_at_rest(self, name: str) -> Job:
        return self._submit(name, Verb.UPDATE, {}, at_rest=True)

    def _job_ended(self, job: Job, result: Result, note: str) -> None:
        self._auto_sleep.job_ended(job.agent)
        self._rolling_update.job_ended(job, result, note)

    def _tell_of_stale(self) -> None:
        auto = self._settings.auto_update
        for agent in [agent for agent in self.agents if agent.stale]:
            self._store.add_notice(update_notice(agent, self._version, auto=auto))

    def _tell(self, notice: Notice) -> None:
        self._store.add_notice(notice)
        self._deliverer.wake()

    def _sleeps_after(self, name: str) -> float:
        agent = self._roster.agents.get(name)  # it may just have gone
        deployed = self._backend.configuration(agent.spec).sleep_after if agent else None
        return self._settings.sleeps_after(name, deployed)

    def _create_manager(self) -> None:
        if self._jobs.of(names.MANAGER) is None:
            self.spawn(names.MANAGER, {})

    def _busy(self, name: str) -> bool:
        return self._adopting or self._jobs.of(name) is not None

    def _resume(self, record: Record) -> None:
        """Go on with `record`, for which no job is kept."""
        if record.phase is Phase.PRESENT:
            agent = self._roster.agents[record.name]
            if agent.enabled and not agent.asleep and not agent.unit_status.up:
                self.order(Verb.START, record.name)
        else:
            self.destroy(record.name, record.phase is Phase.PURGING)
