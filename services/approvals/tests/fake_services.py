"""Stand-ins for lifecycle, the broker and the ledger that record their calls."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.approvals.deploys.lifecycle import Job as RunningJob
from services.approvals.deploys.lifecycle import Snapshot
from services.approvals.notifier import Notice
from services.approvals.tests.faults import Faults
from wire import names
from wire.errors import AlreadyExists, Conflict, HiveError, NotFound
from wire.records.lifecycle import JobRemoved, JobResult, JobVerb


@dataclass
class Job:
    agent: str
    verb: str
    commit: str = ""


def removed(job: str, agent: str, verb: str, result: str = "done", note: str = "") -> JobRemoved:
    """Return the signal for the end of a job."""
    return JobRemoved(0, job, agent, JobVerb(verb), JobResult(result), note)


@dataclass
class FakeLifecycle:
    """Lifecycle, whose jobs end when the test says so. It survives when approvals is killed."""

    faults: Faults
    agents: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    orders: list[tuple[str, str, str]] = field(default_factory=list)
    now: list[bool] = field(default_factory=list)
    hurried: list[str] = field(default_factory=list)
    error: HiveError | None = None
    here: bool = True
    told: Callable[[JobRemoved], None] | None = None
    """Called at the end of a job."""
    endings: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The result and note of an agent's jobs, unless they are done."""

    async def snapshot(self) -> Snapshot:
        async with self.faults.at("snapshot"):
            if self.error:
                raise self.error
            jobs = {
                job.agent: RunningJob(JobVerb(job.verb), path) for path, job in self.jobs.items()
            }
            return Snapshot(dict(self.agents), jobs)

    async def running(self) -> bool:
        return self.here

    async def tombstones(self) -> frozenset[str]:
        async with self.faults.at("tombstones"):
            return frozenset(self.kept)

    async def spawn(self, agent: str, commit: str) -> str:
        async with self.faults.at("spawn"):
            self._ask("spawn", agent, commit)
            if agent in self.agents:
                raise AlreadyExists(f"There is an agent {agent} already.")
            self.agents[agent] = self.kept.get(agent, "")
            return self.begin("spawn", agent, commit)

    async def deploy(self, agent: str, commit: str, *, now: bool, changes: str) -> str:
        async with self.faults.at("deploy"):
            self.now.append(now)
            self._ask("deploy", agent, commit)
            if agent not in self.agents:
                raise NotFound(f"There is no agent {agent}.")
            return self.begin("deploy", agent, commit)

    async def hurry(self, job: str) -> None:
        async with self.faults.at("hurry"):
            if job not in self.jobs:
                raise NotFound(f"{job} does not exist, or has ended.")
            self.hurried.append(job)

    def begin(self, verb: str, agent: str, commit: str = "") -> str:
        if any(job.agent == agent for job in self.jobs.values()):
            raise Conflict(f"{agent} is busy.")
        path = names.job_path(len(self.orders) + 100 * len(self.jobs))
        self.jobs[path] = Job(agent, verb, commit)
        return path

    def end(self, agent: str, result: str = "done", note: str = "") -> None:
        """End the agent's job, and signal that."""
        path = next(path for path, job in self.jobs.items() if job.agent == agent)
        job = self.jobs.pop(path)
        if result == "done":
            if job.verb in ("spawn", "deploy"):
                self.agents[agent] = job.commit
                self.kept.pop(agent, None)
        elif job.verb == "spawn":
            del self.agents[agent]
        if self.told:
            self.told(removed(path, agent, job.verb, result, note))

    def end_all(self) -> bool:
        """End all jobs as `endings` says; return whether there were any."""
        ended = list(self.jobs.values())
        for job in ended:
            self.end(job.agent, *self.endings.get(job.agent, ("done", "")))
        return bool(ended)

    def destroy(self, agent: str, *, purge: bool) -> None:
        commit = self.agents.pop(agent)
        if not purge:
            self.kept[agent] = commit
        if self.told:
            self.told(removed("/job/0", agent, "destroy"))

    def _ask(self, verb: str, agent: str, commit: str) -> None:
        self.orders.append((verb, agent, commit))
        if self.error:
            raise self.error


@dataclass
class FakeBroker:
    """A broker that keeps the messages, each dedupe key once."""

    faults: Faults
    told: dict[str, str] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    error: HiveError | None = None
    errors: list[HiveError] = field(default_factory=list)
    """The answers to the next calls, before `error`."""

    async def send(self, notice: Notice) -> None:
        async with self.faults.at("send"):
            self.asked += 1
            if self.errors:
                raise self.errors.pop(0)
            if self.error:
                raise self.error
            self.told.setdefault(notice.dedupe_key, notice.body)
            self.arrived.set()
