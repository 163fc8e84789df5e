"""The steps of every job, verb by verb, and how each verb is undone.

Lifecycle may be killed at any point of a job. The next lifecycle does the job again from its
beginning. So each step leaves alone what exists already, and goes by what systemd reports, not by
what an earlier step remembers.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from services.deliverer import Deliverer
from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.budgets import Budgets
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.broker import Broker
from services.lifecycle.harnesses import Harnesses
from services.lifecycle.jobs.containers import Containers, waiting
from services.lifecycle.jobs.deploy import DeploySteps
from services.lifecycle.jobs.job import Job, Work
from services.lifecycle.jobs.progress import step
from services.lifecycle.jobs.rolling_update import at_rest
from services.lifecycle.notices.notice import Notice
from services.lifecycle.watch.auto_sleep import AutoSleep, wake_notices
from services.lifecycle.watch.disk import DiskWatch
from services.lifecycle.watch.monitor import Monitor
from services.lifecycle.watch.turns import Turns
from wire import names
from wire.errors import HiveError
from wire.records.lifecycle import AgentState, JobVerb, TurnState

log = logging.getLogger(__name__)

SPAWNED: Final = "spawned"
REBUILT: Final = "rebuilt"


class Steps:
    """The steps of each verb."""

    def __init__(
        self,
        roster: Roster,
        backend: Backend,
        broker: Broker,
        monitor: Monitor,
        deliverer: Deliverer[Notice],
        auto_sleep: AutoSleep,
        disk: DiskWatch,
        turns: Turns,
        budgets: Budgets,
        harnesses: Harnesses,
    ) -> None:
        self._roster = roster
        self._backend = backend
        self._broker = broker
        self._budgets = budgets
        self._deliverer = deliverer
        self._auto_sleep = auto_sleep
        # However many agents are stale, all but one keep working.
        self._one_update = asyncio.Lock()
        self._containers = Containers(roster, backend, monitor, disk, broker, budgets)
        self.deploys = DeploySteps(roster, backend, self._containers, turns, harnesses)
        self.by_verb: Mapping[JobVerb, tuple[Work, Work]] = {
            JobVerb.SPAWN: (self._spawn, self._undo_spawn),
            JobVerb.DESTROY: (self._destroy, self._restore),
            JobVerb.PURGE: (self._purge, self._restore),
            JobVerb.START: (self._start, self._restore),
            JobVerb.STOP: (self._stop, self._restore),
            JobVerb.KILL: (self._kill, self._restore),
            JobVerb.RESTART: (self._restart, self._restore),
            JobVerb.REBUILD: (self._rebuild, self._restore),
            JobVerb.UPDATE: (self._update, self._restore),
            JobVerb.SLEEP: (self._sleep, self._restore),
            JobVerb.DEPLOY: (self.deploys.deploy, self.deploys.undo),
        }
        """The work of each verb, and its undoing."""

    def snapshot(self, name: str) -> dict[str, object]:
        """Return the state of an agent that the undoing, or a repeated restart, must know."""
        agent = self._roster.agents.get(name)
        if agent is None:
            return {}
        status = agent.unit_status
        running = agent.unit_status.up or agent.state is AgentState.STARTING
        return {
            "ran": running,
            "enabled": agent.enabled,
            "asleep": agent.asleep,
            "invocation": status.invocation,
        }

    # Spawn

    async def _spawn(self, job: Job) -> str:
        record = self._roster.records.get(job.agent)
        if record is None:
            model = str(job.arguments.get("model", ""))
            listening = await self._backend.listening_ports()
            record, had_data = self._roster.claim(job.agent, model, listening)
            # A repeated job finds the record itself, but not whether there was data before.
            job.arguments.setdefault("had_data", had_data)
            self._roster.store.save_job(job)
            self._roster.add(record)
            self._roster.update_shared_ports()
        self._set_commit(job)
        agent = self._roster.agent(job.agent)
        try:
            step(f"{job.agent}: creating the inbox")
            await self._broker.register(job.agent)
            await self._containers.start(job)
        except Exception:
            await self._containers.raise_if_host_stops()
            await self._undo_spawn(job)
            raise
        notices = []
        if record.phase is not Phase.PRESENT:
            record.enter(Phase.PRESENT)
            key = f"{SPAWNED}:{job.agent}:{agent.unit_status.invocation}"
            if job.agent != names.MANAGER:
                text = f"The agent {job.agent} was spawned and is running."
                notices.append(Notice(SPAWNED, text, key))
        self._roster.store.save(record, *notices)
        self._deliverer.wake()
        return ""

    def _set_commit(self, job: Job) -> None:
        """Create the agent from the configuration that was approved with it."""
        commit, record = str(job.arguments.get("commit", "")), self._roster.records[job.agent]
        if commit and commit != record.deployed:
            job.arguments.setdefault("former", record.deployed)
            self._roster.store.save_job(job)
            self._roster.set_commit(job.agent, commit)

    async def _undo_spawn(self, job: Job) -> str:
        record = self._roster.find(job.agent)
        if record is not None and record.phase is not Phase.KEPT:
            record.deployed = str(job.arguments.get("former", record.deployed))
            try:
                await self._backend.stop_build(job.agent)
                await self._remove(record, purge=not job.arguments.get("had_data", True))
            except Exception:
                # The record has the phase: the next start of lifecycle continues from there.
                log.exception(
                    "cannot undo a failed spawn completely", extra={"HIVE_AGENT": record.name}
                )
        return ""

    # Destroy

    async def _destroy(self, job: Job) -> str:
        record = self._roster.find(job.agent)
        if record is None:
            return ""  # an interrupted run of this job has removed it
        # A destroy can be cancelled until the container is down.
        if record.phase is Phase.PRESENT and job.agent in self._roster.agents:
            await self._containers.stop(job)
        job.final = True
        purge = bool(job.arguments.get("purge"))
        await self._remove(record, purge=purge, forget=purge)
        return ""

    async def _purge(self, job: Job) -> str:
        record = self._roster.find(job.agent)
        if record is not None:
            job.final = True
            await self._remove(record, purge=True, forget=True)
        return ""

    async def _remove(self, record: Record, *, purge: bool, forget: bool = False) -> None:
        """Remove an agent.

        Args:
            record: the agent.
            purge: whether its data go, too.
            forget: whether what it has spent is forgotten, and the limits that the operator has
                set: not after a spawn that failed, before which they may have been set.
        """
        wanted = Phase.PURGING if purge else Phase.DESTROYING
        if record.phase is not wanted:
            record.enter(wanted)
        self._roster.expect_end(record)
        step(f"{record.name}: stopping the container")
        await self._backend.stop(record.name)
        step(f"{record.name}: removing the files {'and the data' if purge else 'but not the data'}")
        await self._backend.destroy(record.spec, purge=purge)
        await self._broker.unregister(record.name)
        await self._auto_sleep.forget(record.name)
        await self._budgets.drop(record.name)
        if forget:
            step(f"{record.name}: forgetting its budgets")
            await self._budgets.forget(record.name)
        await self._roster.remove(record.name)
        if purge:
            self._roster.forget(record.name)
        else:
            record.enter(Phase.KEPT)
            record.seen = ""
            self._roster.store.save(record)

    # Start, stop, sleep

    async def _start(self, job: Job) -> str:
        agent = self._roster.agent(job.agent)
        self._roster.set_wanted(agent, enabled=True)
        try:
            await self._containers.start(job)
        except Exception as failure:
            if job.arguments.get("asleep"):
                self._roster.store.save(
                    self._roster.records[agent.name], *wake_notices(job, failure)
                )
                self._deliverer.wake()
            raise
        return ""

    async def _stop(self, job: Job) -> str:
        agent = self._roster.agent(job.agent)
        self._roster.set_wanted(agent, enabled=False)
        await self._containers.stop(job)
        return ""

    async def _kill(self, job: Job) -> str:
        agent = self._roster.agent(job.agent)
        self._roster.set_wanted(agent, enabled=False)
        self._roster.expect_end(self._roster.records[job.agent])
        await self.kill(job.agent)
        await self._containers.stop(job)
        return ""

    async def kill(self, name: str) -> None:
        """Kill the processes of a container that a job stops."""
        step(f"{name}: killing all processes of the container")
        await self._backend.kill(name)

    async def _restart(self, job: Job) -> str:
        agent = self._roster.agent(job.agent)
        self._roster.set_wanted(agent, enabled=True)
        await self._start_again(job, agent)
        return ""

    async def _start_again(self, job: Job, agent: Agent) -> None:
        # After an interruption the container may be a new one already.
        if agent.unit_status.invocation == job.arguments.get("invocation"):
            await self._containers.stop(job)
        await self._containers.start(job)

    async def _restore(self, job: Job) -> str:
        """Restore the state before the job."""
        agent = self._roster.agents.get(job.agent)
        if agent is None:
            return ""
        await self._backend.stop_build(job.agent)
        before = job.arguments
        enabled = bool(before.get("enabled", agent.enabled))
        self._roster.set_wanted(agent, enabled=enabled, asleep=bool(before.get("asleep")))
        if before.get("ran"):
            await self._containers.start(job)
        else:
            await self._containers.stop(job)
        return ""

    async def _sleep(self, job: Job) -> str:
        agent = self._roster.agent(job.agent)
        if agent.unit_status.up and not await self._auto_sleep.may_sleep(agent):
            self._roster.set_wanted(agent, enabled=agent.enabled)
            return "stays awake: it is not idle, or messages wait for it"
        self._roster.set_wanted(agent, enabled=agent.enabled, asleep=True)
        try:
            await self._containers.stop(job)
        except Exception:
            self._roster.set_wanted(agent, enabled=agent.enabled)
            raise
        # The harness may have given messages back while it stopped.
        self._auto_sleep.check_messages()
        return ""

    # Rebuild, update

    async def _rebuild(self, job: Job) -> str:
        agent = self._roster.agent(job.agent)
        changes = []
        with waiting(job):
            if await self._backend.build(agent.spec, job.number, job.tell, renew=True):
                changes.append("configuration rebuilt")
        step(f"{agent.name}: checking and repairing the files")
        found = await self._backend.reconcile(agent.spec, running=agent.unit_status.up)
        await self._broker.register(agent.name)
        changes += found.changes
        if job.verb is JobVerb.REBUILD:  # an update changes no ports
            moved = self._roster.separate_port(agent.name, await self._backend.listening_ports())
            changes += [moved] if moved else []
        if agent.unit_status.up and (found.restart or _ails(job, agent)):
            job.arguments["changes"] = "; ".join(changes)
            await self._start_again(job, agent)
            changes.append("restarted")
        elif agent.enabled and not agent.asleep and not agent.unit_status.up:
            await self._containers.start(job)
            changes.append("started")
        elif not agent.unit_status.up:
            self._containers.mark_current(agent)
            if job.verb is JobVerb.REBUILD:
                self._containers.note_later_start(job)
        return "; ".join(changes)

    async def _update(self, job: Job) -> str:
        agent = self._roster.agent(job.agent)
        async with self._one_update:
            try:
                note = await self._rebuild(job)
                if agent.unit_status.up and agent.stale:
                    if job.arguments.get("at_rest") and not at_rest(agent):
                        return _joined(note, "it is restarted when it is idle")
                    job.arguments["changes"] = _joined("Hyperhive was updated", note)
                    await self._start_again(job, agent)
                    note = _joined(note, "restarted")
            except HiveError:
                # A host that stops proves nothing about the new version.
                await self._containers.raise_if_host_stops()
                raise
        if note:
            record = self._roster.records[job.agent]
            key = f"{REBUILT}:{job.agent}:{agent.unit_status.invocation}"
            text = f"The agent {job.agent} was updated: {note}."
            self._roster.store.save(record, Notice(REBUILT, text, key))
            self._deliverer.wake()
        return note


def _ails(job: Job, agent: Agent) -> bool:
    """Return whether a rebuild restarts an agent whose files on the host are as they should be.

    Claude Code, or the harness, does not start: after a rebuild the harness puts the files of
    Claude Code aside.
    """
    states = (TurnState.ERROR, TurnState.HARNESS_AWAY)
    return job.verb is JobVerb.REBUILD and agent.turn_state in states and not agent.in_turn


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
