"""git, kept in agreement with the requests.

The row in the store is the truth. What git tells of it (tags, `main`, meta) is made from it, and
made again, with the same result, for whatever was not marked as told: after a crash at any point,
and when git could not be used for a while.
"""

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Protocol

from services import agentfile
from services.approvals.ledger import Ledger
from services.approvals.meta import Deployed, Pin
from services.approvals.model import Approval, Kind, State, story, tag
from wire import names
from wire.errors import HiveError, NotFound

log = logging.getLogger(__name__)

INITIAL: Final = "deployed/0"
"""On the configuration of an agent that was spawned without an approval."""


class Repositories(Protocol):
    """What we need from the agents' repositories; see repositories.py."""

    def agents(self) -> list[str]:
        """The agents that have one."""

    async def create(self, agent: str) -> None:
        """Make one, empty, unless there is one."""

    async def commit_file(self, agent: str, text: str, message: str, *, parent: str | None) -> str:
        """Commit agent.toml; no reference moves."""

    async def fetch(self, agent: str, commit: str) -> str:
        """Take a commit from what is proposed; returns its whole name."""

    async def check(self, agent: str, commit: str, *, base: str | None) -> None:
        """Raise unless its tree may be deployed in the place of that of `base`."""

    async def read(self, agent: str, commit: str, path: str) -> str:
        """The text of a file."""

    async def descends(self, agent: str, commit: str, ancestor: str) -> bool:
        """Whether `ancestor` is in the history of `commit`."""

    async def resolve(self, agent: str, ref: str) -> str | None:
        """The commit that a reference is."""

    async def tag(self, agent: str, name: str, commit: str, message: str = "") -> None:
        """Tag a commit; once more is no error."""

    async def tags(self, agent: str) -> dict[str, str]:
        """All tags, and the commit each is on."""

    async def move_main(self, agent: str, commit: str) -> None:
        """Let it be what is deployed."""

    async def diff(self, agent: str, old: str | None, new: str) -> str:
        """What changes."""

    async def remove(self, agent: str) -> None:
        """Remove the repository, if there is one."""


class Meta(Protocol):
    """What we need from the repository of the hive; see meta.py."""

    async def prepare(self, agent: str, approval: int, commit: str) -> None:
        """Write what is about to be deployed."""

    async def finalize(self, agent: str, description: str, requested_by: str) -> None:
        """Commit it, unless that is what is deployed already."""

    async def abort(self, agent: str) -> None:
        """Take it back."""

    async def remove(self, agent: str) -> None:
        """Forget what the agent runs."""

    async def deployed(self) -> dict[str, Pin]:
        """What each agent runs."""

    async def log(self, agent: str | None, limit: int) -> list[Deployed]:
        """The last deploys."""


class Books:
    """What git tells of the requests and of the agents."""

    def __init__(self, ledger: Ledger, repositories: Repositories, meta: Meta) -> None:
        self.repositories = repositories
        self.meta = meta
        self.changing = asyncio.Lock()
        """Held while repositories are made or removed, or follow the requests."""
        self._ledger = ledger
        self._store = ledger.store

    async def catch_up(self, agent: str | None = None) -> None:
        """Let git tell all that there is to be told of `agent`, or of all agents.

        One that fails does not keep back those of other agents. Raises HiveError in the end then.
        """
        failed: dict[str, HiveError] = {}
        async with self.changing:
            for approval in self._store.unmarked(agent):
                if approval.agent in failed:
                    continue  # what it tells builds on what came before
                try:
                    await self._tell(approval)
                except HiveError as error:
                    log.warning("git does not tell of request %d yet: %s", approval.id, error)
                    failed[approval.agent] = error
        if failed:
            raise next(iter(failed.values()))

    async def catch_up_later(self) -> None:
        """As `catch_up`, for all agents; what fails is tried again with the next change."""
        with suppress(HiveError):  # it is in the log
            await self.catch_up()

    async def prepare(self, approval: Approval) -> None:
        """Write into meta that it is about to be deployed."""
        await self.meta.prepare(approval.agent, approval.id, approval.commit)

    async def main(self, agent: str) -> str | None:
        """What is deployed of `agent`; None when nothing is, or it has no repository."""
        try:
            return await self.repositories.resolve(agent, "main")
        except NotFound:
            return None

    async def first(self, agent: str, config: str | None) -> str:
        """The commit that a new agent begins with; hold `changing`.

        Without a `config` it is what is kept of an earlier agent of this name, else the template.
        """
        await self.repositories.create(agent)
        main = await self.main(agent)
        if config is None and main:
            return main
        initial = await self.repositories.resolve(agent, f"refs/tags/{INITIAL}")
        if config is None and initial:
            return initial
        text = agentfile.TEMPLATE if config is None else config
        message = f"The configuration that {agent} begins with"
        return await self.repositories.commit_file(agent, text, message, parent=main)

    async def known(self) -> frozenset[str]:
        """The agents that meta tells of."""
        return frozenset(await self.meta.deployed())

    async def unknown(self, agents: Collection[str]) -> list[str]:
        """Those of `agents` that have no repository, or that meta does not tell of."""
        known = await self.known() & set(self.repositories.agents())
        return sorted(set(agents) - known)

    async def adopt(self, agent: str) -> str:
        """Give an agent that was spawned without an approval its repository and its configuration.

        Whatever of it is there already is kept. Returns what is deployed then.
        """
        async with self.changing:
            commit = await self.first(agent, None)
            if await self.main(agent) is None:
                await self.repositories.tag(agent, INITIAL, commit)
                await self.repositories.move_main(agent, commit)
            number, why, by = self._origin(agent, commit)
            await self.meta.prepare(agent, number, commit)
            await self.meta.finalize(agent, why, by)
            return commit

    def _origin(self, agent: str, commit: str) -> tuple[int, str, str]:
        """Which request brought the commit, why and whose it was: meta may have been lost."""
        for approval in reversed(self._store.find(state=State.DEPLOYED, agent=agent)):
            if approval.commit == commit:
                return approval.id, approval.reason, approval.requested_by
        return 0, "The initial configuration", names.OPERATOR

    async def forget(self, agent: str) -> None:
        """Remove what is kept of an agent that was purged, and end what waits for it."""
        async with self.changing:
            if self._store.going(agent):
                return  # it is about to be spawned, with what is kept here
            log.warning("%s was purged; its configurations go, too", agent)
            if pending := self._store.pending(agent):
                self._ledger.move(pending.id, State.WITHDRAWN, f"{agent} was purged.")
            # Meta comes last: it is where the next start sees that there is something to remove.
            await self.repositories.remove(agent)
            await self.meta.remove(agent)

    async def _tell(self, approval: Approval) -> None:
        if approval.state is State.PENDING and not approval.commit:
            # Asked for when there were no configurations.
            self._store.set_commit(approval.id, await self.first(approval.agent, None))
            approval = self._ledger.get(approval.id)
        try:
            if approval.commit:
                await self._tag(approval)
                await self._conclude(approval)
        except NotFound as error:
            # The repository was purged with its agent: there is nobody left to tell it to.
            log.warning("Request %d is in no repository: %s", approval.id, error)
        self._ledger.marked(approval)

    async def _tag(self, approval: Approval) -> None:
        for state in story(approval.state):
            note = approval.note if state is approval.state else ""
            name = tag(state, approval.id)
            await self.repositories.tag(approval.agent, name, approval.commit, note)

    async def _conclude(self, approval: Approval) -> None:
        agent = approval.agent
        if approval.state is State.FAILED:
            await self.meta.abort(agent)
        if approval.state is State.DEPLOYED:
            await self.repositories.move_main(agent, approval.commit)
            await self.prepare(approval)
            await self.meta.finalize(agent, approval.reason, approval.requested_by)
            await self._supersede(agent, approval)

    async def _supersede(self, agent: str, deployed: Approval) -> None:
        """End what waits for the operator and was made on top of something else."""
        waiting = self._store.pending(agent)
        if waiting and await self.outdated(waiting, deployed.commit):
            note = outdated_note(waiting, deployed.commit)
            self._ledger.move(waiting.id, State.SUPERSEDED, note)

    async def outdated(self, approval: Approval, main: str) -> bool:
        """Whether it does not fit to `main`, which is deployed."""
        if approval.kind is Kind.REVERT:
            return approval.commit == main
        return not await self.repositories.descends(approval.agent, approval.commit, main)


def outdated_note(approval: Approval, main: str) -> str:
    """Why a request no longer fits to `main`."""
    if approval.commit == main:
        return f"{main[:12]} is what is deployed already."
    return f"Meanwhile {main[:12]} was deployed, and this was not made on top of it."
