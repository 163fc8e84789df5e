"""The rules for callers: who may request what, and what a yes or a no needs.

The approved requests are carried out by deploys/.
"""

import asyncio
import logging
from typing import Final

from services import agentfile
from services.approvals import bounds, list_entries
from services.approvals.deploys.deployer import Deployer
from services.approvals.deploys.lifecycle import Lifecycle
from services.approvals.deploys.reconciler import Reconciler, outdated_note
from services.approvals.git.protocols import Meta, Repositories
from services.approvals.ledger import Ledger
from services.approvals.model import IN_PROGRESS, Approval
from services.approvals.options import MAX_LISTED
from wire import names
from wire.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from wire.records.approvals import (
    NO_JOB,
    Allowed,
    ApprovalFilter,
    ApprovalKind,
    ApprovalState,
    Deploy,
)

log = logging.getLogger(__name__)

MAX_LISTED_TEXT: Final = 4 * 1024 * 1024
"""Characters of reasons and notes in one answer: the bus disconnects a sender of 32 MiB at once."""

NEVER_DEPLOYED: Final = "[It was never deployed before.]"
"""The prefix of the description of a revert to a commit that was never deployed."""


class Approvals:
    """The calls of the interface, without the bus."""

    def __init__(
        self,
        ledger: Ledger,
        repositories: Repositories,
        meta: Meta,
        reconciler: Reconciler,
        deployer: Deployer,
        lifecycle: Lifecycle,
    ) -> None:
        self._ledger = ledger
        self._requests = ledger.requests
        self._repositories = repositories
        self._meta = meta
        self._reconciler = reconciler
        self._deployer = deployer
        self._lifecycle = lifecycle
        self.changing = asyncio.Lock()
        """Held while a change of the operator's own is requested: the next one is based on it."""

    # Requests

    async def request_spawn(
        self, requested_by: str, agent: str, reason: str, config: str | None = None
    ) -> int:
        """Ask for a new agent; return the id of the request.

        Args:
            config: the text of its agent.toml; None: what is kept of an earlier agent of that name,
                else the template.

        Raises:
            InvalidArgument: the name, the reason or the configuration is not valid.
            AlreadyExists: there is such an agent.
            Conflict: another open request has the name, or agents of this host cannot have the kept
                configuration.
            LimitExceeded: too many requests wait, or the manager has asked too often.
            Unavailable: lifecycle cannot be asked, or git cannot be used.
        """
        names.check_agent_name(agent)
        bounds.check_text("reason", reason, at_least=1)
        if config is not None:
            bounds.check_config(config)
            self._repositories.check_agent_file(config)
        if agent in (await self._lifecycle.snapshot()).agents:
            raise AlreadyExists(f"The agent {agent} already exists; choose another name.")
        self._ledger.check_limits(requested_by)
        # One at a time, so that no two find the name free.
        async with self._reconciler.lock:
            in_progress = self._requests.in_progress(agent)
            if other := self._requests.pending(agent) or next(iter(in_progress), None):
                raise Conflict(
                    f"Request {other.id} for {agent} is {other.state}; wait until it is resolved."
                )
            commit = await self._reconciler.first_commit(agent, config)
            if config is None:
                await self._check_kept(agent, commit)
            approval = self._ledger.add(ApprovalKind.SPAWN, agent, commit, reason, requested_by)
        return await self._pin(approval)

    async def request_apply(
        self, requested_by: str, agent: str, commit: str, description: str, *, revert: bool = False
    ) -> int:
        """Ask for another configuration of an agent; return the id of the request.

        The commit is taken from the proposed repository, and nobody else can change it from then
        on. A pending request for the agent is superseded.

        Args:
            commit: 7 to 40 hexadecimal digits of its name.
            revert: whether it need not be based on what is deployed.

        Raises:
            InvalidArgument: an argument, or the tree of the commit, is not valid.
            NotFound: there is no such agent or commit.
            Conflict: the commit is deployed already, or is not based on what is deployed; or the
                manager asks while a request of the operator's is pending.
            LimitExceeded: the commit is too large, too many requests wait, or the manager has asked
                too often.
            Unavailable: lifecycle cannot be asked, or git cannot be used.
        """
        names.check_agent_name(agent)
        bounds.check_commit(commit)
        bounds.check_text("description", description, at_least=1)
        kind = ApprovalKind.REVERT if revert else ApprovalKind.APPLY
        with self._ledger.attempt(requested_by, agent):
            main = await self.deployed(agent)
            whole = await self._repositories.fetch(agent, commit)
            return await self._submit(kind, agent, whole, main, description, requested_by)

    async def revert(self, requested_by: str, agent: str, tag: str) -> int:
        """Ask to take an agent back to what was deployed at `tag` (`deployed/3`).

        Return the id of the request; raise as `request_apply`.
        """
        names.check_agent_name(agent)
        bounds.check_deployed_tag(tag)
        self._ledger.check_limits(requested_by, agent)
        main = await self.deployed(agent)
        commit = await self._repositories.resolve(agent, f"refs/tags/{tag}")
        if commit is None:
            raise NotFound(
                f"{agent} has no tag {tag}; `hivectl deploy-log {agent}` lists its deployments."
            )
        return await self._submit(
            ApprovalKind.REVERT, agent, commit, main, f"Back to {tag}", requested_by
        )

    async def withdraw(self, caller: str, number: int) -> None:
        """Withdraw a pending request: the manager one of its own, the operator any.

        Raises:
            NotFound: there is no such request.
            AccessDenied: the manager did not make it.
            Conflict: it has been resolved.
        """
        approval = self._ledger.pending(number)
        if caller not in (names.OPERATOR, approval.requested_by):
            raise AccessDenied(
                f"Request {number} was made by the {approval.requested_by}; only the operator can "
                "withdraw requests of others."
            )
        notified = caller == names.MANAGER
        await self._resolve(number, ApprovalState.WITHDRAWN, f"By the {caller}.", notified=notified)

    # Decisions of the operator

    async def approve(
        self, number: int, commit: str, base: str | None = None, *, now: bool = False
    ) -> str:
        """Approve a request as the operator was shown it; return the path of its job.

        Args:
            commit: the commit that the operator was shown, all 40 digits.
            base: the base of the change that the operator was shown; None: no change was shown.
            now: do not wait for the end of the agent's turn; an approved request stops waiting.

        Raises:
            InvalidArgument: `commit` is not a whole name.
            NotFound: there is no such request.
            Conflict: it is about another commit or base, it has been resolved, another request of
                the agent is in progress, or it is not based on what is deployed, and superseded for
                that.
            Unavailable: the job cannot be ordered now. The request stays approved.
            HiveError: lifecycle refused the job. The request has failed.
        """
        bounds.check_whole_commit(commit)
        if now and (approval := self._ledger.get(number)).state in IN_PROGRESS:
            _check_shown(approval, commit)
            _check_shown_base(approval, base, approval.base)
            return await self._deployer.hurry(approval)
        approval = self._ledger.pending(number)
        _check_shown(approval, commit)
        # Looked up first: from here on, nothing else can change what the agent has deployed.
        if others := self._requests.in_progress(approval.agent):
            raise Conflict(
                f"Request {others[0].id} for {approval.agent} is {others[0].state}; approve "
                f"request {number} when it has ended."
            )
        main = await self._reconciler.deployed(approval.agent)
        _check_shown_base(approval, base, main or "")
        if main and approval.kind is not ApprovalKind.SPAWN:
            await self._check_base(approval, main)
        self._ledger.approve(number, main or "", now=now)
        return await self._deployer.job_of(approval)

    async def deny(self, number: int, commit: str, note: str) -> None:
        """Deny a request as the operator was shown it.

        Args:
            commit: the commit that the operator was shown, all 40 digits.
            note: the reason, for the manager.

        Raises:
            NotFound: there is no such request.
            Conflict: it is about another commit, or it has been resolved.
            InvalidArgument: the note is too long, or `commit` is not a whole name.
        """
        bounds.check_whole_commit(commit)
        bounds.check_text("note", note, at_least=0)
        _check_shown(self._ledger.pending(number), commit)
        await self._resolve(number, ApprovalState.DENIED, note)

    async def allow_tool(self, agent: str, rule: str, reason: str) -> Allowed:
        """Add a permission rule to the allowed tools of an agent; see `_allow`."""
        bounds.check_rule(rule)
        try:
            return await self._allow(agent, list_entries.TOOLS, rule, reason)
        except AlreadyExists as error:
            raise Conflict(str(error)) from error

    async def allow_egress(self, agent: str, rule: str, reason: str) -> Allowed:
        """Add a rule to the hosts to which an agent may connect; see `_allow`.

        Once it is deployed, the refusals that it would have allowed wait for the operator no more.
        """
        wanted = str(bounds.checked_egress(rule))
        try:
            return await self._allow(agent, list_entries.EGRESS, wanted, reason)
        except AlreadyExists as error:
            raise Conflict(str(error)) from error

    async def _allow(self, agent: str, key: str, entry: str, reason: str) -> Allowed:
        """Add an entry to a list of an agent.toml: request and approve that in one go.

        While another request of the agent is in progress, or one of the operator's is pending, the
        new request is based on that one, and waits for an approval of its own: it would approve
        more than the entry.

        Args:
            key: the list.
            entry: a text that agent.toml takes there.

        Raises:
            InvalidArgument: an argument is not valid, or the file would not be.
            NotFound: there is no such agent.
            AlreadyExists: the entry is deployed already.
            Conflict: it cannot be added to the file.
            LimitExceeded: too many requests wait.
            Unavailable: lifecycle cannot be asked, or git cannot be used.
            HiveError: lifecycle refused the job. The request has failed.
        """
        names.check_agent_name(agent)
        bounds.check_text("reason", reason, at_least=1)
        async with self.changing:
            main = await self.deployed(agent)
            in_progress = self._requests.in_progress(agent)
            pending = self._requests.pending(agent)
            base = in_progress[0] if in_progress else None
            if pending and pending.requested_by == names.OPERATOR:
                base = pending
            parent = base.commit if base else main
            text = await self._repositories.read(agent, parent, agentfile.NAME)
            config = list_entries.with_entry(text, key, entry)
            if config is None:
                if base:
                    return Allowed(base.id, NO_JOB)
                raise AlreadyExists(f"The agent.toml of {agent} already allows {entry}.")
            bounds.check_config(config)
            commit = await self._repositories.commit_file(
                agent, config, f"Allow {entry}", parent=parent
            )
            await self._repositories.check(agent, commit, base=main)
            number = await self.request_own(agent, commit, reason)
            if base:
                return Allowed(number, NO_JOB)
        return await self.approve_own(number, commit, None)

    async def request_own(self, agent: str, commit: str, reason: str) -> int:
        """Add the operator's own request for a checked commit; hold `changing`."""
        return await self._pin(
            self._ledger.add(ApprovalKind.APPLY, agent, commit, reason, names.OPERATOR)
        )

    async def approve_own(
        self, number: int, commit: str, base: str | None, *, now: bool = False
    ) -> Allowed:
        """Approve a request that `request_own` has added; raise as `approve`."""
        try:
            return Allowed(number, await self.approve(number, commit, base, now=now))
        except Unavailable:
            return Allowed(number, NO_JOB)  # it is approved, and the job follows

    # Imports

    async def import_history(self, agent: str) -> list[str]:
        """Take over the history that an agent had in another system.

        `hivectl import-nixos` has copied it. The history changes nothing about what is deployed.

        Returns:
            The names of its branches and tags.

        Raises:
            NotFound: there is no such agent, or no history was copied for it.
            Conflict: the agent is being spawned.
            InvalidArgument: the history cannot be read, or is damaged.
            LimitExceeded: it is too large.
            Timeout: it takes too long.
            Unavailable: lifecycle cannot be asked, or git cannot be used.
        """
        names.check_agent_name(agent)
        await self.deployed(agent)
        return await self._repositories.take_history(agent)

    # Reading

    def find(self, wanted: ApprovalFilter) -> list[Approval]:
        """Return the newest requests that match, oldest first.

        Older ones are left out where the texts together exceed MAX_LISTED_TEXT.
        """
        room = MAX_LISTED_TEXT
        limit = wanted.limit or MAX_LISTED
        found = self._requests.find(
            number=wanted.id,
            before=wanted.before,
            state=wanted.state,
            agent=wanted.agent,
            limit=limit,
        )[::-1]
        for count, approval in enumerate(found):
            room -= len(approval.reason) + len(approval.note)
            if room < 0:
                return found[:count][::-1]
        return found[::-1]

    async def deploy_log(self, agent: str, limit: int) -> list[Deploy]:
        """Return the last `limit` deploys, newest first.

        Args:
            agent: return only its deploys; empty: those of all agents.
        """
        if agent:
            names.check_agent_name(agent)
        return await self._meta.log(agent or None, limit)

    async def deployed(self, agent: str) -> str:
        """Return the commit that an existing agent has deployed.

        Raises:
            NotFound: there is no such agent.
            Conflict: it is being spawned.
            Unavailable: lifecycle cannot be asked, or git cannot be used.
        """
        snapshot = await self._lifecycle.snapshot()
        if agent not in snapshot.agents:
            raise NotFound(f"There is no agent {agent}; `hivectl list` shows the agents.")
        main = await self._reconciler.deployed(agent)
        if main is None:
            if agent in snapshot.jobs:
                raise Conflict(f"{agent} is being spawned; try again when the spawn has ended.")
            main = await self._reconciler.adopt(agent)  # it appeared just now
        return main

    async def _submit(
        self, kind: ApprovalKind, agent: str, commit: str, main: str, reason: str, by: str
    ) -> int:
        """Add the request for a commit of our repository, if it may replace `main`."""
        if commit == main:
            raise Conflict(f"{commit[:12]} is already deployed to {agent}.")
        if kind is ApprovalKind.APPLY and not await self._repositories.descends(
            agent, commit, main
        ):
            raise Conflict(
                f"{commit[:12]} is not based on the deployed commit {main[:12]}: rebase it with "
                "`git fetch applied && git rebase applied/main`. To go back to an older commit, "
                "set the option revert."
            )
        await self._repositories.check(agent, commit, base=main, own=by == names.OPERATOR)
        bounds.check_config(await self._repositories.read(agent, commit, agentfile.NAME))
        if kind is ApprovalKind.REVERT and not await self._was_deployed(agent, commit):
            # The operator must not take for known what only claims to go back.
            reason = f"{NEVER_DEPLOYED} {reason}"
        return await self._pin(self._ledger.add(kind, agent, commit, reason, by))

    async def _check_kept(self, agent: str, commit: str) -> None:
        """Check that a configuration that another backend may have left still fits this host.

        Raises:
            Conflict: it does not.
        """
        try:
            text = await self._repositories.read(agent, commit, agentfile.NAME)
            self._repositories.check_agent_file(text)
        except InvalidArgument as error:
            raise Conflict(
                f"The configuration that is kept of an earlier {agent} cannot be used: {error} "
                "Request the agent with another agent.toml."
            ) from error

    async def _pin(self, approval: Approval) -> int:
        """Tag the commit of a new request, so that git keeps it; return the id."""
        await self._reconciler.try_reconcile()
        return approval.id

    async def _was_deployed(self, agent: str, commit: str) -> bool:
        tags = await self._repositories.tags(agent)
        return any(on == commit and tag.startswith("deployed/") for tag, on in tags.items())

    async def _resolve(
        self, number: int, state: ApprovalState, note: str, *, notified: bool = False
    ) -> None:
        """End a pending request, and record that in git.

        Raises:
            NotFound: there is no such request.
            Conflict: it has been resolved.
        """
        self._ledger.pending(number)
        self._ledger.move(number, state, note, notified=notified)
        await self._reconciler.try_reconcile()

    async def _check_base(self, approval: Approval, main: str) -> None:
        """Check that a pending request can be deployed on top of `main`.

        Raises:
            Conflict: it cannot, and is superseded for that.
        """
        if await self._reconciler.outdated(approval, main):
            note = outdated_note(approval, main)
            await self._resolve(approval.id, ApprovalState.SUPERSEDED, note)
            raise Conflict(f"Request {approval.id} was superseded: {note}")


def _check_shown(approval: Approval, commit: str) -> None:
    """Check that the operator decides about the request that was shown.

    Raises:
        Conflict: another commit was shown.
    """
    if commit != approval.commit:
        raise Conflict(
            f"Request {approval.id} for {approval.agent} is about commit "
            f"{approval.commit or '(none yet)'}, not {commit}: look at it again "
            f"(`hivectl diff {approval.id}`)."
        )


def _check_shown_base(approval: Approval, shown: str | None, base: str) -> None:
    """Check that the change that was shown, if any, starts from what is deployed.

    Raises:
        Conflict: it started from another commit.
    """
    if shown is not None and shown != base:
        raise Conflict(
            f"The change of request {approval.id} was shown against {shown[:40] or 'nothing'}, but "
            f"{approval.agent} has {base or 'nothing'} deployed now: look at the change again "
            f"(`hivectl diff {approval.id}`)."
        )
