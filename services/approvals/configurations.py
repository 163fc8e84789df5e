"""The operator's own changes of a configuration: a commit, a request and its approval in one go."""

from services import agentfile
from services.approvals import bounds
from services.approvals.approvals import Approvals
from services.approvals.comparisons import Comparisons
from services.approvals.git import tree_policy
from services.approvals.git.protocols import Repositories
from services.approvals.ledger import Ledger
from wire import names
from wire.errors import Conflict, InvalidArgument, LimitExceeded
from wire.records.approvals import Allowed, Change, ConfigFile, ConfigureOptions


class Configurations:
    """The files of the deployed configurations, to be read and changed by the operator."""

    def __init__(
        self,
        approvals: Approvals,
        ledger: Ledger,
        repositories: Repositories,
        comparisons: Comparisons,
    ) -> None:
        self._approvals = approvals
        self._requests = ledger.requests
        self._repositories = repositories
        self._comparisons = comparisons

    async def get(self, agent: str, path: str) -> ConfigFile:
        """Return a file of the deployed configuration of an agent.

        Raises:
            InvalidArgument: an argument is not valid, or the file is not UTF-8 text.
            NotFound: there is no such agent or file.
            Conflict: the agent is being spawned.
            LimitExceeded: the file is larger than 64 KiB.
            Unavailable: lifecycle cannot be asked, or git cannot be used.
        """
        names.check_agent_name(agent)
        bounds.check_path(path)
        commit = await self._approvals.deployed(agent)
        text = await self._repositories.read(agent, commit, path)
        return ConfigFile(text, commit, await self._repositories.files(agent, commit))

    async def compare(self, agent: str, path: str, text: str) -> Change:
        """Return the change that `configure` would make to what is deployed now.

        Raises as `get`; and InvalidArgument if the file would not be valid, and Conflict if it
        would be as it is.
        """
        names.check_agent_name(agent)
        commit, main = await self._edited(agent, path, text, await self._approvals.deployed(agent))
        return Change(await self._comparisons.between(agent, main, commit), main)

    async def configure(
        self, agent: str, path: str, text: str, base: str, options: ConfigureOptions
    ) -> Allowed:
        """Replace a file of the deployed configuration of an agent, and deploy that.

        Args:
            agent: the agent.
            path: a file of the configuration.
            text: the new text of the file.
            base: the deployed commit that the operator has edited, all 40 digits.
            options: the reason, and whether the deploy waits for the end of the turn.

        Raises:
            InvalidArgument: an argument is not valid, or the file would not be.
            NotFound: there is no such agent or file.
            Conflict: another commit is deployed, the file would be as it is, another request of the
                agent is in progress, or one of the operator's is pending.
            LimitExceeded: the file is too large, or too many requests wait.
            Unavailable: lifecycle cannot be asked, or git cannot be used.
            HiveError: lifecycle refused the job. The request has failed.
        """
        names.check_agent_name(agent)
        bounds.check_whole_commit(base)
        bounds.check_text("reason", options.reason, at_least=0)
        async with self._approvals.changing:
            main = await self._approvals.deployed(agent)
            self._check_free(agent)
            if base != main:
                raise Conflict(
                    f"{agent} has {main[:12]} deployed now, and your change is based on "
                    f"{base[:12]}: nothing was done. Look at the configuration again."
                )
            commit, _ = await self._edited(agent, path, text, main)
            reason = options.reason.strip() or f"Edit {path}"
            number = await self._approvals.request_own(agent, commit, reason)
        return await self._approvals.approve_own(number, commit, main, now=options.now)

    def _check_free(self, agent: str) -> None:
        """Check that a change would replace nothing that the operator has begun.

        Raises:
            Conflict: it would.
        """
        if others := self._requests.in_progress(agent):
            raise Conflict(
                f"Request {others[0].id} for {agent} is {others[0].state}; try again when it has "
                f"ended (`hivectl status {agent}` shows its job)."
            )
        pending = self._requests.pending(agent)
        if pending and pending.requested_by == names.OPERATOR:
            raise Conflict(
                f"Request {pending.id} for {agent}, which you made, is pending: decide about it "
                f"first (`hivectl approve {pending.id}` or `hivectl withdraw {pending.id}`)."
            )

    async def _edited(self, agent: str, path: str, text: str, main: str) -> tuple[str, str]:
        """Commit `text` on top of `main`, which is deployed; return both commits."""
        bounds.check_path(path)
        if path == agentfile.NAME:
            bounds.check_config(text)
        if len(text.encode(errors="replace")) > tree_policy.MAX_AGENT_FILE:
            raise LimitExceeded(f"{path} is larger than {tree_policy.MAX_AGENT_FILE // 2**10} KiB.")
        if "\0" in text:
            raise InvalidArgument(f"{path} has a NUL character, so it is not text.")
        if await self._repositories.read(agent, main, path) == text:
            raise Conflict(f"{path} of {agent} is deployed as it is: there is no change.")
        commit = await self._repositories.commit_file(
            agent, text, f"Edit {path}", parent=main, path=path
        )
        await self._repositories.check(agent, commit, base=main)
        return commit, main
