"""Building the NixOS system of an agent with Nix.

The Nix code of an agent is evaluated here and nowhere else. Nix evaluates it in pure and restricted
mode: it reads the flake and its locked inputs, no file of the host, no variable, and builds nothing
to read that in turn. Nix reads its own settings from a file, because it would pass settings of its
command line on to the daemon, which refuses them.
"""

import os
import re
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from services import flakelock, metaflake
from services.build.builder import BuildError, say
from services.config import NixosConfig
from services.flakelock import Lock
from services.metaflake import Locked

MAX_LINE: Final = 4096
"""The bytes of a line of output; a longer one is cut."""
LAST: Final = 200
"""The last lines of output in which the reason of a failure is looked for."""

_SETTINGS: Final = """\
!include {system}/nix.conf
extra-experimental-features = nix-command flakes
pure-eval = true
restrict-eval = true
allowed-uris = {allowed}
allow-import-from-derivation = false
allow-unsafe-native-code-during-evaluation = false
accept-flake-config = false
flake-registry =
use-registries = false
warn-dirty = false
"""
_ESCAPES: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)?")
_FOLLOWS: Final = re.compile(r"dependenc(y|ies) (of derivation .* )?failed|failed dependency")
_KILLED: Final = "signal 9 (Killed)"
_MEMORY: Final = (
    "It may have used up the memory of the host, or of nix-daemon.service, which runs the builders."
)
_SYSTEM: Final = re.compile(r"/[A-Za-z0-9+._/-]*/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,211}")


class Nix:
    """The systems of agents, each built from one commit and the inputs of the host."""

    def __init__(self, applied: Path, cache: Path, config: NixosConfig) -> None:
        """Do nothing before `build`.

        Args:
            applied: the directory with the repositories of the agents.
            cache: a directory for what Nix fetches.
            config: the inputs of all systems.
        """
        self._applied = applied
        self._cache = cache
        self._config = config

    @property
    def stamp(self) -> str:
        """A digest of the inputs of the host: a system with another stamp is outdated."""
        return metaflake.stamp(self._config)

    def build(self, agent: str, commit: str, lock: Lock, link: Path) -> str:
        """Build the system of `agent` at `commit`; return its path in the store.

        Args:
            agent: the agent.
            commit: a commit whose flake has the lock `lock`.
            lock: the lock.
            link: the place of a link to the system, which keeps Nix from removing the system.

        Raises:
            BuildError: the system cannot be built.
        """
        if metaflake.HYPERHIVE not in self._config.inputs:
            raise BuildError(
                "hyperhive.toml has no section [nixos.inputs.hyperhive], so no system can be "
                "built. The NixOS module of Hyperhive writes it."
            )
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="flake-", dir=self._cache) as folder:
            flake = Path(folder, "flake")
            flake.mkdir()
            text = metaflake.flake(self._config, self._applied, [agent])
            (flake / metaflake.FLAKE).write_text(text)
            locked = {agent: Locked(commit, lock)}
            text = metaflake.lock(self._config, self._applied, locked)
            (flake / flakelock.NAME).write_text(text)
            settings = Path(folder, "conf")
            settings.mkdir()
            (settings / "nix.conf").write_text(self._settings(agent, lock))
            command = ["nix", "build", f"path:{flake}#{metaflake.attribute(agent)}"]
            command += ["--out-link", str(link), "--no-update-lock-file", "--print-build-logs"]
            self._run(command, settings, f"The system of {agent} cannot be built")
        return system_at(link)

    def keep(self, system: str, link: Path) -> None:
        """Make `link` a link to the built `system`, which keeps Nix from removing the system.

        Raises:
            BuildError: the system is gone, or the link cannot be made.
        """
        with tempfile.TemporaryDirectory(prefix="conf-", dir=self._cache) as folder:
            settings = Path(folder)
            (settings / "nix.conf").write_text(_SETTINGS.format(system=_system(), allowed=""))
            command = ["nix-store", "--realise", system, "--add-root", str(link), "--indirect"]
            self._run(command, settings, f"{system} cannot be kept", quiet=True)

    def _settings(self, agent: str, lock: Lock) -> str:
        repository = f"{self._applied}/{agent}"
        allowed = [f"file://{repository}", f"git+file://{repository}"]
        # Later versions of Nix compare the whole address, with its query, with beginnings that end
        # with a slash. Other repositories are out of reach of the unit.
        allowed += [f"git+file://{self._applied}/"]
        allowed += [f"path:{found.path}" for found in self._config.inputs.values()]
        allowed += [f"path:{Path(found.path).parent}/" for found in self._config.inputs.values()]
        allowed += flakelock.addresses(lock)
        allowed += self._config.allowed_uris
        return _SETTINGS.format(system=_system(), allowed=" ".join(dict.fromkeys(allowed)))

    def _run(self, command: list[str], settings: Path, failed: str, *, quiet: bool = False) -> None:
        """Run `command`; say each line of its output at once, or with `quiet` none.

        Raises:
            BuildError: the command failed; the text begins with `failed`.
        """
        try:
            process = subprocess.Popen(
                command,
                env=self._environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise BuildError(f"{failed}: {command[0]} cannot be started: {error}.") from error
        with process:
            last: deque[str] = deque(maxlen=LAST)
            for line in _lines(process.stdout):
                last.append(line)
                # /proc of the unit has processes only.
                if not quiet and not line.startswith("GC Warning: "):
                    say(line)
        if process.returncode < 0:
            raise BuildError(
                f"{failed}: {command[0]} was killed by {signal.Signals(-process.returncode).name}. "
                "It may have used up the memory of the unit (MemoryMax=)."
            )
        if process.returncode:
            raise BuildError(f"{failed}: {_reason(last) or f'status {process.returncode}'}")

    def _environment(self, settings: Path) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self._cache),
            "XDG_CACHE_HOME": str(self._cache),
            "NIX_CONF_DIR": str(settings),
            "NIX_USER_CONF_FILES": "",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(Path(__file__).with_name("gitconfig")),
            "GIT_ALLOW_PROTOCOL": "file:https:ssh",
            "GIT_TERMINAL_PROMPT": "0",
        }


def system_at(link: Path) -> str:
    """Return the system to which `link` leads.

    Raises:
        BuildError: it leads elsewhere, or there is no link.
    """
    try:
        system = str(link.readlink())
    except OSError as error:
        raise BuildError(f"There is no link to a system: {error}.") from error
    if not _SYSTEM.fullmatch(system):
        raise BuildError(f"{link} leads to {system}, which is not in the Nix store.")
    return system


def _system() -> str:
    """Return the directory of the host's own nix.conf."""
    return os.environ.get("NIX_CONF_DIR", "/etc/nix")


def _lines(stream: IO[bytes] | None) -> Iterator[str]:
    while stream and (line := stream.readline(MAX_LINE)):
        yield _shown(line)


def _shown(line: bytes) -> str:
    """Return a line of output without colours and control characters."""
    text = _ESCAPES.sub("", line.decode(errors="replace").rstrip("\r\n"))
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in text)


def _reason(lines: Sequence[str]) -> str:
    """Return the error of Nix that stands last, without those that only follow from another."""
    errors: list[str] = []
    for line in lines:
        found = line.strip()
        if found.startswith("error: ") and len(found) > len("error: "):
            errors.append(found.removeprefix("error: "))
        elif errors and found.startswith("Reason: "):
            errors[-1] += f" {found}"
    causes = [error for error in errors if not _FOLLOWS.search(error)]
    reason = (causes or errors or [""])[-1]
    if not reason:
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    if _KILLED in reason:
        return f"{reason.rstrip('.;')}. {_MEMORY}"
    return reason
