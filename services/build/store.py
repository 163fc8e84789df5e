"""The stored builds of one agent."""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished-"


class BuildStore:
    """The directory of an agent's builds. Only one process at a time may use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def link(self) -> Path:
        """The place of the link to the system that was built last."""
        return self._folder / ".system"

    def path(self, commit: str) -> Path:
        """Return the directory of the build of `commit`."""
        return self._folder / commit

    def write(self, commit: str, name: str, text: str) -> None:
        """Write a file of a complete build, at once."""
        new = self._folder / f".{name}"
        new.write_text(text)
        new.replace(self._folder / commit / name)

    def make(self) -> None:
        """Make the directory, unless there is one."""
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    def find(self, commit: str) -> bool:
        """Return whether there is a build of `commit`, and make it the newest."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._folder / commit)
            return True
        return False

    @contextlib.contextmanager
    def new(self, commit: str) -> Iterator[Path]:
        """Yield a new directory; it becomes the build of `commit` unless an exception is raised."""
        self.make()
        for left in self._folder.glob(f"{UNFINISHED}*"):
            _remove(left)
        place = self._folder / f"{UNFINISHED}{commit}"
        place.mkdir(mode=0o755)
        try:
            yield place
            _to_disk(place)
            place.rename(self._folder / commit)
        except BaseException:
            _remove(place)
            raise

    def prune(self, keep: Collection[str], *, newest: int, days: int | None = None) -> None:
        """Remove all builds except those in `keep` and the `newest` of the others.

        Of the others, those that were not used for `days` are removed, too.
        """
        builds = [path for path in self._folder.iterdir() if not path.name.startswith(".")]
        times = {path: path.stat().st_mtime for path in builds if path.name not in keep}
        others = sorted(times, key=lambda path: times[path], reverse=True)
        oldest = 0.0 if days is None else time.time() - days * 86400
        for path in [*others[newest:], *(p for p in others[:newest] if times[p] < oldest)]:
            # A half removed build must not have the name of a complete one.
            gone = self._folder / f"{UNFINISHED}{path.name}"
            path.rename(gone)
            _remove(gone)


def _to_disk(place: Path) -> None:
    """Sync the directory, so that after a power cut a directory with the final name is complete."""
    if (place / "usr").exists():
        os.sync()  # thousands of files
        return
    for path in (*place.iterdir(), place):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a directory of our own, in which some directories may be read-only."""
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(stat.S_IRWXU)
    shutil.rmtree(path)
