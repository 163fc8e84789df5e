"""The right to see a preview: a one-time ticket, and the session of one port that it opens.

Both belong to a session of the dashboard, and end with it. They are kept in memory: after a restart
of the dashboard, a preview is opened again from the page of the agent.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from services.dashboard.http.sessions import digest
from services.dashboard.preview.addresses import Place

TICKET_SECONDS: Final = 60
MAX_KEPT: Final = 256


class Entered(NamedTuple):
    """A session of a preview."""

    secret: str
    secure: bool
    """Whether the browser may send the secret over TLS only."""


class Holder(NamedTuple):
    """The session of the dashboard that may see a preview."""

    session: str
    seconds: float
    """The time for which it is still valid."""
    origin: str
    """The origin of the page of the dashboard that has opened the preview."""


class _Right(NamedTuple):
    place: Place
    session: str
    """The session of the dashboard."""
    expires: float
    secure: bool
    """Whether the page of the dashboard came over TLS."""
    origin: str


class Tickets:
    """Tickets and sessions of previews, by their hashes."""

    def __init__(
        self, seconds_left: Callable[[str], float], now: Callable[[], float] = time.monotonic
    ) -> None:
        """Make no tickets yet.

        Args:
            seconds_left: returns for how long a session of the dashboard is valid.
            now: the clock, in seconds.
        """
        self._seconds_left = seconds_left
        self._now = now
        self._tickets: dict[str, _Right] = {}
        self._sessions: dict[str, _Right] = {}

    def issue(self, place: Place, session: str, *, secure: bool = False, origin: str = "") -> str:
        """Return a ticket for a port, valid once and for a minute.

        Args:
            place: the port.
            session: the session of the dashboard.
            secure: whether the browser may send its right over TLS only.
            origin: the origin of the page of the dashboard.
        """
        right = _Right(place, session, self._now() + TICKET_SECONDS, secure, origin)
        return self._add(self._tickets, right)

    def redeem(self, ticket: str, place: Place) -> Entered | None:
        """Use up a ticket; return the session for its port, None if invalid."""
        right = self._tickets.pop(digest(ticket), None)
        if right is None or right.place != place or not self._holds(right):
            return None
        secret = self._add(self._sessions, right._replace(expires=float("inf")))
        return Entered(secret, right.secure)

    def holder(self, found: Iterable[str], place: Place) -> Holder | None:
        """Return who opens a port with one of the secrets; None if none of them opens it.

        A page of another agent may have added secrets of its own, below a domain that is not
        `localhost`.
        """
        rights = (self._sessions.get(digest(secret)) for secret in found)
        right = next((r for r in rights if r and r.place == place and self._holds(r)), None)
        return right and Holder(right.session, self._seconds_left(right.session), right.origin)

    def _holds(self, right: _Right) -> bool:
        return right.expires > self._now() and self._seconds_left(right.session) > 0

    def _add(self, kept: dict[str, _Right], right: _Right) -> str:
        for key in [key for key, known in kept.items() if not self._holds(known)]:
            del kept[key]
        while len(kept) >= MAX_KEPT:
            del kept[next(iter(kept))]  # the oldest
        secret = secrets.token_urlsafe(32)
        kept[digest(secret)] = right
        return secret
