"""Lifecycle's feed: agents and jobs."""

from contextlib import suppress

from services.dashboard.clients.feed import Feed
from services.dashboard.state.page_state import PageState
from wire import names
from wire.bus import Bus
from wire.clients.lifecycle import JobClient, LifecycleClient
from wire.errors import NotFound
from wire.records.codec import decode, updated
from wire.records.lifecycle import (
    AgentProperties,
    Crashed,
    JobNew,
    JobOutput,
    JobRemoved,
    JobState,
)
from wire.signals import Signal


class LifecycleFeed(Feed):
    """Agents and jobs."""

    service = "lifecycle"
    rules = (
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.OBJECT_MANAGER},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.PROPERTIES},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.AGENT_INTERFACE},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.JOB_INTERFACE},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.LIFECYCLE},
    )

    def __init__(self, bus: Bus, state: PageState) -> None:
        super().__init__(bus, state)
        self._lifecycle = LifecycleClient(bus)
        self._agents: dict[str, AgentProperties] = {}
        """The agents by object path."""

    async def fetch_all(self) -> None:
        """Fetch all agents and jobs."""
        self._agents, jobs = await self._lifecycle.managed_objects()
        self.state.replace_agents(self._agents.values())
        self.state.replace_jobs(jobs)
        for path in jobs:
            with suppress(NotFound):  # it has ended meanwhile
                self.state.replace_output(path, await JobClient(self.bus, path).get_output())

    def apply(self, signal: Signal) -> None:
        """Agents appear, change, crash and disappear; jobs begin and end."""
        match signal.member, signal.args:
            case "InterfacesAdded", [str(path), {names.AGENT_INTERFACE: properties}]:
                self._put(path, decode(AgentProperties, properties))
            case "InterfacesRemoved", [str(path), list(gone)] if names.AGENT_INTERFACE in gone:
                if agent := self._agents.pop(path, None):
                    self.state.remove_agent(agent.name)
            case "PropertiesChanged", [names.AGENT_INTERFACE, dict(changed), _]:
                if agent := self._agents.get(signal.path):
                    self._put(signal.path, updated(agent, changed))
            case "Crashed", values:
                if agent := self._agents.get(signal.path):
                    self.state.add_crash(agent.name, decode(Crashed, values))
            case _:
                self._apply_job(signal)

    def _apply_job(self, signal: Signal) -> None:
        match signal.member, signal.args:
            case "PropertiesChanged", [names.JOB_INTERFACE, {"State": str(state)}, _]:
                self.state.put_job_state(signal.path, JobState(state))
            case "Output", values:
                self.state.add_output(signal.path, decode(JobOutput, values).lines)
            case "JobNew", values:
                self.state.add_job(decode(JobNew, values))
            case "JobRemoved", values:
                self.state.remove_job(decode(JobRemoved, values))

    def _put(self, path: str, agent: AgentProperties) -> None:
        self._agents[path] = agent
        self.state.put_agent(agent)
