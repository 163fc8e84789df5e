"""The operations on agents that are jobs: which are allowed, and the arguments of each job."""

from collections.abc import Mapping

from services.lifecycle.agents.agent import check_commit
from services.lifecycle.agents.record import Phase
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.start import SYSTEM
from services.lifecycle.jobs.job import Job
from services.lifecycle.jobs.runner import JobRunner
from services.lifecycle.jobs.steps import Steps
from wire import names
from wire.errors import AlreadyExists, Conflict, NotFound
from wire.records.lifecycle import DeployOptions, JobVerb, SpawnOptions


class Orders:
    """The orders of jobs. Each is on disk when the method returns."""

    def __init__(self, roster: Roster, jobs: JobRunner, steps: Steps) -> None:
        self._roster = roster
        self._jobs = jobs
        self._steps = steps

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
        job = self._jobs.of(name)
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
        job = self._jobs.find(number)
        if job.verb is not JobVerb.DEPLOY:
            raise Conflict(
                f"Job {number} is not a deploy but a {job.verb}; only a deploy waits for a turn."
            )
        self._steps.deploys.hurry(job)

    def hurry_deploy(self, name: str) -> None:
        """Make a deploy of the agent `name`, if there is one, wait for no end of a turn."""
        job = self._jobs.of(name)
        if job is not None and job.verb is JobVerb.DEPLOY and not job.arguments.get("now"):
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
        if self._jobs.of(name) is None:
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

    async def kill(self, name: str, by: str) -> Job:
        """Order the end of an agent's container, without waiting for its processes.

        If the container is being stopped, its processes are killed, and the job is the one that
        stops it.

        Raises:
            NotFound: there is no such agent.
            Conflict: the agent has another job.
        """
        self._roster.agent(name)
        job = self._jobs.of(name)
        if job is not None and job.verb is JobVerb.STOP and not job.cancelling:
            await self._steps.kill(name)
            return job
        return self._submit(name, JobVerb.KILL, {}, by=by)

    def update_at_rest(self, name: str) -> Job:
        """Order an update that restarts the agent only when that interrupts no turn."""
        return self._submit(name, JobVerb.UPDATE, {}, at_rest=True)

    def cancel(self, number: int) -> None:
        """Undo a job. Raises NotFound, Conflict."""
        self._jobs.cancel(number)

    def resume(self, job: Job) -> None:
        """Begin `job`, which an earlier lifecycle has stored and not ended."""
        self._jobs.resume(job, *self._steps.by_verb[job.verb])

    def _submit(self, name: str, verb: JobVerb, wanted: Mapping[str, object], **how: object) -> Job:
        """Submit a job. Requests that differ only in `how` are the same request."""
        arguments = {**wanted, **how, **self._steps.snapshot(name)}
        job = Job(name, verb, tuple(wanted.values()), arguments)
        return self._jobs.submit(job, *self._steps.by_verb[verb])
