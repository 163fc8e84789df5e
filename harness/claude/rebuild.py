"""The repair after `hivectl rebuild`: Claude Code begins with new files of its own.

Nobody knows all files with which Claude Code does not start. So after a rebuild all of them are put
aside, except the login and the sessions. The host does not do that: root of the host opens nothing
by a path that an agent can change.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Final

from harness.claude import user_file
from harness.config import Paths
from harness.turns.started import Started

log = logging.getLogger(__name__)

VERB: Final = "rebuild"

MARK: Final = "hyperhive-rebuilt"
"""The file in the agent's directory with the time of the last rebuild that was handled."""

LOGIN: Final = ".credentials.json"
SESSIONS: Final = "projects"

ASIDE: Final = "before-rebuild-"
"""The beginning of the name of a directory with the files that were put aside."""


def repair(start: Started | None, paths: Paths) -> str | None:
    """Put Claude Code's files aside, if the container was started by a rebuild.

    It is done once for each rebuild.

    Args:
        start: the start of the container.
        paths: the paths in the container.

    Returns:
        A sentence that says so; None if there was nothing to do.
    """
    if start is None or start.verb != VERB:
        return None
    mark = paths.state / MARK
    if _read(mark) == str(start.at):
        return None
    try:
        moved = _put_aside(paths.claude, f"{ASIDE}{start.at}")
        mark.write_text(f"{start.at}\n", encoding="utf-8")
    except OSError as exc:
        return f"The files of Claude Code could not be put aside after the rebuild: {exc}."
    if not moved:
        return None
    return (
        "After the rebuild Claude Code begins with new files. The old ones are in"
        f" {paths.claude / (ASIDE + str(start.at))}; the login and the sessions are kept."
    )


def _put_aside(claude: Path, name: str) -> bool:
    """Move the files into a directory beside them; return whether there were any."""
    files = [
        path
        for path in (claude.iterdir() if claude.is_dir() else ())
        if not (path.name.startswith(ASIDE) or _is_kept(path))
    ]
    former = claude.parent / user_file.NAME  # UserFile would take it for the missing one
    if os.path.lexists(former):
        files.append(former)
    for path in files:
        (claude / name).mkdir(mode=0o700, exist_ok=True)
        to = claude / name / path.name
        shutil.move(path, to if not os.path.lexists(to) else f"{to}.former")
    return bool(files)


def _is_kept(path: Path) -> bool:
    if path.name == LOGIN:
        return user_file.is_valid(path)
    return path.name == SESSIONS and path.is_dir()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
