"""The manager's working copies in /agents, one of each agent's configuration.

The deployed configuration of an agent is the repository /applied/NAME. The service approvals writes
it on the host, and then touches /applied. A working copy is created once and then left alone,
except for the settings of its remote `applied`.
"""

import asyncio
import logging
import re
import shutil
from pathlib import Path
from typing import Final

from harness.git import GitError, git
from harness.inotify import DirectoryWatch

log = logging.getLogger(__name__)

AGENTS: Final = Path("/agents")
APPLIED: Final = Path("/applied")

REMOTE: Final = "applied"
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,7}[a-z0-9])?")


class WorkingCopies:
    """The working copies below `agents`, cloned from the repositories below `applied`."""

    def __init__(self, agents: Path = AGENTS, applied: Path = APPLIED) -> None:
        self._agents = agents
        self._applied = applied
        self._checked: set[str] = set()

    async def run(self) -> None:
        """Create working copies when `applied` changes, until cancelled; log failures."""
        try:
            with DirectoryWatch(self._applied) as watch:
                while True:
                    await self.update()
                    await watch.change()
        except OSError as exc:
            log.warning("%s cannot be watched: %s", self._applied, exc.strerror or exc)

    async def update(self) -> None:
        """Clone deployed configurations without a working copy; check each remote once."""
        for applied in sorted(self._applied.iterdir()):
            if _NAME.fullmatch(applied.name):
                try:
                    await self._update(applied)
                except (GitError, OSError) as exc:
                    log.warning("cannot create or check the working copy of %s: %s", applied, exc)

    async def _update(self, applied: Path) -> None:
        copy = self._agents / applied.name
        if not (copy / ".git").exists():
            if await _is_deployed(applied):
                await self._clone(applied, copy)
        elif applied.name not in self._checked:
            await _set_remote(copy, applied)
        else:
            return
        self._checked.add(applied.name)

    async def _clone(self, applied: Path, copy: Path) -> None:
        # Under another name until it is complete: the final name never holds half a clone.
        new = self._agents / f".{applied.name}.new"
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        await git("init", "--quiet", str(new))
        await _set_remote(new, applied)
        await git("-C", str(new), "fetch", "--quiet", REMOTE)
        await git("-C", str(new), "checkout", "--quiet", "-B", "main", f"{REMOTE}/main")
        new.rename(copy)
        log.info("the configuration of %s is in %s", applied.name, copy)


def remote_settings(applied: Path) -> list[tuple[str, str]]:
    """Return the settings of the remote as `git config` takes and prints them, in git's order.

    Tags are fetched as refs/remotes/applied/refs/tags/*: `git show applied/refs/tags/deployed/3`.
    """
    settings = (
        ("url", str(applied)),
        ("fetch", f"+refs/heads/*:refs/remotes/{REMOTE}/*"),
        ("fetch", f"+refs/tags/*:refs/remotes/{REMOTE}/refs/tags/*"),
        ("tagopt", "--no-tags"),
    )
    return [(f"remote.{REMOTE}.{key}", value) for key, value in settings]


async def _set_remote(repository: Path, applied: Path) -> None:
    config = ("-C", str(repository), "config", "--local")
    wanted = remote_settings(applied)
    expected = "".join(f"{key} {value}\n" for key, value in wanted)
    if await git(*config, "--get-regexp", f"^remote\\.{REMOTE}\\.", fails=(1,)) == expected:
        return
    await git(*config, "--remove-section", f"remote.{REMOTE}", fails=(128,))
    for key, value in wanted:
        await git(*config, "--add", key, value)


async def _is_deployed(applied: Path) -> bool:
    found = ("--git-dir", str(applied), "rev-parse", "--quiet", "--verify", "refs/heads/main")
    return bool(await git(*found, fails=(1,)))
