"""The id of the agent's session, in a file that survives the container."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)


class SessionId:
    """The id in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def value(self) -> str | None:
        """The id; None if there is no session yet."""
        try:
            return self._file.read_text(encoding="utf-8").strip() or None
        except (OSError, ValueError):
            return None

    def remember(self, session: str) -> None:
        """Keep the id of the session that runs; an empty one is not known yet."""
        if session and session != self.value:
            try:
                self._file.write_text(session + "\n", encoding="utf-8")
            except OSError as exc:
                log.warning("cannot save the session's id: %s", exc)

    def forget(self) -> None:
        """Have the next start begin a new session."""
        self._file.unlink(missing_ok=True)
