"""The file .claude.json, in which Claude Code keeps its settings and the state of its user.

Claude Code does not start with a broken file, and a full disk or a killed process breaks it. The
file lies in the directory that survives the container, like the login.
"""

import json
import logging
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

NAME: Final = ".claude.json"

MAX_BYTES: Final = 64 * 1024 * 1024


class UserFile:
    """The file in `directory`.

    Args:
        directory: the directory of Claude Code's own files (CLAUDE_CONFIG_DIR).
        home: the home directory, where the file lay before it was in `directory`.
    """

    def __init__(self, directory: Path, home: Path) -> None:
        self._directory = directory
        self._home = home
        self._file = directory / NAME

    def repair(self) -> str | None:
        """Put a broken file back from its newest valid backup, or remove it.

        Claude Code makes a missing file anew.

        Returns:
            A sentence that says so; None if there was nothing to repair.

        Raises:
            OSError: the files cannot be written.
        """
        if not self._exists():
            if is_valid(self._home / NAME):
                shutil.copyfile(self._home / NAME, self._file)
            return None
        if is_valid(self._file):
            return None
        backups = self._directory / "backups"
        backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = backups / f"{NAME}.broken.{time.time_ns()}"
        self._file.rename(aside)
        found = [path for path in backups.glob(f"{NAME}.backup.*") if is_valid(path)]
        if not found:
            how = "Claude Code makes a new one"
        else:
            newest = max(found, key=lambda path: path.name)
            shutil.copyfile(newest, self._file)
            how = f"it was put back from its backup {newest.name}"
        note = f"{self._file} was broken: {how}. The broken file is kept as {aside}."
        log.warning("%s", note)
        return note

    def _exists(self) -> bool:
        return os.path.lexists(self._file)


def is_valid(path: Path) -> bool:
    """Return whether `path` is a regular file with a JSON object."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            return False
        with open(descriptor, "rb", closefd=False) as file:
            return isinstance(json.load(file), dict)
    except (OSError, ValueError, RecursionError):
        return False
    finally:
        os.close(descriptor)
