"""The directories of an import, and how far it is.

An agent's files are copied into `.import-NAME` beside the directories of the agents, which belongs
to root and nobody else enters. When everything is there, it is renamed to NAME in one step, and a
spawn takes it over as the kept data of an earlier agent. The file MARK says that the directory came
from an import, and whether that has ended. The agent cannot change it. hivectl lets one import run
at a time.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from services.lifecycle.agents import uid_ranges
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory, read_below
from services.lifecycle.host.in_use import used_uids
from wire.errors import Conflict

MARK: Final = "import.json"
STATE: Final = "state"
HISTORIES: Final = "imports"
"""The directory with copied histories, which approvals reads, beside its repositories."""

_FINISHED: Final = "finished"
_PREFIX: Final = ".import-"


class Status(StrEnum):
    """The directory of an agent, as an import finds it."""

    MISSING = "missing"
    UNFINISHED = "unfinished"
    """An import has put it there, and has not ended."""
    FINISHED = "finished"
    """An import has put it there."""
    OTHER = "other"
    """It did not come from an import."""


class Staging:
    """The directories of the import of one agent."""

    def __init__(self, layout: Layout, name: str) -> None:
        self._layout = layout
        self._name = name
        self._staged = f"{_PREFIX}{name}"

    def status(self) -> Status:
        """Return how far the import is."""
        if not os.path.lexists(self._layout.data / self._name):
            return Status.MISSING
        return self._status(self._name)

    def base(self) -> int | None:
        """Return the first uid of the range of the files in place; None if there are none."""
        with Directory.open(self._layout.data) as agents:
            return self._owner(agents, self._name)

    def has_history(self) -> bool:
        """Return whether a history was copied, and is not imported yet."""
        return os.path.lexists(self._layout.git / HISTORIES / self._name)

    def choose_base(self) -> int:
        """Return the first uid of a free range, the one that the agent gets when it is spawned."""
        taken = used_uids(self._layout.root / "etc")
        with Directory.open(self._layout.data) as agents:
            for entry in os.listdir(agents.fileno()):  # noqa: PTH208 - by descriptor
                owner = None if entry == self._staged else self._owner(agents, entry)
                if owner is not None:
                    taken.append(range(owner, owner + uid_ranges.SIZE))
        return uid_ranges.choose(self._name, taken)

    @contextmanager
    def fresh(self) -> Iterator[Directory]:
        """Make an empty directory for the copy, in place of that of an interrupted import.

        When the context ends without an error, the directory is complete.
        """
        with Directory.open(self._layout.data) as agents:
            agents.remove(self._staged)
            self._remove_history()
            try:
                with agents.directory(self._staged, mode=0o700) as own:
                    yield own
                    mark = json.dumps({_FINISHED: False}) + "\n"
                    own.write(MARK, mark, mode=0o600)
            except BaseException:
                agents.remove(self._staged)
                raise
            # Once for all files: a call for each of them would take minutes.
            os.sync()

    @contextmanager
    def fresh_history(self) -> Iterator[Directory]:
        """Make an empty work tree for the copy of a git repository, readable for everybody.

        If the context ends with an error, no copy is left.
        """
        with (
            Directory.open(self._layout.git) as git,
            git.directory(HISTORIES) as histories,
        ):
            histories.remove(self._name)
            try:
                with histories.directory(self._name) as tree, tree.directory(".git") as repository:
                    yield repository
            except BaseException:
                histories.remove(self._name)
                raise

    def publish(self) -> None:
        """Put the complete copy in its place, in one step.

        Raises:
            Conflict: nothing was copied, or the agent has files that no import has left.
        """
        with Directory.open(self._layout.data) as agents:
            if self._status(self._staged) is not Status.UNFINISHED:
                raise Conflict(f"No files of {self._name} were copied; begin again.")
            status = self.status()
            if status is Status.UNFINISHED:
                agents.remove(self._name)
            elif status is not Status.MISSING:
                raise Conflict(f"{self._layout.data / self._name} exists already.")
            there = agents.fileno()
            os.rename(self._staged, self._name, src_dir_fd=there, dst_dir_fd=there)
            os.fsync(there)

    def finish(self) -> None:
        """Note that the import has ended; remove the copy of the history."""
        with Directory.open(self._layout.data / self._name) as own:
            own.write(MARK, json.dumps({_FINISHED: True}) + "\n", mode=0o600)
        self._remove_history()

    def _remove_history(self) -> None:
        if self.has_history():
            with Directory.open(self._layout.git / HISTORIES) as histories:
                histories.remove(self._name)

    def _status(self, entry: str) -> Status:
        try:
            mark = json.loads(read_below(self._layout.data, (entry, MARK), 4096))
        except (OSError, ValueError):
            return Status.OTHER
        return Status.FINISHED if mark.get(_FINISHED) else Status.UNFINISHED

    def _owner(self, agents: Directory, entry: str) -> int | None:
        """Return the first uid of the range to which an agent's files belong, if they do."""
        if agents.owner_of(entry) != 0:
            return None
        with Directory.at(agents.fileno(), entry) as own:
            owner = own.owner_of(STATE)
        return owner if owner is not None and uid_ranges.is_base(owner) else None
