"""The agents that there are, and what is remembered of them."""

import logging
from collections.abc import Callable
from typing import Protocol

from services.lifecycle.agents import ports, uid_ranges
from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.backends.backend import Backend
from services.lifecycle.store import Store
from services.lifecycle.watch.crash import Crash
from wire.errors import LimitExceeded, NotFound

log = logging.getLogger(__name__)


class AgentObserver(Protocol):
    """Who is told of agents (the D-Bus side)."""

    def agent_added(self, agent: Agent) -> None:
        """There is a new agent."""

    def agent_removed(self, agent: Agent) -> None:
        """It is gone."""

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """These attributes of it have new values."""

    def agent_crashed(self, agent: Agent, crash: Crash) -> None:
        """Its container ended, and no job of ours explains it."""


class Roster:
    """Agents and their records, by name. What is changed here is on disk when the call returns."""

    def __init__(
        self, store: Store, backend: Backend, observer: AgentObserver, version: str
    ) -> None:
        """`version`: of Hyperhive; a container that another one made is stale."""
        self.store = store
        self._version = version
        self.agents: dict[str, Agent] = {}
        self.records: dict[str, Record] = {}
        self.observer = observer
        # Are told of changes after the observer.
        self.watchers: tuple[Callable[[Agent, frozenset[str]], None], ...] = ()
        self._backend = backend

    def agent(self, name: str) -> Agent:
        """The agent `name`. Raises NotFound."""
        agent = self.agents.get(name)
        if agent is None:
            raise self.unknown(name)
        return agent

    def find(self, name: str) -> Record | None:
        """What is remembered of `name`, tombstones included."""
        return self.records.get(name) or self.store.find(name)

    def tombstone(self, name: str) -> Record:
        """The record of a destroyed agent whose data is kept. Raises NotFound."""
        record = self.find(name)
        if record is None or record.phase not in (Phase.KEPT, Phase.PURGING):
            raise NotFound(
                f"Nothing is kept of {name[:40]!r}; `hivectl tombstones` shows of whom there is."
            )
        return record

    def unknown(self, name: str) -> NotFound:
        """That there is no agent `name`."""
        known = ", ".join(sorted(self.agents)) or "none"
        return NotFound(f"There is no agent {name[:40]!r}; there are: {known}.")

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
        agent.announce = self._changed
        self.agents[record.name] = agent
        self.records[record.name] = record
        self.observer.agent_added(agent)
        return agent

    async def remove(self, name: str) -> None:
        """Show the agent no more."""
        await self._backend.forget(name)
        self.records.pop(name, None)
        if agent := self.agents.pop(name, None):
            self.observer.agent_removed(agent)

    def forget(self, name: str) -> None:
        """Remember nothing of `name`: its uid range and its port are free."""
        self.store.remove(name)
        self.compare_ports()

    def built(self, name: str) -> None:
        """The container of `name` is made by this version from now on."""
        record = self.records[name]
        record.built = self._version
        self.store.save(record)
        self.agents[name].set_stale(False)

    def deployed(self, name: str, commit: str) -> None:
        """From its next start on, the container of `name` is made from `commit`."""
        record = self.records[name]
        record.deployed = commit
        self.store.save(record)
        self.agents[name].set_spec(record.spec)

    def want(self, agent: Agent, *, enabled: bool, asleep: bool = False) -> None:
        """Note whether the agent should run, and whether only when somebody needs it."""
        record = self.records[agent.name]
        record.enabled, record.asleep = enabled, asleep
        self.store.save(record)
        agent.set_wanted(enabled, asleep)

    def excuse(self, record: Record) -> None:
        """What ends now ends by us."""
        agent = self.agents.get(record.name)
        record.excused = record.seen or (agent.unit_status.invocation if agent else "")
        self.store.save(record)

    def excuse_all(self) -> None:
        """The whole host goes down."""
        for record in self.records.values():
            self.excuse(record)

    def claim(self, name: str, model: str, listening: frozenset[int]) -> tuple[Record, bool]:
        """A record for a new agent, and whether data of an earlier one waits for it.

        `listening`: the ports that are used on the host. Raises LimitExceeded.
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
            record.asleep = False
            had_data = True
        record.port = record.port or ports.choose(name, listening | self._claimed_ports(name))
        self.store.save(record)
        return record, had_data

    def _changed(self, agent: Agent, changed: frozenset[str]) -> None:
        self.observer.agent_changed(agent, changed)
        for watcher in self.watchers:
            watcher(agent, changed)

    def _claimed_uids(self) -> list[range]:
        records = self.store.records()
        return [range(record.uid_base, record.uid_base + uid_ranges.SIZE) for record in records]

    # Ports

    def give_ports(self, listening: frozenset[int]) -> None:
        """Give a port to everybody of before there were any; `listening`: as `claim` has it."""
        for record in self.store.records():
            if not record.port:
                self._give_port(record, listening)

    def part_port(self, name: str, listening: frozenset[int]) -> str:
        """Give `name` another port when somebody else has its own, too; says so, or nothing."""
        agent, record = self.agents[name], self.records[name]
        others, before = ", ".join(agent.port_shared), record.port
        if not others:
            return ""
        self._give_port(record, listening)
        self.compare_ports()
        if record.port == before:
            return ""
        return f"port {before}, which {others} has, too, is {record.port} now"

    def _give_port(self, record: Record, listening: frozenset[int]) -> None:
        try:
            record.port = ports.choose(record.name, listening | self._claimed_ports(record.name))
        except LimitExceeded as error:
            log.warning("%s: %s", record.name, error, extra={"HIVE_AGENT": record.name})
        else:
            self.store.save(record)

    def _claimed_ports(self, name: str) -> set[int]:
        """The ports of all agents and tombstones but `name`."""
        return {record.port for record in self.store.records() if record.name != name}

    def compare_ports(self) -> None:
        """Show whose port somebody else has, too; nobody's is taken away for that."""
        having = {record.name: record.port for record in self.store.records()}
        shared = ports.shared(having)
        for name, agent in self.agents.items():
            if name in having:
                agent.set_port(having[name], shared[name])
