"""The records of Claude Code's sessions, which it keeps by their working directories."""

import logging
import re
import shutil
from pathlib import Path

log = logging.getLogger(__name__)


def bring(claude: Path, session: str, directory: Path) -> None:
    """Let the session `session` be resumed in `directory`, also if it began in another one.

    Claude Code finds a session only in the directory in which it began, and that of an agent
    changes with its projects.

    Args:
        claude: the directory with the files of Claude Code.
        session: the id of the session.
        directory: the working directory of the next start.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", session):
        return
    wanted = claude / "projects" / _folder(directory) / f"{session}.jsonl"
    others = (claude / "projects").glob(f"*/{session}.jsonl")
    found = [path for path in others if path.is_file() and not path.is_symlink()]
    if wanted in found or not found:
        return
    newest = max(found, key=lambda path: path.stat().st_mtime)
    try:
        wanted.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.move(newest, wanted)
    except OSError as error:
        log.warning("the session %s is not brought to %s: %s", session, directory, error)


def _folder(directory: Path) -> str:
    """Return the name of the directory in which Claude Code keeps the sessions of `directory`."""
    return re.sub(r"[^A-Za-z0-9]", "-", str(directory.resolve()))
