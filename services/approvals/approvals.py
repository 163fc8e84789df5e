"""The rules: who may wait for what, and what a yes or a no needs.

What has been said yes to is carried out by carrier.py.
"""

from typing import Final

from services import agentfile
from services.approvals import bounds
from services.approvals.books import Books, outdated_note
from services.approvals.carrier import Carrier, Lifecycle
from services.approvals.ledger import Ledger
from services.approvals.meta import Deployed
from services.approvals.model import GOING, Approval, Kind, State
from wire import names
from wire.errors import AccessDenied, AlreadyExists, Conflict, NotFound

MAX_TOLD: Final = 4 * 1024 * 1024
"""Characters of reasons and notes in one answer: the bus cuts off who sends 32 MiB at once."""

NEVER_DEPLOYED: Final = "[It was never deployed before.]"
"""Comes before the description of what is called a revert, and is none."""


class Approvals:
    """What callers may ask of the room."""

    def __init__(
        self, ledger: Ledger, books: Books, lifecycle: Lifecycle, carrier: Carrier
    ) -> None:
        self._ledger = ledger
        self._store = ledger.store
        self._books = books
        self._lifecycle = lifecycle
        self._carrier = carrier

    # Requests

    async def request_spawn(
        self, requested_by: str, agent: str, reason: str, config: str | None = None
    ) -> int:
        """Ask for a new agent; returns the request's id.

        Without a `config` (the text of its agent.toml) it begins with what is kept of an earlier
        agent of that name, else with the template.

        Raises InvalidArgument for a name, a reason or a configuration that is none, AlreadyExists
        for an agent that there is, Conflict for a name that another open request holds,
        LimitExceeded when too many requests wait, Unavailable when lifecycle cannot be asked.
        """
        bounds.check_name(agent)
        bounds.check_text("reason", reason, at_least=1)
        if config is not None:
            bounds.check_file(config)
        if agent in (await self._lifecycle.swarm()).agents:
            raise AlreadyExists(f"There is an agent {agent} already; choose another name.")
        self._ledger.check_room(requested_by)
        # One at a time, so that no two find the name free.
        async with self._books.changing:
            if other := self._store.pending(agent) or next(iter(self._store.going(agent)), None):
                raise Conflict(
                    f"Request {other.id} for {agent} is {other.state}; wait for its end."
                )
            commit = await self._books.first(agent, config)
            approval = self._ledger.add(Kind.SPAWN, agent, commit, reason, requested_by)
        return await self._pinned(approval)

    async def request_apply(
        self, requested_by: str, agent: str, commit: str, description: str, *, revert: bool = False
    ) -> int:
        """Ask for another configuration of an agent; returns the request's id.

        The commit (7 to 40 hexadecimal digits of its name) is taken from what is proposed, and is
        ours from then on. Another request for the agent that is pending is superseded.

        Raises InvalidArgument and LimitExceeded for what may not be deployed, NotFound for an
        unknown agent or commit, Conflict for what is deployed already, for what was not made on
        top of it (unless it is a `revert`), and to the manager while one of the operator's waits,
        LimitExceeded when too many requests wait or were made, Unavailable when lifecycle or git
        cannot be asked.
        """
        bounds.check_name(agent)
        bounds.check_commit(commit)
        bounds.check_text("description", description, at_least=1)
        kind = Kind.REVERT if revert else Kind.APPLY
        with self._ledger.trying(requested_by, agent):
            main = await self._deployed(agent)
            whole = await self._books.repositories.fetch(agent, commit)
            return await self._submit(kind, agent, whole, main, description, requested_by)

    async def revert(self, requested_by: str, agent: str, tag: str) -> int:
        """Ask to take an agent back to what was deployed at `tag` (`deployed/3`).

        Returns the request's id; raises as `request_apply`.
        """
        bounds.check_name(agent)
        bounds.check_deployed(tag)
        self._ledger.check_room(requested_by, agent)
        main = await self._deployed(agent)
        commit = await self._books.repositories.resolve(agent, f"refs/tags/{tag}")
        if commit is None:
            raise NotFound(
                f"{tag} is no tag of {agent}; `hivectl deploy-log {agent}` lists what was deployed."
            )
        return await self._submit(Kind.REVERT, agent, commit, main, f"Back to {tag}", requested_by)

    async def withdraw(self, who: str, number: int) -> None:
        """Take a pending request back; the manager one of its own, the operator any.

        Raises NotFound, AccessDenied, Conflict when it is resolved already.
        """
        approval = self._ledger.pending(number)
        if who not in (names.OPERATOR, approval.requested_by):
            raise AccessDenied(f"Request {number} was made by the {approval.requested_by}.")
        self._ledger.move(number, State.WITHDRAWN, f"By the {who}.", told=who == names.MANAGER)
        await self._books.catch_up_later()

    # The operator's word

    async def approve(self, number: int, *, now: bool = False) -> str:
        """Say yes; returns the path of the job that carries it out.

        `now`: do not wait for the end of the agent's turn, nor any longer.

        Raises NotFound, Conflict when it is resolved already, when another one of the agent is
        being carried out, or when it does not fit to what was deployed meanwhile (it is
        superseded then), Unavailable when it cannot be begun now (the yes stands), and what
        lifecycle answers (the request has failed then).
        """
        if now and (approval := self._ledger.get(number)).state in GOING:
            return await self._carrier.hurry(approval)
        approval = self._ledger.pending(number)
        await self._books.catch_up(approval.agent)
        main = await self._books.main(approval.agent)
        if main and approval.kind is not Kind.SPAWN:
            await self._check_fits(approval, main)
        if going := self._store.going(approval.agent):
            raise Conflict(
                f"Request {going[0].id} for {approval.agent} is {going[0].state}; approve this one "
                "when that has ended."
            )
        self._ledger.approve(number, main or "", now=now)
        return await self._carrier.job_of(number)

    async def deny(self, number: int, note: str) -> None:
        """Say no. Raises NotFound, Conflict when it is resolved already, InvalidArgument."""
        bounds.check_text("note", note, at_least=0)
        self._ledger.pending(number)
        self._ledger.move(number, State.DENIED, note)
        await self._books.catch_up_later()

    # What there is

    def find(
        self, *, state: State | None = None, agent: str | None = None, limit: int
    ) -> list[Approval]:
        """The newest `limit` requests that match, oldest first, MAX_TOLD characters at most."""
        room = MAX_TOLD
        found = self._store.find(state=state, agent=agent, limit=limit)[::-1]
        for told, approval in enumerate(found):
            room -= len(approval.reason) + len(approval.note)
            if room < 0:
                return found[:told][::-1]
        return found[::-1]

    async def diff(self, number: int) -> str:
        """What a request changes, as a unified diff: against what is deployed, or was when the
        operator said yes.

        Raises NotFound, also when its agent was purged.
        """
        approval = self._ledger.get(number)
        if not approval.commit:
            return ""
        said_yes = approval.state in (*GOING, State.DEPLOYED, State.FAILED)
        base = approval.base if said_yes else await self._books.main(approval.agent)
        return await self._books.repositories.diff(approval.agent, base or None, approval.commit)

    async def deploy_log(self, agent: str, limit: int) -> list[Deployed]:
        """The last `limit` deploys, of all agents when `agent` is empty; the newest first."""
        if agent:
            bounds.check_name(agent)
        return await self._books.meta.log(agent or None, limit)

    async def _deployed(self, agent: str) -> str:
        """What is deployed of an agent that there is."""
        swarm = await self._lifecycle.swarm()
        if agent not in swarm.agents:
            raise NotFound(f"There is no agent {agent}; `hivectl list` shows them.")
        await self._books.catch_up(agent)
        main = await self._books.main(agent)
        if main is None:
            if agent in swarm.tasks:
                raise Conflict(f"{agent} is being made; ask again when it is there.")
            main = await self._books.adopt(agent)  # it came just now
        return main

    async def _submit(
        self, kind: Kind, agent: str, commit: str, main: str, reason: str, by: str
    ) -> int:
        """Add the request for a commit of ours, if it may be deployed in the place of `main`."""
        repositories = self._books.repositories
        if commit == main:
            raise Conflict(f"{commit[:12]} is what is deployed of {agent} already.")
        if kind is Kind.APPLY and not await repositories.descends(agent, commit, main):
            raise Conflict(
                f"{commit[:12]} was not made on top of {main[:12]}, which is deployed: `git fetch "
                "applied && git rebase applied/main` puts it there. If you mean to go back, say "
                "that it is a revert."
            )
        await repositories.check(agent, commit, base=main)
        bounds.check_file(await repositories.read(agent, commit, agentfile.NAME))
        if kind is Kind.REVERT and not await self._was_deployed(agent, commit):
            # Nobody is to take for known what only says that it goes back.
            reason = f"{NEVER_DEPLOYED} {reason}"
        return await self._pinned(self._ledger.add(kind, agent, commit, reason, by))

    async def _was_deployed(self, agent: str, commit: str) -> bool:
        tags = await self._books.repositories.tags(agent)
        return any(on == commit and tag.startswith("deployed/") for tag, on in tags.items())

    async def _pinned(self, approval: Approval) -> int:
        """Have git tell of a new request, so that its commit stays ours; its id."""
        await self._books.catch_up_later()
        return approval.id

    async def _check_fits(self, approval: Approval, main: str) -> None:
        """Raises Conflict, and the request is superseded, when it does not fit to `main`."""
        if await self._books.outdated(approval, main):
            note = outdated_note(approval, main)
            self._ledger.pending(approval.id)
            self._ledger.move(approval.id, State.SUPERSEDED, note)
            await self._books.catch_up_later()
            raise Conflict(f"Request {approval.id} is superseded now. {note}")
