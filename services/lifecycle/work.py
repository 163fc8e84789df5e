"""What the jobs do, verb by verb, and how each is undone.

Lifecycle may be killed at any point of this. Then the job is done again from its beginning, so each
step leaves alone what is there already, and looks at what systemd says, not at what it remembers.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Final

from services.lifecycle.agent import Agent, State
from services.lifecycle.backends import Backend
from services.lifecycle.courier import Broker, Courier
from services.lifecycle.follow import Follower
from services.lifecycle.jobs import Job, Verb, Work, step
from services.lifecycle.registry import Notice, Phase, Record
from services.lifecycle.rollout import at_rest
from services.lifecycle.sleep import Sleeper, wake_notices
from services.lifecycle.swarm import Swarm
from wire import names

log = logging.getLogger(__name__)

SPAWNED: Final = "spawned"
REBUILT: Final = "rebuilt"

STARTS_AT_ONCE: Final = max(4, 2 * len(os.sched_getaffinity(0)))
"""Of containers. More of them would only make each slower, up to the time limit of a start."""


class Works:
    """The work of every verb."""

    def __init__(
        self,
        swarm: Swarm,
        backend: Backend,
        broker: Broker,
        follower: Follower,
        courier: Courier,
        sleeper: Sleeper,
    ) -> None:
        self._swarm = swarm
        self._backend = backend
        self._broker = broker
        self._follower = follower
        self._courier = courier
        self._sleeper = sleeper
        # However many are stale, most of the swarm goes on working.
        self._one_update = asyncio.Lock()
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self.of: Mapping[Verb, tuple[Work, Work]] = {
            Verb.SPAWN: (self._spawn, self._unspawn),
            Verb.DESTROY: (self._destroy, self._as_it_was),
            Verb.PURGE: (self._purge, self._as_it_was),
            Verb.START: (self._start, self._as_it_was),
            Verb.STOP: (self._stop, self._as_it_was),
            Verb.RESTART: (self._restart, self._as_it_was),
            Verb.REBUILD: (self._rebuild, self._as_it_was),
            Verb.UPDATE: (self._update, self._as_it_was),
            Verb.SLEEP: (self._sleep, self._as_it_was),
        }

    def snapshot(self, name: str) -> dict[str, object]:
        """What the undoing of a job must know; what a restarted restart must know."""
        agent = self._swarm.agents.get(name)
        if agent is None:
            return {}
        status = agent.unit_status
        running = agent.unit_status.up or agent.state is State.STARTING
        return {
            "ran": running,
            "enabled": agent.enabled,
            "asleep": agent.asleep,
            "invocation": status.invocation,
        }

    # Spawn

    async def _spawn(self, job: Job) -> str:
        record = self._swarm.records.get(job.agent)
        if record is None:
            model = str(job.arguments.get("model", ""))
            listening = await self._backend.listening()
            record, had_data = self._swarm.claim(job.agent, model, listening)
            # After an interruption the record itself is there; only what it was before is not.
            job.arguments.setdefault("had_data", had_data)
            self._swarm.registry.save_job(job)
            self._swarm.add(record)
            self._swarm.compare_ports()
        agent = self._swarm.agent(job.agent)
        try:
            step(f"{job.agent}: its inbox is made")
            await self._broker.register(job.agent)
            await self._bring_up(agent)
        except Exception:
            await self._unspawn(job)
            raise
        notices = []
        if record.phase is not Phase.PRESENT:
            record.enter(Phase.PRESENT)
            key = f"{SPAWNED}:{job.agent}:{agent.unit_status.invocation}"
            if job.agent != names.MANAGER:
                text = f"The agent {job.agent} was spawned and runs."
                notices.append(Notice(SPAWNED, text, key))
        self._swarm.registry.save(record, *notices)
        self._courier.wake()
        return ""

    async def _unspawn(self, job: Job) -> str:
        record = self._swarm.find(job.agent)
        if record is not None and record.phase is not Phase.KEPT:
            try:
                await self._end(record, purge=not job.arguments.get("had_data", True))
            except Exception:
                # The record says how far it came: the next start of lifecycle goes on with it.
                log.exception("half a spawn is left", extra={"HIVE_AGENT": record.name})
        return ""

    # Destroy

    async def _destroy(self, job: Job) -> str:
        record = self._swarm.find(job.agent)
        if record is None:
            return ""  # it was gone when lifecycle was interrupted
        await self._go(job, record)
        await self._end(record, purge=bool(job.arguments.get("purge")))
        return ""

    async def _purge(self, job: Job) -> str:
        record = self._swarm.find(job.agent)
        if record is not None:
            job.final = True
            await self._end(record, purge=True)
        return ""

    async def _go(self, job: Job, record: Record) -> None:
        """Stop the container: as long as that takes, a destroy can be cancelled."""
        if record.phase is Phase.PRESENT and job.agent in self._swarm.agents:
            await self._take_down(self._swarm.agents[job.agent])
        job.final = True

    async def _end(self, record: Record, *, purge: bool) -> None:
        wanted = Phase.PURGING if purge else Phase.DESTROYING
        if record.phase is not wanted:
            record.enter(wanted)
        self._swarm.excuse(record)
        step(f"{record.name}: its container is stopped")
        await self._backend.stop(record.name)
        step(f"{record.name}: its files are removed, its data {'too' if purge else 'kept'}")
        await self._backend.destroy(record.spec, purge=purge)
        await self._broker.unregister(record.name)
        await self._sleeper.forget(record.name)
        await self._swarm.remove(record.name)
        if purge:
            self._swarm.forget(record.name)
        else:
            record.enter(Phase.KEPT)
            record.seen = ""
            self._swarm.registry.save(record)

    # Start, stop

    async def _start(self, job: Job) -> str:
        agent = self._swarm.agent(job.agent)
        self._swarm.want(agent, enabled=True)
        try:
            await self._bring_up(agent)
        except Exception as failure:
            if job.arguments.get("asleep"):
                self._swarm.registry.save(
                    self._swarm.records[agent.name], *wake_notices(job, failure)
                )
                self._courier.wake()
            raise
        return ""

    async def _stop(self, job: Job) -> str:
        agent = self._swarm.agent(job.agent)
        self._swarm.want(agent, enabled=False)
        await self._take_down(agent)
        return ""

    async def _restart(self, job: Job) -> str:
        agent = self._swarm.agent(job.agent)
        self._swarm.want(agent, enabled=True)
        await self._again(job, agent)
        return ""

    async def _again(self, job: Job, agent: Agent) -> None:
        if agent.unit_status.invocation == job.arguments.get("invocation"):
            await self._take_down(agent)
        await self._bring_up(agent)

    async def _as_it_was(self, job: Job) -> str:
        agent = self._swarm.agents.get(job.agent)
        if agent is None:
            return ""
        before = job.arguments
        enabled = bool(before.get("enabled", agent.enabled))
        self._swarm.want(agent, enabled=enabled, asleep=bool(before.get("asleep")))
        if before.get("ran"):
            await self._bring_up(agent)
        else:
            await self._take_down(agent)
        return ""

    async def _sleep(self, job: Job) -> str:
        agent = self._swarm.agent(job.agent)
        if agent.unit_status.up and not await self._sleeper.may_sleep(agent):
            self._swarm.want(agent, enabled=agent.enabled)
            return "it stays awake: it is not idle, or messages wait for it"
        self._swarm.want(agent, enabled=agent.enabled, asleep=True)
        try:
            await self._take_down(agent)
        except Exception:
            self._swarm.want(agent, enabled=agent.enabled)
            raise
        # What it may have given back as it ended, too.
        self._sleeper.look()
        return ""

    # Rebuild, update

    async def _rebuild(self, job: Job) -> str:
        agent = self._swarm.agent(job.agent)
        step(f"{agent.name}: its files are compared and put right")
        found = await self._backend.reconcile(agent.spec, running=agent.unit_status.up)
        await self._broker.register(agent.name)
        changes = list(found.changes)
        if job.verb is Verb.REBUILD:  # an update gives nobody another port
            moved = self._swarm.part_port(agent.name, await self._backend.listening())
            changes += [moved] if moved else []
        if agent.unit_status.up and found.restart:
            await self._again(job, agent)
            changes.append("restarted")
        elif agent.enabled and not agent.asleep and not agent.unit_status.up:
            await self._bring_up(agent)
            changes.append("started")
        elif not agent.unit_status.up:
            self._swarm.built(agent.name)
        return "; ".join(changes)

    async def _update(self, job: Job) -> str:
        async with self._one_update:
            note = await self._rebuild(job)
            agent = self._swarm.agent(job.agent)
            record = self._swarm.records[job.agent]
            if agent.unit_status.up and agent.stale:
                if job.arguments.get("at_rest") and not at_rest(agent):
                    return "; ".join(filter(None, (note, "it is at work, and is updated later")))
                await self._again(job, agent)
                note = "; ".join(filter(None, (note, "restarted")))
        if note:
            key = f"{REBUILT}:{job.agent}:{agent.unit_status.invocation}"
            text = f"The agent {job.agent} was updated: {note}."
            self._swarm.registry.save(record, Notice(REBUILT, text, key))
            self._courier.wake()
        return note

    # The container

    async def _bring_up(self, agent: Agent) -> None:
        await self._follower.refresh(agent.name)
        if agent.unit_status.up:
            return
        try:
            if agent.state is not State.STARTING:
                step(f"{agent.name}: its files are written")
                await self._backend.configure(agent.spec)
                self._swarm.built(agent.name)
            step(f"{agent.name}: its container is started")
            # One that is starting was ordered before an interruption, or systemd starts it again.
            async with self._starts:
                await self._backend.start(agent.spec, fresh=agent.state is not State.STARTING)
        except Exception:
            # Or systemd would go on trying what was just answered as failed.
            await self._take_down(agent)
            raise
        await self._follower.refresh(agent.name)

    async def _take_down(self, agent: Agent) -> None:
        step(f"{agent.name}: its container is stopped")
        self._swarm.excuse(self._swarm.records[agent.name])
        await self._backend.stop(agent.name)
        await self._follower.refresh(agent.name)
