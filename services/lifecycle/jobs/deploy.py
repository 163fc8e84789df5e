"""The deploy job: an agent gets another configuration, or keeps the one it had.

    build -> end of the turn -> switch -> stop -> start
                                   |_______|_______|_ fails: switch back, stop and start again

A configuration that differs only in keys that apply to a running container is laid under it, and
neither its turn nor its container ends for it:

    build -> switch

The agent is unaffected until the switch. Everything that the way back needs is stored with the
job before the step that makes it necessary.
"""

from dataclasses import replace

from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.start import SYSTEM
from services.lifecycle.backends.backend import Backend
from services.lifecycle.harnesses import Harnesses
from services.lifecycle.jobs.containers import Containers, waiting
from services.lifecycle.jobs.job import Job
from services.lifecycle.jobs.progress import step
from services.lifecycle.watch.turns import Turns
from wire.errors import Conflict, HiveError
from wire.records.lifecycle import AgentState, CommandArguments, CommandVerb


class DeploySteps:
    """The steps of a deploy.

    The arguments of the job:
        commit, now: the request.
        former: the commit before; stored at the switch, like `runs` and `ran`.
        runs: whether the container is to run with the new commit.
        ran: whether the container ran with the former commit.
        live: whether the container goes on with the new commit.
        kept_host: whether the container kept the host's network before.
        down: the container was stopped.
        failed: the reason to go back.
    """

    def __init__(
        self,
        roster: Roster,
        backend: Backend,
        containers: Containers,
        turns: Turns,
        harnesses: Harnesses,
    ) -> None:
        self._roster = roster
        self._backend = backend
        self._containers = containers
        self._turns = turns
        self._harnesses = harnesses

    async def deploy(self, job: Job) -> str:
        """Deploy the commit; restore the former one if the container does not get READY.

        Raises:
            Conflict: the build or the start failed; the agent is as before.
            CutShortError: the host stops, which says nothing about the configuration.
        """
        agent, kept = self._roster.agent(job.agent), job.arguments
        commit = str(kept["commit"])
        if "former" not in kept:
            if agent.spec.commit == commit:
                return ""  # an earlier job has deployed it; the caller missed its end
            await self._get_ready(job, agent)
            # A container that was given up may have needed just this deploy. A container that
            # should run may be down after a reboot in the middle of the job.
            runs = (agent.enabled and not agent.asleep) or _runs(agent)
            ran = runs and agent.state is not AgentState.FAILED
            live = _runs(agent) and self._applies_at_once(agent, commit)
            kept_host = agent.spec.keeps_host
            self._keep(
                job, former=agent.spec.commit, ran=ran, runs=runs, live=live, kept_host=kept_host
            )
        try:
            if "failed" not in kept:
                await self._switch(job, commit)
        except HiveError as failure:
            await self._containers.raise_if_host_stops()
            text = f"{agent.name} does not start with its configuration at {commit[:12]}: {failure}"
            self._keep(job, failed=text, changes=f"A deploy failed. {text}")
        if "failed" in kept:
            raise Conflict(await self._go_back(job))
        return ""

    def hurry(self, job: Job) -> None:
        """Do not wait, or no longer wait, for the end of the turn."""
        self._keep(job, now=True)
        self._turns.recheck(job.agent)

    async def undo(self, job: Job) -> str:
        """Restore the state before the job."""
        await self._backend.stop_build(job.agent)
        if "former" in job.arguments:
            await self._restore(job)
        else:
            await self._restart_after_boot(job)
        return ""

    async def _get_ready(self, job: Job, agent: Agent) -> None:
        commit = str(job.arguments["commit"])
        with waiting(job):
            step(f"{agent.name}: building the configuration at {commit[:12]}")
            try:
                await self._backend.build(agent.spec_at(commit), job.number, job.tell, renew=True)
            except HiveError:
                await self._containers.raise_if_host_stops()
                await self._restart_after_boot(job)
                raise
            at_once = _runs(agent) and self._applies_at_once(agent, commit)
            if not job.arguments.get("now") and not at_once:
                job.awaits_turn = True
                try:
                    await self._turns.ended(agent, lambda: bool(job.arguments["now"]), step)
                finally:
                    job.awaits_turn = False

    async def _restart_after_boot(self, job: Job) -> None:
        """Start a container that ran when the job was ordered and a reboot has stopped since."""
        if job.arguments.get("ran") and self._roster.agent(job.agent).state is AgentState.STOPPED:
            await self._containers.start(job)

    async def _switch(self, job: Job, commit: str) -> None:
        self._roster.set_commit(job.agent, commit)
        if await self._went_on(job):
            return
        if not job.arguments["runs"]:
            await self._containers.prepare(job)
            return
        if "down" not in job.arguments:
            await self._keep_objects(job)
            await self._containers.stop(job)
            self._keep(job, down=True)
        await self._containers.start(job)

    async def _keep_objects(self, job: Job) -> None:
        """Let the harness copy what it borrows from projects that the agent is about to lose.

        If it cannot, the agent has its files still, and all again when it gets the project back.
        """
        agent = self._roster.agent(job.agent)
        before = self._backend.configuration(agent.spec_at(str(job.arguments["former"])))
        after = {project.name for project in self._backend.configuration(agent.spec).projects}
        lost = [project.name for project in before.projects if project.name not in after]
        if not lost:
            return
        step(f"{agent.name}: copying the objects of {', '.join(lost)}, which it loses")
        try:
            await self._harnesses.command(
                agent.name,
                CommandVerb.KEEP_OBJECTS,
                CommandArguments(value=" ".join(lost), by=SYSTEM),
            )
        except HiveError as error:
            step(f"{agent.name}: not all objects were copied: {error}")

    async def _went_on(self, job: Job) -> bool:
        """Write the files of a container that goes on; return whether it does.

        A reboot in the middle of the job may have ended it.
        """
        agent = self._roster.agent(job.agent)
        if not (job.arguments.get("live") and _runs(agent)):
            return False
        await self._containers.write(agent)
        return True

    def _applies_at_once(self, agent: Agent, commit: str) -> bool:
        """Return whether the container can go on with the configuration at `commit`."""
        before, after = agent.spec, replace(agent.spec_at(commit), keeps_host=False)
        if self._backend.network_mode(after) is not before.network:
            return False
        now = self._backend.configuration(before)
        return now.differs_live(self._backend.configuration(after))

    async def _go_back(self, job: Job) -> str:
        """Restore the former configuration; return the outcome in words."""
        failed = str(job.arguments["failed"])
        step(f"{job.agent}: restoring the previous configuration: {failed}")
        try:
            await self._restore(job)
        except HiveError as error:
            await self._containers.raise_if_host_stops()
            return f"{failed} It does not start with its previous configuration either: {error}"
        return f"{failed} Its previous configuration was restored."

    async def _restore(self, job: Job) -> None:
        kept = bool(job.arguments.get("kept_host"))
        self._roster.set_commit(job.agent, str(job.arguments["former"]), keeps_host=kept)
        if await self._went_on(job):
            return
        if job.arguments["runs"]:
            await self._containers.stop(job)
        if job.arguments["ran"]:
            await self._containers.start(job)
        else:
            await self._containers.prepare(job)

    def _keep(self, job: Job, **values: object) -> None:
        job.arguments.update(values)
        self._roster.store.save_job(job)


def _runs(agent: Agent) -> bool:
    return agent.unit_status.up or agent.state is AgentState.STARTING
