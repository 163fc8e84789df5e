"""The steps of an import that need root: what would be copied, and the copy."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from services.config import AgentSettings, LifecycleConfig
from services.lifecycle.agents import resources
from services.lifecycle.backends import data
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory
from services.lifecycle.nixos_import import api_key
from services.lifecycle.nixos_import.sources import CLAUDE, HOME, STATE, Sources
from services.lifecycle.nixos_import.staging import Staging, Status
from services.lifecycle.nixos_import.tree_copy import Limits, Tally, TreeCopy, directory
from wire.errors import Conflict, InvalidArgument, LimitExceeded

ASIDE: Final = "before-import"
"""The directory in the state for the records of the original's harness, whose files have the names
of ours."""
RECORDS: Final = "hyperhive-"
"""The beginning of those names."""

HISTORY_LIMITS: Final = Limits(bytes=64 * 2**20, entries=20_000, depth=20)
"""As much as approvals reads."""

_HISTORY: Final = frozenset({"objects", "refs", "packed-refs", "HEAD"})


class Found(NamedTuple):
    """The files of an agent that an import copies.

    Attributes:
        parts: The entries and bytes of each part.
        left_out: The first entries that are not copied, each with the reason.
        left_out_count: The number of all of them.
        login: Whether there is a login with an account.
        key: Whether there is an API key.
    """

    parts: dict[str, tuple[int, int]]
    left_out: list[str]
    left_out_count: int
    login: bool
    key: bool

    @property
    def bytes(self) -> int:
        """The bytes of all parts."""
        return sum(size for _, size in self.parts.values())


class Takeover:
    """The import of one agent."""

    def __init__(
        self,
        layout: Layout,
        sources: Sources,
        config: LifecycleConfig,
        limits: Limits | None = None,
    ) -> None:
        self._layout = layout
        self._sources = sources
        self._config = config
        self._limits = limits or Limits()
        self._staging = Staging(layout, sources.name)

    def look(self) -> Found:
        """Return what would be copied; change nothing.

        Raises:
            LimitExceeded: it is too much for a limit, for the agent, or for the disk.
            InvalidArgument: a directory cannot be read, or the history is not a git repository.
        """
        counting = TreeCopy(self._limits, None)
        parts, login, key = {}, False, False
        for part, path in self._sources.parts.items():
            before = counting.tally.entries, counting.tally.bytes
            with directory(path, self._layout.root) as source:
                counting.copy(source, None, str(path), partial(_is_wanted, part))
                login = login or (part == CLAUDE and api_key.has_login(source))
                key = key or (part in (CLAUDE, HOME) and bool(api_key.find(source)))
            tally = counting.tally
            parts[part] = tally.entries - before[0], tally.bytes - before[1]
        if self._sources.history:
            self._copy_history(None)
        tally = counting.tally
        found = Found(parts, tally.left_out, tally.left_out_count, login, key)
        self._check_room(found.bytes)
        return found

    def copy(self, tell: Callable[[Tally], None]) -> str:
        """Copy the files into a directory of the import, and the history into another.

        Args:
            tell: is called from time to time.

        Returns:
            The API key that was in the files; empty if there was none.

        Raises:
            LimitExceeded, InvalidArgument: see `look`. No copy is left.
        """
        base = self._staging.choose_base()
        # Anew: the files may have grown since `look`.
        most = min(self._limits.bytes, *self._room())
        copying = TreeCopy(replace(self._limits, bytes=most), base, tell)
        try:
            return self._copy_all(copying, base)
        except LimitExceeded:
            self._check_room(copying.tally.bytes)  # its sentence says more
            raise

    def copy_history(self) -> None:
        """Copy the history of an agent that is imported already, in place of an earlier copy.

        Raises:
            Conflict: the agent was not imported.
            LimitExceeded, InvalidArgument: see `look`. An earlier copy stays.
        """
        name = self._sources.name
        if self._staging.status() not in (Status.UNFINISHED, Status.FINISHED):
            raise Conflict(f"{name} was not imported, so no history can be added to it.")
        self._copy_history(None)
        with self._staging.fresh_history() as repository:
            self._copy_history(repository)

    def _copy_all(self, copying: TreeCopy, base: int) -> str:
        """Make the copies; return the API key."""
        modes = {part.name: part.mode for part in data.WRITABLE}
        keys = []
        with self._staging.fresh() as own:
            for part in {CLAUDE, STATE, *self._sources.parts}:
                with own.directory(part, mode=modes[part], owner=base) as target:
                    if path := self._sources.parts.get(part):
                        with directory(path, self._layout.root) as source:
                            self._copy_part(copying, part, source, target, str(path))
                    if part in (CLAUDE, HOME):
                        keys.append(api_key.take(target))
            if self._sources.history:
                with self._staging.fresh_history() as repository:
                    self._copy_history(repository)
        return next(filter(None, keys), "")

    def _copy_part(
        self, copying: TreeCopy, part: str, source: int, target: Directory, path: str
    ) -> None:
        """Copy a part; the records of the original's harness go into a directory of their own."""
        copying.copy(
            source,
            target.fileno(),
            path,
            lambda name: _is_wanted(part, name) and not _is_record(part, name),
        )
        if part == STATE and any(_is_record(part, name) for name in os.listdir(source)):
            with target.directory(ASIDE, mode=0o700) as aside:
                copying.copy(source, aside.fileno(), path, lambda name: _is_record(part, name))

    def _copy_history(self, repository: Directory | None) -> None:
        """Copy the objects and references of the git repository; None: only look at it.

        Its configuration and hooks are not copied. Approvals checks the objects.
        """
        copying = TreeCopy(HISTORY_LIMITS, None)
        path = self._sources.history or Path()
        with directory(path, self._layout.root) as top, _git_directory(top) as source:
            entries = set(os.listdir(source))  # noqa: PTH208 - by descriptor
            if not {"objects", "refs"} <= entries:
                raise InvalidArgument(
                    f"{path} is not a git repository: it has no directories objects and refs."
                )
            target = None if repository is None else repository.fileno()
            copying.copy(source, target, str(path), lambda name: name in _HISTORY)

    def _check_room(self, size: int) -> None:
        """Check that the agent may have so many bytes, and that the disk has room for them.

        Raises:
            LimitExceeded: it may not, or has not. A spawn would fail.
        """
        name = self._sources.name
        most, free = self._room()
        if size > most:
            raise LimitExceeded(
                f"The files of {name} take {size // 2**20} MiB, and disk_max allows "
                f"{most // 2**20} MiB. Set disk_max in [lifecycle.agents.{name}.resources] of "
                "hyperhive.toml, or remove files that the agent does not need."
            )
        if size > free:
            raise LimitExceeded(
                f"The files of {name} take {size // 2**20} MiB, and {self._layout.data} has room "
                f"for {free // 2**20} MiB."
            )

    def _room(self) -> tuple[int, int]:
        """Return the bytes that the agent may have, and those that the disk has room for."""
        own = self._config.agents.get(self._sources.name, AgentSettings()).resources
        most = resources.effective(self._config.resources, own).disk_max
        disk = os.statvfs(self._layout.data)
        return self._limits.bytes if most is None else most, disk.f_bavail * disk.f_frsize


def _is_wanted(part: str, name: str) -> bool:
    """Return whether an entry of a part is copied: Claude Code's files are a part of their own."""
    return not (part == HOME and name == ".claude")


def _is_record(part: str, name: str) -> bool:
    return part == STATE and (name.startswith(RECORDS) or name == ASIDE)


@contextmanager
def _git_directory(top: int) -> Iterator[int]:
    """Open the git directory of a repository, with or without a work tree."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(".git" if ".git" in os.listdir(top) else ".", flags, dir_fd=top)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
