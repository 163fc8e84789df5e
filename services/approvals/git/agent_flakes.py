"""The files that make meta a flake, from the commits that the agents run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services import flakelock, metaflake
from services.config import NixosConfig
from services.metaflake import Locked
from services.quarantine.runner import run

log = logging.getLogger(__name__)

KEPT: Final = 1000
"""The locks of commits that are remembered."""


class AgentFlakes:
    """The flake of all agents whose commit has one."""

    def __init__(self, root: Path, config: NixosConfig) -> None:
        """Do nothing before `files`.

        Args:
            root: the directory of all repositories.
            config: the inputs of all agents.
        """
        self._applied = root.absolute() / "applied"
        self._config = config
        self._locks: dict[tuple[str, str], Locked | None] = {}

    async def files(self, commits: Mapping[str, str]) -> dict[str, bytes]:
        """Return the files for the commits that the agents run."""
        found = {agent: await self._locked(agent, commit) for agent, commit in commits.items()}
        agents = {agent: locked for agent, locked in found.items() if locked}
        flake = metaflake.flake(self._config, self._applied, agents)
        lock = metaflake.lock(self._config, self._applied, agents)
        return {metaflake.FLAKE: flake.encode(), flakelock.NAME: lock.encode()}

    async def _locked(self, agent: str, commit: str) -> Locked | None:
        """Return the lock of an agent; None: its commit has no flake."""
        key = agent, commit
        if key not in self._locks:
            found = await self._read(agent, commit)
            if len(self._locks) >= KEPT:
                self._locks.clear()
            self._locks[key] = found
        return self._locks[key]

    async def _read(self, agent: str, commit: str) -> Locked | None:
        home = self._applied / agent
        limit = flakelock.MAX_BYTES
        ended = await run(home, "cat-file", "blob", f"{commit}:{flakelock.NAME}", limit=limit)
        if ended.status:
            return None
        try:
            return Locked(commit, flakelock.parse(ended.output.decode()))
        except ValueError as error:
            # It was checked before it was deployed, maybe by other rules.
            log.warning("%s is not in the flake at %s: %s", agent, commit[:12], error)
            return None
