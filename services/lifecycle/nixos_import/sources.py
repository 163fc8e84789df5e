"""The places of an agent's files in a container that nixos-container made."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.lifecycle.backends.layout import Layout
from services.lifecycle.nixos_import import conf
from services.lifecycle.nixos_import.conf import Bind
from services.lifecycle.nixos_import.tree_copy import directory
from wire import names
from wire.errors import InvalidArgument, NotFound

CLAUDE: Final = "claude"
STATE: Final = "state"
HOME: Final = "root"
PARTS: Final = {
    CLAUDE: ("/root/.claude",),
    STATE: ("/state", "/agents/{name}/state"),
    HOME: ("/root",),
    "home": ("/home",),
    "opt": ("/opt",),
    "srv": ("/srv",),
}
"""The directories that are taken over, as `backends.data` names them, with their places in the
container. /var is not: NixOS keeps the state of the old system there."""

HISTORY: Final = "/applied"
"""The place of the configurations in the manager's container, a repository for each agent."""

_HIVE: Final = ("/run/hive", "/agents", "/applied", "/meta")
"""The mount points that a hive makes itself."""


@dataclass(frozen=True)
class Options:
    """The places that the operator has given.

    Attributes:
        state: The directory of the agent's state; None: as the container has it.
        claude: The directory of Claude Code's files; None: as the container has it.
        history: The git repository with the configurations; None: as the manager has it.
        moved: Paths at which the files of the original were, and are now.
    """

    state: Path | None = None
    claude: Path | None = None
    history: Path | None = None
    moved: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Sources:
    """The places for one agent.

    Attributes:
        name: The agent.
        parts: The directory of each part that there is.
        history: The git repository; None: none is known.
        unused: The writable bind mounts for which an agent of this hive has no place.
    """

    name: str
    parts: dict[str, Path]
    history: Path | None
    unused: list[Bind] = field(default_factory=list)


class Containers:
    """The containers that nixos-container made on this host."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._files = layout.root / "etc/nixos-containers"
        self._roots = layout.root / "var/lib/nixos-containers"

    def agents(self) -> list[str]:
        """Return the agents of the original system."""
        if not self._files.is_dir():
            return []
        machines = [file.stem for file in self._files.iterdir() if file.suffix == ".conf"]
        found = [names.agent_of_machine(machine) for machine in machines]
        return sorted(name for name in found if name and names.is_agent_name(name))

    def sources(self, name: str, options: Options) -> Sources:
        """Return the places of an agent's files.

        Raises:
            NotFound: there is no such container, or no directory at a place that was given.
            InvalidArgument: the container's file, or a path, is not valid.
        """
        names.check_agent_name(name)
        root, binds = self._container(name, options)
        given = {STATE: options.state, CLAUDE: options.claude}
        parts, used = {}, set[str]()
        for part, targets in PARTS.items():
            places = [target.format(name=name) for target in targets]
            used.update(places)
            bound = next((bind for bind in reversed(binds) if bind.target in places), None)
            if path := given.get(part):
                parts[part] = self._checked(path, f"--{part}")
            elif bound:
                parts[part] = self._checked(Path(bound.source), f"the place of {bound.target}")
            elif inside := self._inside(root, places):
                parts[part] = inside
        unused = [b for b in binds if b.writable and not self._is_known(b.target, used)]
        return Sources(name, parts, self._history(name, options), unused)

    def repository(self, name: str, path: Path) -> Sources:
        """Return the place of an agent's history alone; its container may be gone.

        Raises:
            NotFound, InvalidArgument: the directory cannot be used.
        """
        return Sources(name, {}, self._checked(path, "--history"))

    def _container(self, name: str, options: Options) -> tuple[Path, list[Bind]]:
        """Return the root directory and the bind mounts of the container of `name`."""
        machine = names.machine_name(name)
        file = self._files / f"{machine}.conf"
        root = self._roots / machine
        try:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(conf.MAX_BYTES)
        except FileNotFoundError:
            known = ", ".join(self.agents()) or "none"
            raise NotFound(
                f"There is no container {machine} in {self._files}. The agents that have one: "
                f"{known}."
            ) from None
        except ValueError:
            raise InvalidArgument(f"{file} is not valid UTF-8 text.") from None
        binds = conf.binds(text, str(file), root)
        return root, [b._replace(source=str(self._moved(b.source, options))) for b in binds]

    def _moved(self, path: str, options: Options) -> Path:
        """Return a path of the original on this host, where it is now."""
        for old, new in options.moved:
            if Path(path).is_relative_to(old):
                path = str(Path(new).absolute() / Path(path).relative_to(old))
        return self._layout.root / path.lstrip("/")

    def _history(self, name: str, options: Options) -> Path | None:
        if options.history:
            return self._checked(options.history, "--history")
        try:
            _, binds = self._container(names.MANAGER, options)
        except NotFound:
            return None
        for bind in binds:
            repository = Path(bind.source) / name
            if bind.target == HISTORY and os.path.lexists(repository):
                return self._checked(repository, f"the history of {name}")
        return None

    def _checked(self, path: Path, role: str) -> Path:
        """Return the absolute path of a directory.

        Raises:
            NotFound: there is none.
            InvalidArgument: it is no directory, or behind a link.
        """
        found = path.absolute()
        try:
            with directory(found, self._layout.root):
                return found
        except FileNotFoundError:
            raise NotFound(
                f"{found} ({role}) does not exist. If the files were moved, say so with --moved "
                "OLD NEW, or give the directory with --state, --claude or --history."
            ) from None
        except OSError as error:
            raise InvalidArgument(
                f"{found} ({role}) cannot be used: {error.strerror}. It must be a directory, and "
                "no part of its path may be a link."
            ) from None

    def _inside(self, root: Path, places: Sequence[str]) -> Path | None:
        """Return the first of some directories in the root of a container that exists."""
        for place in places:
            path = root / place.lstrip("/")
            try:
                with directory(path, self._layout.root):
                    return path
            except OSError:
                continue  # there is none, or the agent has put a link in its place
        return None

    @staticmethod
    def _is_known(target: str, used: set[str]) -> bool:
        return target in used or target in _HIVE or target.startswith("/nix/")
