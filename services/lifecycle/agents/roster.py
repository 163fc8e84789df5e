"""The roster of the hive: its agents and their stored records."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from services.lifecycle.agents import ports, uid_ranges
from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.crashes import Crashes
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.agents.start import Start
from services.lifecycle.backends.backend import Backend
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.crash import Crash
from services.lifecycle.store import Store
from wire.errors import LimitExceeded, NotFound
from wire.records.lifecycle import JobResult, JobVerb, NetworkMode

log = logging.getLogger(__name__)


_STORED: Final = frozenset(
    {
        *("turn_state", "turn_since", "turn_reason", "turn_until", "model", "effort", "session"),
        *("context_tokens", "context_limit", "logged_in", "credential"),
    }
)
"""The attributes of an agent that its turn record has."""


class AgentObserver(Protocol):
    """The receiver of news about agents (the D-Bus side)."""

    def agent_added(self, agent: Agent) -> None:
        """Note a new agent."""

    def agent_removed(self, agent: Agent) -> None:
        """Note that the agent is gone."""

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Note the new values of the attributes `changed`."""

    def agent_crashed(self, agent: Agent, crash: Crash) -> None:
        """Note that the container ended and no job explains it."""


class Roster:
    """All agents and records, by name. Each change is on disk when the method returns."""

    def __init__(
        self, store: Store, backend: Backend, observer: AgentObserver, version: str
    ) -> None:
        """Start with no agents.

        Args:
            store: the storage of the records.
            backend: the containers.
            observer: is told first of each change.
            version: the version of Hyperhive. Containers of another version are stale.
        """
        self.store = store
        self._version = version
        self.agents: dict[str, Agent] = {}
        self.records: dict[str, Record] = {}
        self.observer = observer
        # Are told of changes after the observer.
        self.watchers: tuple[Callable[[Agent, frozenset[str]], None], ...] = ()
        self._backend = backend

    def agent(self, name: str) -> Agent:
        """Return the agent `name`. Raises NotFound."""
        agent = self.agents.get(name)
        if agent is None:
            raise self.unknown(name)
        return agent

    def find(self, name: str) -> Record | None:
        """Return the record of the agent or tombstone `name`."""
        return self.records.get(name) or self.store.find(name)

    def tombstone(self, name: str) -> Record:
        """Return the record of a destroyed agent whose data is kept. Raises NotFound."""
        record = self.find(name)
        if record is None or record.phase not in (Phase.KEPT, Phase.PURGING):
            raise NotFound(
                f"There is no tombstone of {name[:40]!r}. List the tombstones with "
                "`hivectl tombstones`."
            )
        return record

    def unknown(self, name: str) -> NotFound:
        """Return the error for an agent that does not exist."""
        known = ", ".join(sorted(self.agents)) or "none"
        return NotFound(f"There is no agent {name[:40]!r}. The agents are: {known}.")

    def add(self, record: Record) -> Agent:
        """Show the agent of `record` from now on."""
        agent = Agent(
            record.spec,
            self._backend.unit(record.name),
            enabled=record.enabled,
            port=record.port,
            asleep=record.asleep,
            stale=record.phase is Phase.PRESENT and record.built != self._version,
        )
        if reports := self.store.turn(record.name):
            agent.restore(reports)
        agent.crashes = record.crashes
        agent.announce = self._changed
        self.agents[record.name] = agent
        self.records[record.name] = record
        self.observer.agent_added(agent)
        return agent

    def stop(self) -> None:
        """Take no further note of changes, at the end of lifecycle: the store will be closed."""
        for agent in self.agents.values():
            agent.announce = Agent.announce

    async def remove(self, name: str) -> None:
        """Stop showing the agent."""
        await self._backend.forget(name)
        self.records.pop(name, None)
        if agent := self.agents.pop(name, None):
            self.observer.agent_removed(agent)

    def forget(self, name: str) -> None:
        """Remove the record of `name`, which frees its uid range and its port."""
        self.store.remove(name)
        self.update_shared_ports()

    def mark_current(self, name: str) -> None:
        """Note that this version of Hyperhive has created the container of `name`."""
        record = self.records[name]
        record.built = self._version
        self.store.save(record)
        self.agents[name].set_stale(False)

    def set_started(self, name: str, start: Start) -> None:
        """Note why the container of `name` starts next; its agent is told."""
        record = self.records[name]
        record.started = start.after(record.started)
        self.store.save(record)
        self.agents[name].set_spec(record.spec)

    def set_commit(self, name: str, commit: str, *, keeps_host: bool = False) -> None:
        """Create the container of `name` from `commit` at its next start.

        `keeps_host`: whether it keeps the host's network, as an agent that an earlier version made.
        """
        record = self.records[name]
        record.deployed, record.keeps_host = commit, keeps_host
        self.store.save(record)
        self.agents[name].set_spec(record.spec)

    def set_crashes(self, name: str, crashes: Crashes) -> None:
        """Note the crashes of the container of `name` since the last job."""
        record = self.records[name]
        if record.crashes != crashes:
            record.crashes = crashes
            self.store.save(record)
            self.agents[name].set_crashes(crashes)

    def job_ended(self, job: Job, result: JobResult, _note: str) -> None:
        """Count the crashes of a container anew after a job that did something about them."""
        cures = result is JobResult.DONE and job.verb is not JobVerb.SLEEP
        if cures and job.agent in self.records:
            self.set_crashes(job.agent, Crashes())

    def set_network(self, name: str, mode: NetworkMode) -> None:
        """Note the network that the files of the container of `name` are made for."""
        record = self.records[name]
        if record.network is not mode:
            record.network = mode
            self.store.save(record)
            self.agents[name].set_spec(record.spec)

    def set_wanted(self, agent: Agent, *, enabled: bool, asleep: bool = False) -> None:
        """Note whether the agent should run, and whether only while it has messages."""
        record = self.records[agent.name]
        record.enabled, record.asleep = enabled, asleep
        self.store.save(record)
        agent.set_wanted(enabled, asleep)

    def expect_end(self, record: Record) -> None:
        """Do not report the end of the container's current invocation as a crash."""
        agent = self.agents.get(record.name)
        record.excused = record.seen or (agent.unit_status.invocation if agent else "")
        self.store.save(record)

    def expect_all_ends(self) -> None:
        """Do not report the ends of any containers: the host stops."""
        for record in self.records.values():
            self.expect_end(record)

    def claim(self, name: str, model: str, listening: frozenset[int]) -> tuple[Record, bool]:
        """Create the record of a new agent, or reuse the record of its tombstone.

        Args:
            name: the agent.
            model: its model; empty for the default, or for that of the tombstone.
            listening: the ports that are used on the host.

        Returns:
            The record, and whether data of an earlier agent is kept.

        Raises:
            LimitExceeded: all uid ranges or all ports are taken.
        """
        record = self.store.find(name)
        kept = self._backend.kept_uid(name)
        if record is None:
            taken = [*self._backend.used_uids(), *self._claimed_uids()]
            free = kept is not None and not any(kept in used for used in taken)
            base = kept if kept is not None and free else uid_ranges.choose(name, taken)
            record, had_data = Record(name, base, model=model), kept is not None
        else:
            if record.phase is Phase.KEPT:
                record.enter(Phase.CREATING)
            record.model, record.enabled, record.seen = model or record.model, True, ""
            record.asleep, record.keeps_host = False, False
            had_data = True
        record.port = record.port or ports.choose(name, listening | self._claimed_ports(name))
        self.store.save(record)
        return record, had_data

    def _changed(self, agent: Agent, changed: frozenset[str]) -> None:
        if changed & _STORED:
            self.store.save_turn(agent.turn_record)
        self.observer.agent_changed(agent, changed)
        for watcher in self.watchers:
            watcher(agent, changed)

    def _claimed_uids(self) -> list[range]:
        records = self.store.records()
        return [range(record.uid_base, record.uid_base + uid_ranges.SIZE) for record in records]

    # Ports

    def assign_ports(self, listening: frozenset[int]) -> None:
        """Assign a port to each record that was stored before agents had ports."""
        for record in self.store.records():
            if not record.port:
                self._assign_port(record, listening)

    def separate_port(self, name: str, listening: frozenset[int]) -> str:
        """Assign another port to `name` if another agent has the same one.

        Returns:
            A note about the change; empty when nothing changed.
        """
        agent, record = self.agents[name], self.records[name]
        others, before = ", ".join(agent.port_shared), record.port
        if not others:
            return ""
        self._assign_port(record, listening)
        self.update_shared_ports()
        if record.port == before:
            return ""
        return f"port changed from {before} (also used by {others}) to {record.port}"

    def update_shared_ports(self) -> None:
        """Show which agents share a port. No agent loses its port here."""
        having = {record.name: record.port for record in self.store.records()}
        shared = ports.shared(having)
        for name, agent in self.agents.items():
            if name in having:
                agent.set_port(having[name], shared[name])

    def _assign_port(self, record: Record, listening: frozenset[int]) -> None:
        try:
            record.port = ports.choose(record.name, listening | self._claimed_ports(record.name))
        except LimitExceeded as error:
            log.warning("%s: %s", record.name, error, extra={"HIVE_AGENT": record.name})
        else:
            self.store.save(record)

    def _claimed_ports(self, name: str) -> set[int]:
        """Return the ports of all agents and tombstones except `name`."""
        return {record.port for record in self.store.records() if record.name != name}
