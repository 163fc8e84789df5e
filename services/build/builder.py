"""Building a commit into the directory that an agent's container runs from: builds/NAME/COMMIT.

The directory is created under another name and then renamed. So a build is either complete or
missing, and a repeated request finds the existing build.
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
from wire.names import is_agent_name

GIT_SECONDS: Final = 30

_GIT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    # Do not fetch missing objects: the repository could name a program that fetches them.
    "GIT_ALLOW_PROTOCOL": "",
}

_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class BuildError(Exception):
    """The reason of a failed build, in one sentence that says what to do."""


class Packages(Protocol):
    """The source of packages."""

    def unpack(self, packages: Sequence[str], into: Path) -> list[str]:
        """Unpack `packages` and their dependencies below `into`/usr, except what the host has.

        Returns:
            `NAME VERSION` for each unpacked package.

        Raises:
            BuildError: the packages cannot be unpacked.
        """


class Builder:
    """The builder for all agents."""

    def __init__(self, applied: Path, builds: Path, packages: Packages, config: Config) -> None:
        """Do nothing before `build`.

        Args:
            applied: the directory with the repositories of the agents.
            builds: the directory for the builds.
            packages: the source of packages.
            config: the host's configuration.
        """
        self._applied = applied
        self._builds = builds
        self._packages = packages
        self._config = config

    def build(self, agent: str, commit: str) -> None:
        """Build `commit` unless it is built already; remove older builds that are not needed.

        Args:
            agent: the agent.
            commit: all 40 (or 64) characters of the commit's name.

        Raises:
            BuildError: the build failed; nothing is left of it.
        """
        if not is_agent_name(agent) or not _COMMIT.fullmatch(commit):
            raise BuildError(
                f"{agent!r} {commit!r} is not valid: give an agent's name and a full commit hash."
            )
        store = BuildStore(self._builds / agent)
        if store.find(commit):
            say(f"{commit} is built already")
        else:
            with store.new(commit) as place:
                self._write(agent, commit, place)
            say(f"{commit} is built")
        store.prune({commit, self._deployed(agent)})

    def _write(self, agent: str, commit: str, place: Path) -> None:
        text = self._git(agent, "cat-file", "blob", f"{commit}:{agentfile.NAME}")
        try:
            file = agentfile.parse(text)
        except ValueError as error:
            raise BuildError(str(error)) from error
        (place / agentfile.NAME).write_text(text)
        if file.packages:
            self._check_image(agent)
            unpacked = self._packages.unpack(file.packages, place)
            (place / "packages").write_text("".join(f"{line}\n" for line in unpacked))

    def _check_image(self, agent: str) -> None:
        image = self._config.lifecycle.image_of(agent)
        if image != "/":
            raise BuildError(
                f"{agent} runs from the image {image}, but packages fit only the host's own /usr. "
                "Install them in the image, and remove them from agent.toml."
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
    """Print a line to the journal at once: somebody may be following it."""
    print(line, flush=True)  # noqa: T201 - the unit's output is its log
