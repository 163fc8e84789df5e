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

from services import agentfile, flakelock, metaflake
from services.agentfile import AgentFile
from services.build.store import BuildStore
from services.config import Config
from services.flakelock import Lock
from wire.names import is_agent_name

GIT_SECONDS: Final = 30

SYSTEM: Final = "system"
"""The link in a build to its NixOS system."""
STAMP: Final = "inputs"
"""The file in a build that says which inputs of the host have made its system."""

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


class Systems(Protocol):
    """The source of NixOS systems."""

    @property
    def stamp(self) -> str:
        """A digest of the inputs of the host: a system with another stamp is outdated."""

    def build(self, agent: str, commit: str, lock: Lock, link: Path) -> str:
        """Build the system of `agent`, make `link` a link that keeps it; return its path.

        Raises:
            BuildError: the system cannot be built.
        """

    def keep(self, system: str, link: Path) -> None:
        """Make `link` a link that keeps `system`, which was built.

        Raises:
            BuildError: the system is gone.
        """


class Builder:
    """The builder for all agents."""

    def __init__(
        self,
        applied: Path,
        builds: Path,
        packages: Packages,
        config: Config,
        systems: Systems | None = None,
    ) -> None:
        """Do nothing before `build`.

        Args:
            applied: the directory with the repositories of the agents.
            builds: the directory for the builds.
            packages: the source of packages.
            config: the host's configuration.
            systems: the source of systems; None: the agents have no systems of their own.
        """
        self._applied = applied
        self._builds = builds
        self._packages = packages
        self._config = config
        self._systems = systems

    def build(self, agent: str, commit: str) -> None:
        """Build `commit` unless it is built already; remove older builds that are not needed.

        A system that other inputs of the host have made is built again.

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
        if store.find(commit) and self._is_current(store.path(commit)):
            say(f"{commit} is built already")
        else:
            self._build(agent, commit, store)
            say(f"{commit} is built")
        keep = {commit, self._deployed(agent)}
        if self._systems is None:
            store.prune(keep, newest=1)
        else:
            limits = self._config.nixos
            store.prune(keep, newest=limits.keep_builds, days=limits.keep_days)

    def _build(self, agent: str, commit: str, store: BuildStore) -> None:
        store.make()
        text, file = self._agent_file(agent, commit)
        system = self._system(agent, commit, store.link)
        if not store.find(commit):
            with store.new(commit) as place:
                (place / agentfile.NAME).write_text(text)
                if file.packages:
                    self._check_image(agent)
                    unpacked = self._packages.unpack(file.packages, place)
                    (place / "packages").write_text("".join(f"{line}\n" for line in unpacked))
        if self._systems is None:
            return
        # The link in the complete build, and not in the unfinished one, keeps Nix from removing the
        # system. Until then, that of the store does.
        link = store.path(commit) / SYSTEM
        if system:
            self._systems.keep(system, link)
        else:
            link.unlink(missing_ok=True)
        store.write(commit, STAMP, f"{self._systems.stamp}\n")

    def _agent_file(self, agent: str, commit: str) -> tuple[str, AgentFile]:
        text = self._git(agent, "cat-file", "blob", f"{commit}:{agentfile.NAME}")
        try:
            file = agentfile.parse(text)
        except ValueError as error:
            raise BuildError(str(error)) from error
        if file.packages and self._systems:
            raise BuildError(
                "packages in agent.toml are packages of Debian, and the agents of this host have "
                f"NixOS: name them in {metaflake.MODULE}, as environment.systemPackages."
            )
        return text, file

    def _system(self, agent: str, commit: str, link: Path) -> str:
        """Build the system of a commit that has a flake; return its path, or empty."""
        files = ("ls-tree", "-z", "--name-only", commit, "--", metaflake.FLAKE)
        if self._systems is None or not self._git(agent, *files):
            return ""
        text = self._git(agent, "cat-file", "blob", f"{commit}:{flakelock.NAME}")
        try:
            lock = flakelock.parse(text)
        except ValueError as error:
            raise BuildError(str(error)) from error
        return self._systems.build(agent, commit, lock, link)

    def _is_current(self, place: Path) -> bool:
        """Return whether a build has the system that the host's inputs make today."""
        if self._systems is None:
            return True
        try:
            stamp = (place / STAMP).read_text().strip()
        except FileNotFoundError:
            return False
        link = place / SYSTEM
        return stamp == self._systems.stamp and (link.exists() or not link.is_symlink())

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
