"""The settings that apply to each agent, and the operator's changes to its limits."""

from services.agentfile import AgentFile
from services.config import LifecycleConfig
from services.lifecycle.agents import resources
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.jobs.runner import JobRunner
from wire.errors import Conflict
from wire.records.lifecycle import Network, ProjectAccess, ResourceChanges, Resources


class EffectiveSettings:
    """The settings of each agent: those of the hive, of its agent.toml, and of the operator."""

    def __init__(
        self, roster: Roster, backend: Backend, jobs: JobRunner, config: LifecycleConfig
    ) -> None:
        self._roster = roster
        self._backend = backend
        self._jobs = jobs
        self._config = config

    async def set_resources(self, name: str, changes: ResourceChanges) -> None:
        """Change an agent's limits, now and for later starts.

        Raises:
            NotFound: there is no such agent.
            InvalidArgument: a resource or a value is not valid.
            Conflict: the agent has a job.
        """
        agent = self._roster.agent(name)
        values = resources.checked(changes)
        if job := self._jobs.of(name):
            raise Conflict(job.refusal)
        record = self._roster.records[name]
        record.resources = resources.merged(record.resources, values)
        self._roster.store.save(record)
        agent.set_spec(record.spec)
        await self._backend.limit(record.spec)

    def resources(self, name: str) -> Resources:
        """Return the limits of an agent."""
        return self._backend.resources(self._roster.agent(name).spec)

    def network(self, name: str) -> Network:
        """Return the addresses that an agent may reach."""
        return self._backend.network(self._roster.agent(name).spec)

    def image(self, name: str) -> str:
        """Return the tree that an agent's /usr comes from; / is the host."""
        return self._config.image_of(name)

    def sleeps_after(self, name: str) -> float:
        """Return the seconds that an agent is idle before it falls asleep; 0 for never."""
        return self._config.sleeps_after(name, self._deployed(name).sleep_after)

    def resumes_after_limit(self, name: str) -> bool:
        """Return whether an agent goes on by itself after a limit of its provider."""
        return self._deployed(name).resume_after_limit

    def projects(self, name: str) -> list[ProjectAccess]:
        """Return the projects that an agent has, and what it may do with each."""
        return [project.access for project in self._deployed(name).projects]

    def max_attempts(self, name: str) -> int | None:
        """Return how often a message is handed to an agent; None for the broker's number."""
        return self._deployed(name).max_attempts

    def _deployed(self, name: str) -> AgentFile:
        """Return the agent's agent.toml; the defaults if the agent has just been removed."""
        agent = self._roster.agents.get(name)
        return self._backend.configuration(agent.spec) if agent else AgentFile()
