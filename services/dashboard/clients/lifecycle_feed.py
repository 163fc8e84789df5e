"""Lifecycle's feed: agents and jobs."""

from typing import Any

from wire import names
from wire.bus import Bus
from wire.signals import Signal

from ..state.page_state import PageState
from .feed import Feed


class LifecycleFeed(Feed):
    """Agents and jobs."""

    service = "lifecycle"
    rules = (
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.OBJECT_MANAGER},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.PROPERTIES},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.AGENT_INTERFACE},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.LIFECYCLE},
    )

    def __init__(self, bus: Bus, state: PageState) -> None:
        super().__init__(bus, state)
        self._names: dict[str, str] = {}
        """Agent names by object path."""

    async def fetch_all(self) -> None:
        """Fetch all objects of lifecycle."""
        objects: dict[str, dict[str, dict[str, Any]]] = await self.bus.call1(
            self.name, self.path, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        agents, jobs = {}, {}
        for path, interfaces in objects.items():
            if agent := interfaces.get(names.AGENT_INTERFACE):
                agents[path] = agent
            if job := interfaces.get(names.JOB_INTERFACE):
                jobs[path] = (job["Agent"], job["Verb"])
        self._names = {path: agent["Name"] for path, agent in agents.items()}
        self.state.replace_agents({agent["Name"]: agent for agent in agents.values()})
        self.state.replace_jobs(jobs)

    def apply(self, signal: Signal) -> None:
        """Agents appear, change, crash and disappear; jobs begin and end."""
        match signal.member, signal.args:
            case "InterfacesAdded", [str(path), {names.AGENT_INTERFACE: agent}]:
                self._names[path] = agent["Name"]
                self.state.update_agent(agent["Name"], agent)
            case "InterfacesRemoved", [str(path), list(gone)] if names.AGENT_INTERFACE in gone:
                if name := self._names.pop(path, None):
                    self.state.remove_agent(name)
            case "PropertiesChanged", [names.AGENT_INTERFACE, dict(changed), _]:
                if name := self._names.get(signal.path):
                    self.state.update_agent(name, changed)
            case "Crashed", [str(result), int(status)]:
                if name := self._names.get(signal.path):
                    self.state.add_crash(name, result, status)
            case "JobNew", [_, str(path), str(agent), str(verb)]:
                self.state.add_job(path, agent, verb)
            case "JobRemoved", [_, str(path), str(agent), str(verb), str(result), str(error)]:
                self.state.remove_job(path, agent, verb, result, error)
