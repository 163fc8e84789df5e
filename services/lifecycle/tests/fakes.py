"""Fakes of the backend, the broker and the observer, which record their calls."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.agentfile import AgentFile
from services.config import BudgetLimits, ResourceLimits
from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Agent, Spec, UnitStatus
from services.lifecycle.agents.start import Start
from services.lifecycle.backends.backend import Reconciled, Watcher
from services.lifecycle.host.build_output import Tell
from services.lifecycle.host.shared import Shortage
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.crash import Crash
from services.lifecycle.notices.notice import Notice
from wire.errors import Conflict, HiveError, NotFound, Unavailable
from wire.records.broker import Hold, HoldKind, HoldsChanged
from wire.records.lifecycle import JobResult, Network, NetworkMode, Resources, Usage


class FakeBackend:
    """A backend whose containers are entries of a dictionary."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.units: dict[str, UnitStatus] = {}
        self.kept: dict[str, int] = {}
        self.taken: list[range] = []
        self.bound: frozenset[int] = frozenset()
        self.fail: dict[str, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.boot_id = "boot-1"
        self.reconciled = Reconciled()
        self.points = 0
        self.halt_at = 0
        self.halted = asyncio.Event()
        self.stopping = False
        # Commits: the built ones, those of each container's files and of each running container,
        # those that no container starts with, and the configurations at them.
        self.built: set[str] = set()
        self.outdated: set[str] = set()
        self.laid: dict[str, str] = {}
        self.running: dict[str, str] = {}
        self.broken: set[str] = set()
        self.configurations: dict[str, AgentFile] = {}
        self.probed = False
        self.corrected = False
        self.disk: dict[str, int] = {}
        self.measured: list[str] = []
        self.disk_max: int | None = None
        self.shared = "key"
        self.own_keys: set[str] = set()
        self.mode = NetworkMode.GATEWAY
        self.modes: dict[str, NetworkMode] = {}
        self.started: dict[str, Start | None] = {}
        self.short: list[Shortage] = []
        self.network_changed: Callable[[], None] = lambda: None
        self.starting = 0
        self.most_starting = 0
        self._watcher: Watcher = lambda name, status: None
        self._invocations = 0

    def set(self, name: str, active: str, **values: object) -> None:
        """Change the status of a container and report it."""
        status = replace(self.units.get(name, UnitStatus()), active=active, **values)  # type: ignore[arg-type]
        self.units[name] = status
        self.tell(name, status)

    def tell(self, name: str, status: UnitStatus) -> None:
        """Report `status` to the watcher, whatever `status()` returns."""
        self._watcher(name, status)

    def come_up(self, name: str) -> str:
        """Make the container READY; return its invocation."""
        self._invocations += 1
        invocation = f"{self._invocations:032x}"
        self.set(name, "active", invocation=invocation, result="success", code=0, status=0)
        return invocation

    def unit(self, name: str) -> str:
        return f"unit-of-{name}.service"

    async def probe(self) -> None:
        self.probed = True

    async def correct_data(self) -> None:
        self.corrected = True

    async def watch_network(self, changed: Callable[[], None]) -> None:
        self.network_changed = changed

    def stop_watching(self) -> None:
        self.network_changed = lambda: None

    async def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def status(self, name: str) -> UnitStatus:
        return self.units.get(name, UnitStatus())

    async def forget(self, name: str) -> None:
        self.units.pop(name, None)

    def kept_uid(self, name: str) -> int | None:
        return self.kept.get(name)

    def used_uids(self) -> list[range]:
        return self.taken

    async def listening_ports(self) -> frozenset[int]:
        return self.bound

    async def build(self, spec: Spec, job: int, tell: Tell, *, renew: bool = False) -> bool:
        if not spec.commit or (spec.commit in self.built and (self.is_current(spec) or not renew)):
            return False
        await self._called("build", spec.name, spec.commit)
        tell([f"{spec.commit} is built"])
        self.built.add(spec.commit)
        self.outdated.discard(spec.commit)
        await self._did()
        return True

    def is_current(self, spec: Spec) -> bool:
        return spec.commit not in self.outdated

    async def stop_build(self, name: str) -> None:
        await self._called("stop_build", name)

    def configuration(self, spec: Spec) -> AgentFile:
        return self.configurations.get(spec.commit, AgentFile())

    async def configure(self, spec: Spec) -> None:
        await self._called("configure", spec.name)
        self.started[spec.name] = spec.started
        self.laid[spec.name] = spec.commit
        self.modes[spec.name] = spec.network
        await self._did()

    async def write_started(self, spec: Spec) -> None:
        self.started[spec.name] = spec.started

    async def reconcile(self, spec: Spec, *, running: bool) -> Reconciled:
        await self._called("reconcile", spec.name)
        await self._did()
        return self.reconciled

    def shared_credential(self) -> str:
        return self.shared

    def has_own_credential(self, name: str) -> bool:
        return name in self.own_keys

    def network_mode(self, spec: Spec) -> NetworkMode:
        if spec.keeps_host:
            return NetworkMode.HOST
        return NetworkMode(self.configuration(spec).network or self.mode)

    def resources(self, spec: Spec) -> Resources:
        limits = ResourceLimits(tasks_max=4096, disk_max=self.disk_max)
        return resources.effective(limits, spec.resources)

    def network(self, spec: Spec) -> Network:
        egress = self.configuration(spec).egress
        return Network(["any"], ["192.0.2.7"], [], filtered=True, mode=spec.network, egress=egress)

    async def limit(self, spec: Spec) -> None:
        await self._called("limit", spec.name)

    async def usage(self, name: str) -> Usage:
        return Usage(cpu=7)

    async def disk_usage(self, spec: Spec, enough: int) -> int:
        self.measured.append(spec.name)
        return min(self.disk.get(spec.name, 0), enough)

    def shortages(self) -> list[Shortage]:
        return self.short

    async def pause(self, name: str) -> None:
        self.set(name, "active", frozen=True)

    async def resume(self, name: str) -> None:
        self.set(name, "active", frozen=False)

    async def size(self, name: str) -> int:
        return 42

    async def start(self, spec: Spec, *, fresh: bool = True) -> None:
        self.set(spec.name, "activating")
        self.starting += 1
        self.most_starting = max(self.most_starting, self.starting)
        try:
            await self._called("start", spec.name)
            await asyncio.sleep(0)  # others may begin meanwhile
        finally:
            self.starting -= 1
        if self.laid.get(spec.name) in self.broken:
            raise Conflict("It did not come up.")
        self.running[spec.name] = self.laid.get(spec.name, "")
        self.come_up(spec.name)
        await self._did()

    async def stop(self, name: str) -> None:
        if self.units.get(name, UnitStatus()).active == "inactive":
            return
        self.set(name, "deactivating")
        await self._called("stop", name)
        self.set(name, "inactive")
        await self._did()

    async def kill(self, name: str) -> None:
        self.calls.append(("kill", name))
        self.gate.set()  # what waits for the end of the container goes on

    async def stop_endpoint(self, name: str) -> None:
        await self._called("stop_endpoint", name)

    async def stop_restarting(self, name: str) -> None:
        await self._called("stop_restarting", name)
        self.set(name, "failed")

    async def destroy(self, spec: Spec, *, purge: bool) -> None:
        await self._called("destroy", spec.name, purge)
        self.kept.pop(spec.name, None)
        if not purge:
            self.kept[spec.name] = spec.uid_base
        await self._did()

    def units_of(self, name: str) -> tuple[str, ...]:
        return (f"systemd-nspawn@h-{name}.service", f"hive-agent@{name}.service")

    async def logs(self, name: str, lines: int) -> list[str]:
        await self._called("logs", name, lines)
        return [f"{name} line {number}" for number in range(lines)]

    async def boot(self) -> str:
        return self.boot_id

    async def host_is_stopping(self) -> bool:
        return self.stopping

    async def _called(self, what: str, *arguments: object) -> None:
        self.calls.append((what, *arguments))
        await self._did()
        await self.gate.wait()
        if what in self.fail:
            raise self.fail[what]

    async def _did(self) -> None:
        """Halt here if this is the chosen point of interruption."""
        self.points += 1
        if self.points == self.halt_at:
            self.halted.set()
            await asyncio.Event().wait()


class FakeBroker:
    """A broker that may be down."""

    def __init__(self) -> None:
        self.agents: set[str] = set()
        self.sent: list[Notice] = []
        self.error: HiveError | None = None
        self.mail: set[str] = set()
        self.urgent: set[str] = set()
        """The agents with messages that they get though they are held."""
        self.attempts: dict[str, int | None] = {}
        self.held: list[Hold] = []
        self.holds_changed: Callable[[HoldsChanged], None] = lambda _change: None
        self.heard: dict[str, Callable[[], None]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.tried = asyncio.Event()

    async def register(self, name: str) -> None:
        self._check()
        self.agents.add(name)

    async def unregister(self, name: str) -> None:
        self._check()
        self.agents.discard(name)

    async def send(self, notice: Notice) -> None:
        self._check()
        if notice.recipient not in {*self.agents, "operator"}:
            self.tried.set()
            raise NotFound("There is no manager.")
        self.sent.append(notice)
        self.arrived.set()

    async def waiting(self) -> set[str]:
        self._check()
        await self.gate.wait()
        return self.mail - {hold.agent for hold in self.held} | self.urgent

    async def listen(self, name: str, told: Callable[[], None]) -> None:
        self.heard[name] = told

    async def ignore(self, name: str) -> None:
        self.heard.pop(name, None)

    async def limit_attempts(self, name: str, attempts: int | None) -> None:
        self._check()
        self.attempts[name] = attempts
        self.arrived.set()

    async def holds(self) -> list[Hold]:
        self._check()
        return self.held

    async def follow_holds(self, changed: Callable[[HoldsChanged], None]) -> None:
        self.holds_changed = changed

    async def hold(self, name: str, text: str) -> None:
        self._check()
        self.held.append(Hold(name, HoldKind.LIMIT, text, 1))
        self.holds_changed(HoldsChanged(name, HoldKind.LIMIT, text, 1))

    def write(self, name: str) -> None:
        """Queue a message for `name`."""
        self.mail.add(name)
        if told := self.heard.get(name):
            told()

    def go_down(self) -> None:
        self.error = Unavailable("Nobody owns the name.")
        self.tried.clear()

    def _check(self) -> None:
        if self.error:
            self.tried.set()
            raise self.error


class FakeLedger:
    """A ledger that may be down."""

    def __init__(self) -> None:
        self.budgets: dict[str, BudgetLimits] = {}
        self.rules: dict[str, tuple[str, ...]] = {}
        self.forgotten: list[str] = []
        self.limited: dict[str, int] = {}
        self.error: HiveError | None = None

    async def set_budget(self, name: str, limits: BudgetLimits) -> None:
        if self.error:
            raise self.error
        self.budgets[name] = limits

    async def set_egress(self, name: str, rules: Sequence[str]) -> None:
        if self.error:
            raise self.error
        self.rules[name] = tuple(rules)

    async def forget(self, name: str) -> None:
        if self.error:
            raise self.error
        self.forgotten.append(name)

    async def limits(self) -> dict[str, int]:
        if self.error:
            raise self.error
        return self.limited

    async def lift_limits(self) -> None:
        if self.error:
            raise self.error
        self.limited = {}


class Diary:
    """An observer that records all news."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.crashes: list[Crash] = []
        self.output: list[str] = []
        self.finished: dict[int, asyncio.Future[tuple[JobResult, str]]] = {}
        self._newer = asyncio.Event()

    async def news(self) -> None:
        """Wait for the next entry."""
        self._newer.clear()
        await self._newer.wait()

    async def end_of(self, job: Job) -> tuple[JobResult, str]:
        """Wait for the end of `job`, at most 5 s."""
        async with asyncio.timeout(5):
            return await self.finished[job.number]

    def agent_added(self, agent: Agent) -> None:
        self._note("added", agent.name)

    def agent_removed(self, agent: Agent) -> None:
        self._note("removed", agent.name)

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        if changed & {"unit_status", "asleep"}:
            self._note(agent.name, agent.state)
        self._newer.set()

    def agent_crashed(self, agent: Agent, crash: Crash) -> None:
        self.crashes.append(crash)

    def job_new(self, job: Job) -> None:
        self.finished[job.number] = asyncio.get_running_loop().create_future()
        self._note("job", job.verb, job.agent)

    def job_changed(self, job: Job) -> None:
        self._note("job", job.state, job.agent)

    def job_output(self, job: Job, lines: list[str]) -> None:
        self.output += lines

    def job_removed(self, job: Job, result: JobResult, error: str) -> None:
        self.finished[job.number].set_result((result, error))
        self._note("job", result, job.agent)

    def _note(self, *event: object) -> None:
        self.events.append(event)
        self._newer.set()


def set_limits(limits: Resources) -> dict[str, int]:
    """Return the limits that are set."""
    return {key: value for key, value in limits._asdict().items() if value is not None}
