"""Makes of a commit what an agent's container is run from: builds/NAME/COMMIT.

There is a build when there is that directory: it is made under another name and then renamed. So it
is never there by half, and whoever wants it a second time finds it.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from services import agentfile
from services.build.store import BuildStore
from services.config import Config
from wire.names import AGENT_NAME

GIT_SECONDS: Final = 30

_GIT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    # An object that is missing is not fetched, by a program that the repository may name.
    "GIT_ALLOW_PROTOCOL": "",
}

_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class BuildError(Exception):
    """Why there will be no build; one sentence that says what to do."""


class Packages(Protocol):
    """What gets packages."""

    def unpack(self, packages: Sequence[str], into: Path) -> list[str]:
        """Unpack what the host lacks of `packages` and what they need, below `into`/usr.

        Returns `NAME VERSION` of each that was unpacked. Raises BuildError.
        """


class Builder:
    """Builds for agents: from `applied`, where their repositories lie, into `builds`."""

    def __init__(self, applied: Path, builds: Path, packages: Packages, config: Config) -> None:
        self._applied = applied
        self._builds = builds
        self._packages = packages
        self._config = config

    def build(self, agent: str, commit: str) -> None:
        """See that there is a build of `commit`, all 40 (or 64) characters of it.

        What is not needed any more of the agent's older ones is removed. Raises BuildError; then
        nothing is left of it.
        """
        if not AGENT_NAME.fullmatch(agent) or not _COMMIT.fullmatch(commit):
            raise BuildError(f"This is no commit of an agent: {agent!r} {commit!r}.")
        store = BuildStore(self._builds / agent)
        if store.take(commit):
            say(f"{commit} is built already")
        else:
            with store.place(commit) as place:
                self._make(agent, commit, place)
            say(f"{commit} is built")
        store.prune({commit, self._deployed(agent)})

    def _make(self, agent: str, commit: str, place: Path) -> None:
        text = self._git(agent, "cat-file", "blob", f"{commit}:{agentfile.NAME}")
        try:
            file = agentfile.parse(text)
        except ValueError as error:
            raise BuildError(str(error)) from error
        (place / agentfile.NAME).write_text(text)
        if file.packages:
            self._has_hosts_usr(agent)
            unpacked = self._packages.unpack(file.packages, place)
            (place / "packages").write_text("".join(f"{line}\n" for line in unpacked))

    def _has_hosts_usr(self, agent: str) -> None:
        image = self._config.lifecycle.image_of(agent)
        if image != "/":
            raise BuildError(
                f"{agent} runs from the image {image}, and packages fit only the host's own /usr: "
                "install them in the image, and leave them out of agent.toml."
            )

    def _deployed(self, agent: str) -> str:
        try:
            return self._git(agent, "rev-parse", "--quiet", "--verify", "refs/heads/main").strip()
        except BuildError:
            return ""  # never deployed

    def _git(self, agent: str, *arguments: str) -> str:
        repository = self._applied / agent
        command = ["git", "-c", f"safe.directory={repository}", "--git-dir", str(repository)]
        try:
            done = subprocess.run(
                [*command, *arguments],
                env={**os.environ, **_GIT},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=True,
            )
            return done.stdout.decode()
        except subprocess.CalledProcessError as error:
            said = " ".join(error.stderr.decode(errors="replace").split())
            raise BuildError(f"git cannot read {arguments[-1]} in {repository}: {said}") from error
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
            raise BuildError(
                f"git cannot read {arguments[-1]} in {repository}: {error}."
            ) from error


def say(line: str) -> None:
    """Tell the journal, at once: somebody may be following it."""
    print(line, flush=True)  # noqa: T201 - the unit's output is its log
