"""The builds of one agent: which there are, which are kept."""

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished-"


class BuildStore:
    """The folder of an agent's builds; only one process at a time works on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, commit: str) -> bool:
        """Whether there is a build of `commit`; then it counts as the newest."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._folder / commit)
            return True
        return False

    @contextlib.contextmanager
    def place(self, commit: str) -> Iterator[Path]:
        """A new directory that becomes the build of `commit`, unless an exception is raised."""
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
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

    def prune(self, keep: Collection[str]) -> None:
        """Remove all builds but those in `keep` and the newest other one."""
        builds = [p for p in self._folder.iterdir() if not p.name.startswith(UNFINISHED)]
        others = [path for path in builds if path.name not in keep]
        for path in sorted(others, key=lambda path: path.stat().st_mtime_ns)[:-1]:
            # Half of it must not be there under its name.
            gone = self._folder / f"{UNFINISHED}{path.name}"
            path.rename(gone)
            _remove(gone)


def _to_disk(place: Path) -> None:
    """Have all of it on the disk, so that its name is not there before it when the power goes."""
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
    """Remove the directory `path`, in which some may not be writable for us, as its owner."""
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(stat.S_IRWXU)
    shutil.rmtree(path)
