"""The harnesses of all agents: their reports, their connections, and the commands to them."""

from collections.abc import Callable

from services.lifecycle.agents.agent import check_effort
from services.lifecycle.agents.roster import Roster
from services.lifecycle.commands import Commands, Peer, check_login_code
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.login import login_notices
from services.lifecycle.notices.notice import Notice
from services.lifecycle.watch.provider_limits import ProviderLimits
from wire import names
from wire.errors import AccessDenied, Unavailable
from wire.principal import Principal
from wire.records.lifecycle import (
    AgentState,
    CommandArguments,
    CommandResult,
    CommandVerb,
    JobResult,
    Report,
)
from wire.steering import DEFAULT


class Harnesses:
    """The harnesses, each in the container of its agent."""

    def __init__(
        self, roster: Roster, limits: ProviderLimits, tell: Callable[[Notice], None]
    ) -> None:
        """Start with no harness.

        Args:
            roster: the agents.
            limits: learns which limits the harnesses report, and which harness has come.
            tell: sends a message.
        """
        self._roster = roster
        self._limits = limits
        self._tell = tell
        self._commands = Commands(self._changed)

    def report(self, principal: Principal, name: str, report: Report) -> None:
        """Note a report of the harness of `name`.

        Raises:
            AccessDenied: the caller is not the agent itself.
            InvalidArgument: the report is not valid.
        """
        self._check_own(principal, name, "report its state")
        agent = self._roster.agent(name)
        missed = agent.login_missing
        agent.report(report)
        self._limits.reported(agent, report.provider_limit_until)
        for notice in login_notices(agent, missed):
            self._tell(notice)

    def connected(self, principal: Principal, name: str, peer: Peer | None) -> None:
        """Note whether the harness of `name` is connected to its endpoint.

        Args:
            principal: the caller.
            name: the agent.
            peer: the connection of the endpoint; None when no harness is connected to it.

        Raises:
            AccessDenied: the caller is not the agent itself.
        """
        self._check_own(principal, name, "say whether its harness is connected")
        harness = self._commands.of(self._roster.agent(name).name)
        if peer is None:
            harness.disconnect()
        else:
            harness.connect(peer)

    async def command(
        self, name: str, verb: CommandVerb, arguments: CommandArguments
    ) -> CommandResult:
        """Have the harness of `name` carry out a command; return its result.

        Raises:
            InvalidArgument: the model, the level of effort, the project or the code is not valid.
            NotFound: there is no such agent.
            Conflict: the harness refused the command.
            Unavailable: the harness is away, or has not answered in time.
        """
        agent = self._roster.agent(name)
        if verb in (CommandVerb.MODEL, CommandVerb.EFFORT) and arguments.value == DEFAULT:
            arguments = arguments._replace(value="")
        if verb is CommandVerb.MODEL and arguments.value:
            names.check_model_name(arguments.value)
        if verb is CommandVerb.EFFORT:
            check_effort(arguments.value)
        if verb is CommandVerb.RESET_PROJECT:
            names.check_project_name(arguments.value)
        if verb is CommandVerb.LOGIN_CODE:
            check_login_code(arguments.value)
        if agent.state is AgentState.PAUSED:
            raise Unavailable(f"{name} is paused. Resume it first: hivectl resume {name}")
        if not agent.unit_status.up:
            raise Unavailable(f"{name} is {agent.state}. Start it first: hivectl start {name}")
        return await self._commands.run(name, verb, arguments)

    def command_done(self, principal: Principal, name: str, id: int, result: CommandResult) -> None:
        """Note the result of a command.

        Raises:
            AccessDenied: the caller is not the agent itself.
            NotFound: nobody waits for it any more.
        """
        self._check_own(principal, name, "answer its commands")
        self._commands.of(self._roster.agent(name).name).done(id, result)

    def tell(self, name: str, verb: CommandVerb, value: str) -> None:
        """Issue a command whose answer nobody waits for, if the harness of `name` is connected."""
        self._commands.tell(name, verb, value)

    def job_ended(self, job: Job, _result: JobResult, _note: str) -> None:
        """Forget the harness of an agent that the job has removed."""
        if job.agent not in self._roster.agents:
            self._commands.forget(job.agent)

    def _changed(self, name: str, connected: bool) -> None:
        if agent := self._roster.agents.get(name):
            agent.set_harness(connected)
            if connected:
                self._limits.harness_connected(name)

    @staticmethod
    def _check_own(principal: Principal, name: str, what: str) -> None:
        if not (principal.is_agent and principal.name == name):
            raise AccessDenied(f"Only the endpoint of {name} may {what}.")
