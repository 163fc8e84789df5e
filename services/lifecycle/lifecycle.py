"""The rules: which agents exist, and which operations on them are allowed."""

import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from services.config import LifecycleConfig
from services.deliverer import Deliverer
from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Agent, check_commit, check_effort
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.agents.roster import AgentObserver, Roster
from services.lifecycle.agents.start import BOOT, CRASH, SYSTEM
from services.lifecycle.backends.backend import Backend
from services.lifecycle.broker import Broker
from services.lifecycle.commands import Commands, Peer
from services.lifecycle.jobs.job import Job
from services.lifecycle.jobs.rolling_update import RollingUpdate
from services.lifecycle.jobs.runner import JobObserver, JobRunner
from services.lifecycle.jobs.steps import Steps
from services.lifecycle.notices.login import login_notices, update_notice
from services.lifecycle.notices.notice import Notice
from services.lifecycle.store import Store
from services.lifecycle.watch.auto_sleep import AutoSleep
from services.lifecycle.watch.disk import DiskWatch
from services.lifecycle.watch.filters import Filters
from services.lifecycle.watch.holds import Holds
from services.lifecycle.watch.monitor import Monitor
from services.lifecycle.watch.provider_limits import ProviderLimits, credential_of
from services.lifecycle.watch.shared_limits import SharedLimits
from services.lifecycle.watch.turns import Turns
from services.tasks import Tasks
from wire import names
from wire.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    HiveError,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from wire.principal import Principal
from wire.records.lifecycle import (
    AgentState,
    CommandArguments,
    CommandResult,
    CommandVerb,
    DeployOptions,
    JobResult,
    JobVerb,
    Network,
    Report,
    ResourceChanges,
    Resources,
    SpawnOptions,
    Tombstone,
    Usage,
)

log = logging.getLogger(__name__)

MAX_LOG_LINES: Final = 200
"""The most lines that one call of GetLogs returns."""


class Observer(JobObserver, AgentObserver, Protocol):
    """The receiver of all news (the D-Bus side)."""


class Lifecycle:
    """All agents of the hive, and the operations on them."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        broker: Broker,
        observer: Observer,
        settings: LifecycleConfig,
        version: str = "",
    ) -> None:
        """Put the parts together; `start` begins.

        Args:
            store: the storage.
            backend: the containers.
            broker: the messages.
            observer: is told of each change.
            settings: the section `[lifecycle]` of the configuration.
            version: the version of Hyperhive. Containers of another version are stale.
        """
        self._settings = settings
        self._store = store
        self._backend = backend
        self._broker = broker
        self._version = version
        self._adopting = True
        self._holding = Tasks()
        self._roster = Roster(store, backend, observer, version)
        self.jobs = JobRunner(store, observer, self._job_ended)
        """The jobs that have not ended."""
        self.commands = Commands(self._harness_changed)
        """The commands to the harnesses."""
        self.auto_sleep = AutoSleep(
            self._roster, broker, self.sleeps_after, self.order, self._busy, self._may_wake
        )
        """The automatic sleep of idle agents."""
        self.provider_limits = ProviderLimits(
            self._roster,
            store,
            self.commands.tell,
            lambda agent: credential_of(agent, backend.shared_credential()),
            self._tell,
            self.auto_sleep.check_messages,
            self._hold_at_limit,
        )
        """The limits of providers that agents have reached."""
        self.rolling_update = RollingUpdate(
            self._roster, self._update_at_rest, self._busy, self._tell
        )
        """The update of stale agents."""
        self.filters = Filters(self._roster, backend)
        """The network filters of all containers."""
        shared = SharedLimits(backend.shortages, self._tell)
        self.disk = DiskWatch(
            self._roster, backend, self.order, self._busy, self._tell, shared.check
        )
        """The disk space of all agents."""
        turns = Turns(broker)
        self._roster.watchers += (
            self.auto_sleep.agent_changed,
            self.rolling_update.agent_changed,
            self.disk.agent_changed,
            turns.agent_changed,
        )
        self.holds = Holds(self._roster, broker, self.auto_sleep.check_messages)
        """The holds of the broker."""
        self._deliverer = Deliverer(
            store.notices, store.drop_notice, broker.send, introduce=self._register_all
        )
        self.monitor = Monitor(self._roster, backend, self._busy, self._deliverer.wake)
        """The monitor of all containers."""
        self._steps = Steps(
            self._roster,
            backend,
            broker,
            self.monitor,
            self._deliverer,
            self.auto_sleep,
            self.disk,
            turns,
        )

    @property
    def agents(self) -> Iterable[Agent]:
        """All agents."""
        return self._roster.agents.values()

    async def start(self) -> None:
        """Adopt the running containers and continue the work of the last lifecycle.

        Ends that happened in the meantime are noticed, interrupted jobs continue, and enabled
        agents are started. Returns when the agents are known; the jobs go on.
        """
        await self._backend.probe()
        await self._backend.watch_network(self.filters.change)
        boot = await self.monitor.start()
        self._roster.assign_ports(await self._backend.listening_ports())
        records = [r for r in self._store.records() if r.phase is not Phase.KEPT]
        rebooted = {record.name for record in records if record.boot != boot}
        for record in records:
            if record.name in rebooted:
                record.seen = ""  # which is not a crash
            self._roster.add(record)
        self._roster.update_shared_ports()
        for record in records:
            await self.monitor.refresh(record.name)
            if self._roster.agents[record.name].unit_status.up:
                await self.filters.apply(record)
        await self.holds.start()
        self._adopting = False
        self._tell_of_stale()
        self._deliverer.start()
        for job in self._store.jobs():
            self.jobs.resume(job, *self._steps.by_verb[job.verb])
        for record in records:
            if self.jobs.of(record.name) is None:
                self._continue(record, BOOT if record.name in rebooted else CRASH)
        self.provider_limits.start()  # before messages may wake agents
        await self.auto_sleep.start()
        self.disk.start()
        if self._settings.create_manager and self._roster.find(names.MANAGER) is None:
            self._create_manager()
        if self._settings.auto_update:
            self.rolling_update.begin()

    async def stop(self) -> None:
        """Let jobs end, then end all tasks; containers keep running."""
        self.rolling_update.stop()
        self.provider_limits.stop()
        await self.auto_sleep.stop()
        await self.disk.stop()
        await self.jobs.drain()
        with contextlib.suppress(HiveError):  # the bus itself may be gone
            if await self._backend.host_is_stopping():
                self._roster.expect_all_ends()
        self._backend.stop_watching()
        await self.filters.stop()
        await self._holding.cancel()
        await self._deliverer.stop()
        await self.monitor.stop()

    def broker_appeared(self) -> None:
        """Note that the broker's name has an owner (again)."""
        self._deliverer.broker_appeared()
        self.auto_sleep.check_messages()

    # Jobs

    def spawn(self, name: str, options: SpawnOptions) -> Job:
        """Order a new agent.

        Raises:
            InvalidArgument: the name or an option is not valid.
            AlreadyExists: there is an agent of this name.
            Conflict: the agent has another job.
        """
        names.check_agent_name(name)
        if options.model:
            names.check_model_name(options.model)
        if options.commit:
            check_commit(options.commit)
        job = self.jobs.of(name)
        if name in self._roster.agents and not (job and job.verb is JobVerb.SPAWN):
            raise AlreadyExists(f"The agent {name} already exists; choose another name.")
        return self._submit(name, JobVerb.SPAWN, options._asdict())

    def deploy(self, name: str, commit: str, options: DeployOptions) -> Job:
        """Order the deploy of the configuration at `commit`.

        Args:
            name: the agent.
            commit: the full name of the commit.
            options: whether to wait for the end of the agent's turn.

        Raises:
            NotFound: there is no such agent.
            InvalidArgument: the commit is not valid.
            Conflict: the agent has another job.
        """
        self._roster.agent(name)
        check_commit(commit)
        return self._submit(
            name,
            JobVerb.DEPLOY,
            {"commit": commit, "now": options.now},
            by=names.OPERATOR,  # who approved it
            changes=options.changes,
        )

    def hurry(self, number: int) -> None:
        """Make a deploy stop waiting for the end of a turn.

        Raises:
            NotFound: the job has ended.
            Conflict: the job is not a deploy.
        """
        job = self.jobs.find(number)
        if job.verb is not JobVerb.DEPLOY:
            raise Conflict(
                f"Job {number} is not a deploy but a {job.verb}; only a deploy waits for a turn."
            )
        self._steps.deploys.hurry(job)

    def destroy(self, name: str, purge: bool) -> Job:
        """Order the end of an agent. Its data and its uid range are kept unless `purge`.

        Raises:
            NotFound: there is no such agent, or it is destroyed and not to be purged.
            Conflict: the agent has another job.
        """
        record = self._roster.find(name)
        if record is None:
            raise self._roster.unknown(name)
        if record.phase is Phase.KEPT and not purge:
            raise NotFound(
                f"{name} is already destroyed, and its data are kept. `hivectl purge {name}` "
                f"deletes the data; `hivectl spawn {name}` creates the agent again with them."
            )
        return self._submit(name, JobVerb.DESTROY, {"purge": purge})

    def purge(self, name: str) -> Job:
        """Order the removal of a destroyed agent's data. Raises NotFound, Conflict."""
        if self.jobs.of(name) is None:
            self._roster.tombstone(name)
        return self._submit(name, JobVerb.PURGE, {})

    def order(self, verb: JobVerb, name: str, by: str = SYSTEM, **how: object) -> Job:
        """Order a job that needs no arguments.

        Args:
            verb: the verb of the job.
            name: the agent.
            by: who orders it; the agent is told when it starts.
            how: further arguments of the job.

        Raises:
            NotFound: there is no such agent.
            Conflict: the agent has another job.
        """
        self._roster.agent(name)
        return self._submit(name, verb, {}, by=by, **how)

    def update_all(self) -> list[str]:
        """Update all stale agents, one after the other, each when idle; return their names."""
        return self.rolling_update.begin()

    def cancel(self, number: int) -> None:
        """Undo a job. Raises NotFound, Conflict."""
        self.jobs.cancel(number)

    # Resources

    async def set_resources(self, name: str, changes: ResourceChanges) -> None:
        """Change an agent's limits, now and for later starts.

        Raises:
            NotFound: there is no such agent.
            InvalidArgument: a resource or a value is not valid.
            Conflict: the agent has a job.
        """
        agent = self._roster.agent(name)
        values = resources.checked(changes)
        if job := self.jobs.of(name):
            raise Conflict(f"{name} is busy with job {job.number}; try again when it has ended.")
        record = self._roster.records[name]
        record.resources = resources.merged(record.resources, values)
        self._store.save(record)
        agent.set_spec(record.spec)
        await self._backend.limit(record.spec)

    def resources(self, name: str) -> Resources:
        """Return the limits of an agent."""
        return self._backend.resources(self._roster.agent(name).spec)

    async def usage(self, name: str) -> Usage:
        """Return an agent's current usage, empty when it does not run. Raises NotFound."""
        usage = await self._backend.usage(self._roster.agent(name).name)
        return usage._replace(disk=self.disk.used(name))

    async def pause(self, name: str) -> None:
        """Freeze the processes of an agent. Raises NotFound, Conflict."""
        if not self._roster.agent(name).unit_status.up:
            raise Conflict(f"{name} cannot be paused: it is not running.")
        await self._backend.pause(name)
        await self.monitor.refresh(name)

    async def resume(self, name: str) -> None:
        """Thaw the processes of an agent. Raises NotFound, Conflict."""
        agent = self._roster.agent(name)
        if agent.unit_status.up:
            await self._backend.resume(name)
            await self.monitor.refresh(name)

    def network(self, name: str) -> Network:
        """Return the addresses that an agent may reach."""
        return self._backend.network(self._roster.agent(name).spec)

    def image(self, name: str) -> str:
        """Return the tree that an agent's /usr comes from; / is the host."""
        return self._settings.image_of(name)

    def sleeps_after(self, name: str) -> float:
        """Return the seconds that an agent is idle before it falls asleep; 0 for never."""
        agent = self._roster.agents.get(name)  # the agent may just have been removed
        deployed = self._backend.configuration(agent.spec).sleep_after if agent else None
        return self._settings.sleeps_after(name, deployed)

    # Tombstones, reports, logs

    async def tombstones(self) -> list[Tombstone]:
        """Return the tombstones of destroyed agents, ordered by name."""
        kept = [r for r in self._store.records() if r.phase is Phase.KEPT]
        return [Tombstone(r.name, await self._backend.size(r.name), r.destroyed) for r in kept]

    def report(self, principal: Principal, name: str, report: Report) -> None:
        """Note a report of the harness of `name`.

        Raises:
            AccessDenied: the caller is not the agent itself.
            InvalidArgument: the report is not valid.
        """
        self._check_own(principal, name, "report its state")
        agent = self._roster.agent(name)
        before = agent.turn_state
        agent.report(report)
        self.provider_limits.reported(agent, report.provider_limit_until)
        for notice in login_notices(agent, before):
            self._tell(notice)

    # Harnesses

    def harness_connected(self, principal: Principal, name: str, peer: Peer | None) -> None:
        """Note whether the harness of `name` is connected to its endpoint.

        Args:
            principal: the caller.
            name: the agent.
            peer: the connection of the endpoint; None when no harness is connected to it.

        Raises:
            AccessDenied: the caller is not the agent itself.
        """
        self._check_own(principal, name, "say whether its harness is connected")
        harness = self.commands.of(self._roster.agent(name).name)
        if peer is None:
            harness.disconnect()
        else:
            harness.connect(peer)

    async def command(self, name: str, verb: CommandVerb, arguments: CommandArguments) -> str:
        """Have the harness of `name` carry out a command; return its sentence.

        Raises:
            InvalidArgument: the model or the level of effort is not valid.
            NotFound: there is no such agent.
            Conflict: the harness refused the command.
            Unavailable: the harness is away, or has not answered in time.
        """
        agent = self._roster.agent(name)
        if verb is CommandVerb.MODEL and arguments.value:
            names.check_model_name(arguments.value)
        if verb is CommandVerb.EFFORT:
            check_effort(arguments.value)
        if agent.state is AgentState.PAUSED:
            raise Unavailable(f"{name} is paused. Resume it first: hivectl resume {name}")
        if not agent.unit_status.up:
            raise Unavailable(f"{name} is {agent.state}. Start it first: hivectl start {name}")
        return await self.commands.run(name, verb, arguments)

    def command_done(self, principal: Principal, name: str, id: int, result: CommandResult) -> None:
        """Note the result of a command.

        Raises:
            AccessDenied: the caller is not the agent itself.
            NotFound: nobody waits for it any more.
        """
        self._check_own(principal, name, "answer its commands")
        self.commands.of(self._roster.agent(name).name).done(id, result)

    def _harness_changed(self, name: str, connected: bool) -> None:
        if agent := self._roster.agents.get(name):
            agent.set_harness(connected)
            if connected:
                self.provider_limits.harness_connected(name)

    @staticmethod
    def _check_own(principal: Principal, name: str, what: str) -> None:
        if not (principal.is_agent and principal.name == name):
            raise AccessDenied(f"Only the endpoint of {name} may {what}.")

    async def logs(self, name: str, lines: int) -> list[str]:
        """Return the newest lines that the host has logged about an agent.

        Args:
            name: the agent.
            lines: the number of lines, 1 to MAX_LOG_LINES.

        Raises:
            NotFound: there is no such agent.
            InvalidArgument: the number is out of bounds.
            Unavailable: the journal cannot be read.
        """
        agent = self._roster.agent(name)
        if not 1 <= lines <= MAX_LOG_LINES:
            raise InvalidArgument(
                f"{lines} is not a valid number of lines. Use 1 to {MAX_LOG_LINES}."
            )
        return await self._backend.logs(agent.name, lines)

    def _submit(self, name: str, verb: JobVerb, wanted: Mapping[str, object], **how: object) -> Job:
        """Submit a job. Requests that differ only in `how` are the same request."""
        arguments = {**wanted, **how, **self._steps.snapshot(name)}
        job = Job(name, verb, tuple(wanted.values()), arguments)
        return self.jobs.submit(job, *self._steps.by_verb[verb])

    def _update_at_rest(self, name: str) -> Job:
        return self._submit(name, JobVerb.UPDATE, {}, at_rest=True)

    def _job_ended(self, job: Job, result: JobResult, note: str) -> None:
        if job.agent not in self._roster.agents:
            self.commands.forget(job.agent)
        self.auto_sleep.job_ended(job.agent)
        self.disk.check(job.agent)
        self.rolling_update.job_ended(job, result, note)

    async def _register_all(self) -> None:
        for name, agent in tuple(self._roster.agents.items()):
            await self._broker.register(name)
            attempts = self._backend.configuration(agent.spec).max_attempts
            await self._broker.limit_attempts(name, attempts)
        await self.holds.load()

    def _tell_of_stale(self) -> None:
        auto = self._settings.auto_update
        for agent in [agent for agent in self.agents if agent.stale]:
            self._store.add_notice(update_notice(agent, self._version, auto=auto))

    def _tell(self, notice: Notice) -> None:
        self._store.add_notice(notice)
        self._deliverer.wake()

    def _create_manager(self) -> None:
        if self.jobs.of(names.MANAGER) is None:
            self.spawn(names.MANAGER, SpawnOptions())

    def _busy(self, name: str) -> bool:
        return self._adopting or self.jobs.of(name) is not None

    def _hold_at_limit(self, name: str, text: str) -> None:
        """Have the operator asked whether an agent goes on after a limit, if it is set so."""
        agent = self._roster.agents.get(name)
        if agent and not self._backend.configuration(agent.spec).resume_after_limit:
            self._holding.start_detached(self._hold(name, text), f"hold-{name}")

    async def _hold(self, name: str, text: str) -> None:
        try:
            await self._broker.hold(name, text)
        except Conflict:
            return  # it is held already
        except HiveError as error:
            log.error(
                "%s goes on by itself after its limit, because it cannot be held: %s",
                name, error, extra={"HIVE_AGENT": name},
            )  # fmt: skip

    def _may_wake(self, name: str) -> bool:
        """Return whether a message wakes `name`: it could do nothing at a limit, or when held."""
        agent = self._roster.agents.get(name)
        return not (agent and agent.hold) and not self.provider_limits.until(name)

    def _continue(self, record: Record, reason: str) -> None:
        """Start, or finish removing, an agent for which no job is stored.

        Args:
            record: the agent.
            reason: why it does not run, if it should.
        """
        if record.phase is Phase.PRESENT:
            agent = self._roster.agents[record.name]
            if agent.enabled and not agent.asleep and not agent.unit_status.up:
                self.order(JobVerb.START, record.name, reason=reason)
        else:
            self.destroy(record.name, record.phase is Phase.PURGING)
