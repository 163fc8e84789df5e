"""One-time login tokens, and the sessions that they open. This module does not know HTTP.

A session is known by its key, the hash of its secret: the secret is in the browser alone.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import Field

from services.dashboard.http import kept
from services.dashboard.http.roles import ORDER
from wire.errors import NotFound
from wire.records.dashboard import Role, Session, Way

TOKEN_SECONDS = 15 * 60
SESSION_SECONDS = 30 * 24 * 3600
MAX_TOKENS = 64
MAX_SESSIONS = 256
MAX_OF_USER: Final = 16
"""The sessions of one passkey, or of one user whom the proxy names; the oldest makes way."""
USED_SECONDS: Final = 600.0
"""A use of a session is written to the file when the last one that was written is so old."""

VERSION: Final = 3


class Token(kept.Kept):
    """A login link that was not used yet; `expires` is in seconds since 1970."""

    expires: float
    role: Role


class Login(kept.Kept):
    """A session; times are in seconds since 1970."""

    id: int
    role: Role
    way: Way = Way.LINK
    name: str = ""
    """The name of the passkey, or the user whom the proxy named."""
    passkey: str = ""
    """The id of the passkey."""
    address: str = ""
    browser: str = ""
    began: float
    used: float
    expires: float


class _Stored(kept.Kept):
    """The file: tokens and sessions by the SHA-256 of their secrets."""

    version: Literal[3]
    last_id: int = 0
    tokens: dict[str, Token] = Field(default_factory=dict)
    sessions: dict[str, Login] = Field(default_factory=dict)


class _Version2(kept.Kept):
    """The file of an earlier version, whose sessions were all the operator's."""

    version: Literal[2]
    tokens: dict[str, float] = Field(default_factory=dict)
    sessions: dict[str, float] = Field(default_factory=dict)


class _Version1(kept.Kept):
    """The file of an earlier version, whose sessions were cookies."""

    tokens: dict[str, float]
    sessions: dict[str, float]


class Origin(NamedTuple):
    """Where a login comes from."""

    address: str = ""
    browser: str = ""


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
        self._written = {key: login.used for key, login in self._stored.sessions.items()}
        self.on_end: Callable[[str], None] = lambda key: None
        """Called with the key of each session that somebody ends."""

    def _read(self) -> _Stored:
        found = kept.read(
            self._path,
            _Stored,
            _Version2,
            _Version1,
            what="file of logins",
            lost="Only the logins are lost.",
        )
        match found:
            case _Stored():
                return found
            case _Version2():
                return _from_version_2(found)
            case _:
                # A cookie was readable for every program with a port of this host: it ends here.
                return _Stored(version=VERSION)

    def create_token(self, role: Role = Role.OPERATOR) -> str:
        """Return a new one-time token, valid for 15 minutes; drop the oldest beyond MAX_TOKENS."""
        secret = secrets.token_urlsafe(32)
        self._drop_expired()
        tokens = self._stored.tokens
        tokens[digest(secret)] = Token(expires=self._now() + TOKEN_SECONDS, role=role)
        while len(tokens) > MAX_TOKENS:
            del tokens[min(tokens, key=lambda key: tokens[key].expires)]
        self._write()
        return secret

    def redeem(self, token: str, origin: Origin = Origin()) -> str | None:  # noqa: B008 - a constant
        """Use up a valid token and return a new session; return None for any other token."""
        found = self._stored.tokens.pop(digest(token), None)
        if found is None or found.expires <= self._now():
            return None
        return self.begin(found.role, Way.LINK, origin)

    def begin(
        self, role: Role, way: Way, origin: Origin, *, name: str = "", passkey: str = ""
    ) -> str:
        """Begin a session and return its secret.

        Args:
            role: what the session may do.
            way: how the browser has logged in.
            origin: where the login comes from.
            name: the name of the passkey, or the user whom the proxy named.
            passkey: the id of the passkey.
        """
        secret, now, stored = secrets.token_urlsafe(32), self._now(), self._stored
        self._make_way(way, name, passkey)
        stored.last_id += 1
        stored.sessions[digest(secret)] = Login(
            id=stored.last_id,
            role=role,
            way=way,
            name=name,
            passkey=passkey,
            address=origin.address,
            browser=origin.browser,
            began=now,
            used=now,
            expires=now + SESSION_SECONDS,
        )
        self._drop_expired()
        while len(stored.sessions) > MAX_SESSIONS:
            others = stored.sessions.keys() - {digest(secret)}
            self._remove(min(others, key=self._worth))
        self._write()
        return secret

    def _worth(self, key: str) -> tuple[int, float]:
        """Order sessions by what may end first: many guests do not log out an operator."""
        login = self._stored.sessions[key]
        return ORDER.index(login.role), login.expires

    def _make_way(self, way: Way, name: str, passkey: str) -> None:
        """End the oldest sessions of who logs in again and again, so that others keep theirs."""
        if way is Way.LINK:
            return  # the operator has made each link
        own = (way, passkey or name)
        sessions = self._stored.sessions
        found = [key for key, one in sessions.items() if (one.way, one.passkey or one.name) == own]
        for key in sorted(found, key=lambda key: sessions[key].began)[: 1 - MAX_OF_USER]:
            self._remove(key)

    def find(self, key: str) -> Login | None:
        """Return the session with a key, if it is valid."""
        login = self._stored.sessions.get(key)
        return login if login is not None and login.expires > self._now() else None

    def role_of(self, secret: str) -> Role:
        """Return the role of a session that has just begun."""
        return self._stored.sessions[digest(secret)].role

    def seconds_left(self, key: str) -> float:
        """Return for how long the session is still valid; 0 or less when it is not."""
        login = self._stored.sessions.get(key)
        return 0.0 if login is None else login.expires - self._now()

    def touch(self, key: str) -> None:
        """Note that a session is in use."""
        login = self._stored.sessions.get(key)
        if login is None:
            return
        login.used = self._now()
        if login.used - self._written.get(key, 0.0) < USED_SECONDS:
            return
        with suppress(OSError):  # a full disk must not keep the operator out
            self._write()

    def rows(self) -> list[tuple[str, Session]]:
        """Return the key and the record of each session, the last used first."""
        found = [(key, login) for key, login in self._stored.sessions.items() if self.find(key)]
        found.sort(key=lambda pair: -pair[1].used)
        return [(key, _record(login)) for key, login in found]

    def end(self, key: str) -> None:
        """Log out; ignore an unknown session."""
        if key in self._stored.sessions:
            self._remove(key)
            self._write()

    def revoke(self, number: int) -> None:
        """End the session with an id.

        Raises:
            NotFound: there is none.
        """
        keys = [key for key, login in self._stored.sessions.items() if login.id == number]
        if not any(map(self.find, keys)):
            raise NotFound(f"There is no session {number}; `hivectl sessions` shows all.")
        self.end(keys[0])

    def end_of_passkey(self, passkey: str) -> None:
        """End the sessions that a passkey has begun."""
        found = [k for k, login in self._stored.sessions.items() if login.passkey == passkey]
        self._end_all(found)

    def end_others(self, role_of: Callable[[str], Role | None]) -> None:
        """End the sessions of users of the proxy who have another role now, or none.

        Their requests would be refused anyway; what belongs to a session ends with it, such as
        the notifications of its browser.

        Args:
            role_of: returns the role of a user of the proxy.
        """
        found = [
            key
            for key, login in self._stored.sessions.items()
            if login.way is Way.PROXY and role_of(login.name) is not login.role
        ]
        self._end_all(found)

    def _end_all(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.end(key)

    def _remove(self, key: str) -> None:
        del self._stored.sessions[key]
        self._written.pop(key, None)
        self.on_end(key)

    def _drop_expired(self) -> None:
        now, stored = self._now(), self._stored
        stored.tokens = {key: one for key, one in stored.tokens.items() if one.expires > now}
        for key in [key for key, one in stored.sessions.items() if one.expires <= now]:
            self._remove(key)

    def _write(self) -> None:
        kept.write(self._path, self._stored)
        self._written = {key: login.used for key, login in self._stored.sessions.items()}


def _from_version_2(found: _Version2) -> _Stored:
    """Return the tokens and sessions of an earlier version: they are the operator's."""
    stored = _Stored(version=VERSION)
    for key, expires in found.tokens.items():
        stored.tokens[key] = Token(expires=expires, role=Role.OPERATOR)
    for key, expires in found.sessions.items():
        stored.last_id += 1
        began = expires - SESSION_SECONDS
        stored.sessions[key] = Login(
            id=stored.last_id, role=Role.OPERATOR, began=began, used=began, expires=expires
        )
    return stored


def _record(login: Login) -> Session:
    return Session(
        login.id,
        login.role,
        login.way,
        login.name,
        login.address,
        login.browser,
        *(int(at * 1_000_000) for at in (login.began, login.used, login.expires)),
    )
