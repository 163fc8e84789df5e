"""A deploy: an agent gets another configuration, or runs on with the one it had.

    build -> end of the turn -> switch -> down -> up
                                   |________|_____|_ fails: back to the one before, up again

Until the switch nothing has happened to the agent. What the way back must know is kept with the
job, before what it is about is done.
"""

from services.lifecycle.agents.agent import Agent, State
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.jobs.containers import Containers, waiting
from services.lifecycle.jobs.job import Job
from services.lifecycle.jobs.progress import step
from services.lifecycle.watch.turns import Turns
from wire.errors import Conflict, HiveError


class DeploySteps:
    """The work of the verb `deploy`.

    Keys of a job's arguments: `commit` and `now` as asked for; from the switch on `former`, the
    commit before, `runs`, whether the container is to run with the new one, and `ran`, whether with
    that one; then `down`, that it was stopped; or `failed`, why it goes back.
    """

    def __init__(
        self, roster: Roster, backend: Backend, containers: Containers, turns: Turns
    ) -> None:
        self._roster = roster
        self._backend = backend
        self._containers = containers
        self._turns = turns

    async def deploy(self, job: Job) -> str:
        """Raises Conflict when it is not built, or does not get READY; then all is as before.

        A host that goes down proves nothing: CutShortError then, and the next lifecycle goes on.
        """
        agent, kept = self._roster.agent(job.agent), job.arguments
        commit = str(kept["commit"])
        if "former" not in kept:
            if agent.spec.commit == commit:
                return ""  # and it runs, if it does, from that: whoever asks again missed the end
            await self._get_ready(job, agent)
            # One that was given up may only have waited for this. One that is to run and does not
            # is there, too, after a boot in the middle of the job.
            runs = (agent.enabled and not agent.asleep) or _runs(agent)
            ran = runs and agent.state is not State.FAILED
            self._keep(job, former=agent.spec.commit, ran=ran, runs=runs)
        try:
            if "failed" not in kept:
                await self._switch(job, commit)
        except HiveError as failure:
            await self._containers.stay()
            text = f"{agent.name} does not start with its configuration at {commit[:12]}: {failure}"
            self._keep(job, failed=text)
        if "failed" in kept:
            raise Conflict(await self._go_back(job))
        return ""

    def hurry(self, job: Job) -> None:
        """Wait for no turn, or no longer."""
        self._keep(job, now=True)
        self._turns.hurry(job.agent)

    async def undo(self, job: Job) -> str:
        """Leave the agent as it was."""
        await self._backend.stop_build(job.agent)
        if "former" in job.arguments:
            await self._restore(job)
        else:
            await self._still_run(job)
        return ""

    async def _get_ready(self, job: Job, agent: Agent) -> None:
        commit = str(job.arguments["commit"])
        with waiting(job):
            step(f"{agent.name}: its configuration at {commit[:12]} is built")
            try:
                await self._backend.build(agent.spec_at(commit), job.number)
            except HiveError:
                await self._containers.stay()
                await self._still_run(job)
                raise
            if not job.arguments.get("now"):
                step(f"{agent.name}: the end of its turn is waited for")
                await self._turns.over(agent, lambda: bool(job.arguments["now"]))

    async def _still_run(self, job: Job) -> None:
        """What ran when this was ordered still does, or again: the host may have been booted."""
        if job.arguments.get("ran") and self._roster.agent(job.agent).state is State.STOPPED:
            await self._containers.up(job)

    async def _switch(self, job: Job, commit: str) -> None:
        self._roster.deployed(job.agent, commit)
        if not job.arguments["runs"]:
            await self._containers.lay(job)
            return
        if "down" not in job.arguments:
            await self._containers.down(job)
            self._keep(job, down=True)
        await self._containers.up(job)

    async def _go_back(self, job: Job) -> str:
        """Restore, and say how that went."""
        failed = str(job.arguments["failed"])
        step(f"{job.agent}: its configuration is that of before again: {failed}")
        try:
            await self._restore(job)
        except HiveError as error:
            await self._containers.stay()
            return f"{failed} Nor does it start as it was before: {error}"
        return f"{failed} It has the one from before again."

    async def _restore(self, job: Job) -> None:
        self._roster.deployed(job.agent, str(job.arguments["former"]))
        if job.arguments["runs"]:
            await self._containers.down(job)
        if job.arguments["ran"]:
            await self._containers.up(job)
        else:
            await self._containers.lay(job)

    def _keep(self, job: Job, **values: object) -> None:
        job.arguments.update(values)
        self._roster.store.save_job(job)


def _runs(agent: Agent) -> bool:
    return agent.unit_status.up or agent.state is State.STARTING
