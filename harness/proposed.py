"""Keeps a working copy of each agent's configuration in the manager's /agents.

What is deployed of an agent is in /applied/NAME, which approvals writes on the host, and then it
touches /applied. Nothing that the manager has made is changed here, but for where its remote
`applied` points.
"""

import asyncio
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.watch import Watch

log = logging.getLogger(__name__)

AGENTS: Final = Path("/agents")
APPLIED: Final = Path("/applied")

REMOTE: Final = "applied"
LIMIT: Final = 120.0
"""Seconds that a single git may take."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,8}")


class GitError(Exception):
    """What git said when it failed; one line."""


class Proposed:
    """The repositories below `agents`, made from those below `applied`."""

    def __init__(self, agents: Path = AGENTS, applied: Path = APPLIED) -> None:
        self._agents = agents
        self._applied = applied
        self._checked: set[str] = set()

    async def run(self) -> None:
        """Follows what is applied until cancelled. What cannot be done is logged, and left."""
        try:
            with Watch(self._applied) as watch:
                while True:
                    await self.follow()
                    await watch.change()
        except OSError as exc:
            log.warning("%s is not followed: %s", self._applied, exc.strerror or exc)

    async def follow(self) -> None:
        """Clones what is deployed and has no working copy; puts each remote right once."""
        for applied in sorted(self._applied.iterdir()):
            if _NAME.fullmatch(applied.name):
                try:
                    await self._follow(applied)
                except (GitError, OSError) as exc:
                    log.warning("no working copy of %s: %s", applied, exc)

    async def _follow(self, applied: Path) -> None:
        proposed = self._agents / applied.name
        if not (proposed / ".git").exists():
            if await _is_deployed(applied):
                await self._clone(applied, proposed)
        elif applied.name not in self._checked:
            await _put_right(proposed, applied)
        else:
            return
        self._checked.add(applied.name)

    async def _clone(self, applied: Path, proposed: Path) -> None:
        # Under another name until it is whole: whoever finds a .git finds all of it.
        new = self._agents / f".{applied.name}.new"
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        await _git("init", "--quiet", str(new))
        await _put_right(new, applied)
        await _git("-C", str(new), "fetch", "--quiet", REMOTE)
        await _git("-C", str(new), "checkout", "--quiet", "-B", "main", f"{REMOTE}/main")
        new.rename(proposed)
        log.info("the configuration of %s is in %s", applied.name, proposed)


def remote(applied: Path) -> list[tuple[str, str]]:
    """The settings of the remote, as `git config` takes and prints them, in its order.

    Tags come as refs/remotes/applied/refs/tags/*: `git show applied/refs/tags/deployed/3`.
    """
    settings = (
        ("url", str(applied)),
        ("fetch", f"+refs/heads/*:refs/remotes/{REMOTE}/*"),
        ("fetch", f"+refs/tags/*:refs/remotes/{REMOTE}/refs/tags/*"),
        ("tagopt", "--no-tags"),
    )
    return [(f"remote.{REMOTE}.{key}", value) for key, value in settings]


async def _put_right(repository: Path, applied: Path) -> None:
    config = ("-C", str(repository), "config", "--local")
    wanted = remote(applied)
    expected = "".join(f"{key} {value}\n" for key, value in wanted)
    if await _git(*config, "--get-regexp", f"^remote\\.{REMOTE}\\.", fails=(1,)) == expected:
        return
    await _git(*config, "--remove-section", f"remote.{REMOTE}", fails=(128,))
    for key, value in wanted:
        await _git(*config, "--add", key, value)


async def _is_deployed(applied: Path) -> bool:
    found = ("--git-dir", str(applied), "rev-parse", "--quiet", "--verify", "refs/heads/main")
    return bool(await _git(*found, fails=(1,)))


async def _git(*arguments: str, fails: Sequence[int] = ()) -> str:
    """What git printed; nothing when it ended with one of the statuses in `fails`.

    Raises GitError for any other status, and when it takes longer than LIMIT.
    """
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT):
            out, err = await process.communicate()
    except TimeoutError:
        raise GitError(f"git {arguments[-1]} took longer than {LIMIT:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode in fails:
        return ""
    if process.returncode:
        raise GitError(" ".join(err.decode(errors="replace").split()) or "git failed")
    return out.decode(errors="replace")
