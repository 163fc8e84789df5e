"""One-time login tokens, and the sessions that they open. This module does not know HTTP."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wire.errors import CorruptStore

TOKEN_SECONDS = 15 * 60
SESSION_SECONDS = 30 * 24 * 3600
MAX_TOKENS = 64
MAX_SESSIONS = 256
VERSION: Final = 2


class _Stored(BaseModel):
    """The file: the SHA-256 of each secret, and when it expires (seconds since 1970)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[2]
    tokens: dict[str, float] = {}
    sessions: dict[str, float] = {}


class _Version1(BaseModel):
    """The file of an earlier version, whose sessions were cookies."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tokens: dict[str, float]
    sessions: dict[str, float]


def digest(secret: str) -> str:
    """Return the hash to store. The secret has 256 random bits, so a plain hash is enough."""
    # Anybody can send half a surrogate in JSON, or a header that is not UTF-8.
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


class Sessions:
    """Tokens and sessions, kept as hashes in one file that survives a restart.

    No timer removes an expired secret: it is refused when used, and dropped at the next write. The
    file has a few KiB and is written at a login, so writing it does not block the loop for long.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        """Read the file, if it exists.

        Raises:
            CorruptStore: the file is damaged; it is left as it is.
        """
        self._path = path
        self._now = now
        self._stored = self._read()

    def _read(self) -> _Stored:
        try:
            data = self._path.read_bytes()
            with suppress(ValidationError):
                # A cookie was readable for every program with a port of this host: it ends here.
                _Version1.model_validate_json(data)
                return _Stored(version=VERSION)
            return _Stored.model_validate_json(data)
        except FileNotFoundError:
            return _Stored(version=VERSION)
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "its content is damaged"
            raise CorruptStore(
                f"The file of logins {self._path} cannot be read ({why}). Move it away, then: "
                "systemctl restart hive-dashboard. Only the logins are lost."
            ) from error

    def create_token(self) -> str:
        """Return a new one-time token, valid for 15 minutes; drop the oldest beyond MAX_TOKENS."""
        return self._add(self._stored.tokens, TOKEN_SECONDS, MAX_TOKENS)

    def redeem(self, token: str) -> str | None:
        """Use up a valid token and return a new session; return None for any other token."""
        expires = self._stored.tokens.pop(digest(token), 0.0)
        if expires <= self._now():
            return None
        return self._add(self._stored.sessions, SESSION_SECONDS, MAX_SESSIONS)

    def seconds_left(self, session: str) -> float:
        """Return for how long the session is still valid; 0 or less when it is not."""
        return self._stored.sessions.get(digest(session), 0.0) - self._now()

    def end(self, session: str) -> None:
        """Log out; ignore an unknown session."""
        if self._stored.sessions.pop(digest(session), None) is not None:
            self._write()

    def _add(self, secrets_: dict[str, float], seconds: float, limit: int) -> str:
        secret = secrets.token_urlsafe(32)
        secrets_[digest(secret)] = self._now() + seconds
        self._drop_expired()
        while len(secrets_) > limit:
            del secrets_[min(secrets_, key=secrets_.__getitem__)]
        self._write()
        return secret

    def _drop_expired(self) -> None:
        now = self._now()
        for kept in (self._stored.tokens, self._stored.sessions):
            for key in [key for key, expires in kept.items() if expires <= now]:
                del kept[key]

    def _write(self) -> None:
        # A rename replaces the old file, so a crash leaves one or the other. The mode is 0600.
        with NamedTemporaryFile(dir=self._path.parent, prefix=".logins-", delete=False) as file:
            file.write(self._stored.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self._path)
