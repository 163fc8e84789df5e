"""The parts of the repositories that the rest of approvals uses; tests have them in memory."""

from typing import Protocol

from services.approvals.git.meta import Pin
from services.approvals.git.tree_policy import AGENT_FILE
from wire.records.approvals import Deploy


class Repositories(Protocol):
    """See repositories.py."""

    def agents(self) -> list[str]:
        """Return the agents that have a repository."""

    async def create(self, agent: str) -> None:
        """Make an empty repository, unless there is one."""

    async def commit_file(
        self, agent: str, text: str, message: str, *, parent: str | None, path: str = AGENT_FILE
    ) -> str:
        """Commit a file; no reference moves."""

    async def commit_first(self, agent: str, text: str, message: str, *, parent: str | None) -> str:
        """Commit agent.toml, and what else a configuration begins with; no reference moves."""

    async def fetch(self, agent: str, commit: str) -> str:
        """Take a commit from the proposed repository; return its whole name."""

    async def take_history(self, agent: str) -> list[str]:
        """Take the history that an import has copied, as tags; return the names in it."""

    async def check(self, agent: str, commit: str, *, base: str | None, own: bool = False) -> None:
        """Raise unless the tree of `commit` may be deployed in the place of that of `base`."""

    def check_agent_file(self, text: str) -> None:
        """Raise unless agents of this host can have what an agent.toml asks for."""

    async def read(self, agent: str, commit: str, path: str) -> str:
        """Return the text of a file."""

    async def files(self, agent: str, commit: str) -> list[str]:
        """Return the paths of the files of a commit."""

    async def descends(self, agent: str, commit: str, ancestor: str) -> bool:
        """Return whether `ancestor` is in the history of `commit`."""

    async def resolve(self, agent: str, ref: str) -> str | None:
        """Return the commit that a reference points to."""

    async def tag(self, agent: str, name: str, commit: str, message: str = "") -> None:
        """Tag a commit; the same tag again is not an error."""

    async def tags(self, agent: str) -> dict[str, str]:
        """Return all tags with their commits."""

    async def move_main(self, agent: str, commit: str) -> None:
        """Make `commit` the deployed one."""

    async def diff(self, agent: str, old: str | None, new: str) -> str:
        """Return the unified diff from one commit to another."""

    async def remove(self, agent: str) -> None:
        """Remove the repository of an agent that was purged."""


class Meta(Protocol):
    """See meta.py."""

    async def prepare(self, agent: str, approval: int, commit: str) -> None:
        """Write what is about to be deployed."""

    async def finalize(self, agent: str, description: str, requested_by: str) -> None:
        """Commit what was prepared, unless it is deployed already."""

    async def abort(self, agent: str) -> None:
        """Take back what was prepared."""

    async def remove(self, agent: str) -> None:
        """Forget what the agent runs."""

    async def deployed(self) -> dict[str, Pin]:
        """Return what each agent runs."""

    async def log(self, agent: str | None, limit: int) -> list[Deploy]:
        """Return the last deploys, those of purged agents as not kept."""
