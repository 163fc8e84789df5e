"""Who may come in: one-time login tokens and the sessions they open. Knows no HTTP."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import BaseModel, ConfigDict, ValidationError

from wire.errors import CorruptStore

TOKEN_SECONDS = 15 * 60
SESSION_SECONDS = 30 * 24 * 3600
MAX_TOKENS = 64
MAX_SESSIONS = 256


class _Stored(BaseModel):
    """The file: SHA-256 of each secret, and when it ends (seconds since 1970)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tokens: dict[str, float] = {}
    sessions: dict[str, float] = {}


def digest(secret: str) -> str:
    """What is kept of a secret. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Logins:
    """Tokens and sessions, kept as hashes in one file that survives a restart.

    An expired one is not removed by a clock: it is refused when used, and dropped at the next
    write. The file is a few KiB and written at a login, so writing it blocks nobody for long.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        """Read the file, if there is one.

        Raises:
            CorruptStore: it is there but not ours; it is left as it is.
        """
        self._path = path
        self._now = now
        self._stored = self._read()

    def _read(self) -> _Stored:
        try:
            return _Stored.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _Stored()
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not what was written"
            raise CorruptStore(
                f"The file of logins {self._path} cannot be read ({why}). Move it away and start "
                "the dashboard again: nothing is lost but the logins."
            ) from error

    def new_token(self) -> str:
        """A one-time token, good for 15 minutes; the oldest give way when there are many."""
        return self._add(self._stored.tokens, TOKEN_SECONDS, MAX_TOKENS)

    def redeem(self, token: str) -> str | None:
        """A new session for a good token, which is used up by it; None for any other."""
        expires = self._stored.tokens.pop(digest(token), 0.0)
        if expires <= self._now():
            return None
        return self._add(self._stored.sessions, SESSION_SECONDS, MAX_SESSIONS)

    def session_ends_in(self, session: str) -> float:
        """Seconds that the session is still good for; 0 or less when it is not."""
        return self._stored.sessions.get(digest(session), 0.0) - self._now()

    def end(self, session: str) -> None:
        """Log out; of an unknown session too."""
        if self._stored.sessions.pop(digest(session), None) is not None:
            self._write()

    def _add(self, secrets_: dict[str, float], seconds: float, limit: int) -> str:
        secret = secrets.token_urlsafe(32)
        secrets_[digest(secret)] = self._now() + seconds
        self._forget_expired()
        while len(secrets_) > limit:
            del secrets_[min(secrets_, key=secrets_.__getitem__)]
        self._write()
        return secret

    def _forget_expired(self) -> None:
        now = self._now()
        for kept in (self._stored.tokens, self._stored.sessions):
            for key in [key for key, expires in kept.items() if expires <= now]:
                del kept[key]

    def _write(self) -> None:
        # A new file renamed over the old one: a crash leaves one or the other. Its mode is 0600.
        with NamedTemporaryFile(dir=self._path.parent, prefix=".logins-", delete=False) as file:
            file.write(self._stored.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self._path)
