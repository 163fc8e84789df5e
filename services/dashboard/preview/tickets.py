"""The right to see a preview: a one-time ticket, and the session of one port that it opens.

Both belong to a session of the dashboard, and end with it. They are kept in memory: after a restart
of the dashboard, a preview is opened again from the page of the agent.
"""

import secrets
import time
from collections.abc import Callable
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


class _Right(NamedTuple):
    place: Place
    session: str
    """The session of the dashboard."""
    expires: float
    secure: bool
    """Whether the page of the dashboard came over TLS."""


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

    def issue(self, place: Place, session: str, *, secure: bool = False) -> str:
        """Return a ticket for a port, valid once and for a minute.

        Args:
            place: the port.
            session: the session of the dashboard.
            secure: whether the browser may send its right over TLS only.
        """
        right = _Right(place, session, self._now() + TICKET_SECONDS, secure)
        return self._add(self._tickets, right)

    def redeem(self, ticket: str, place: Place) -> Entered | None:
        """Use up a ticket; return the session for its port, None if invalid."""
        right = self._tickets.pop(digest(ticket), None)
        if right is None or right.place != place or not self._holds(right):
            return None
        secret = self._add(self._sessions, right._replace(expires=float("inf")))
        return Entered(secret, right.secure)

    def allows(self, secret: str, place: Place) -> bool:
        """Return whether a secret opens a port."""
        right = self._sessions.get(digest(secret))
        return right is not None and right.place == place and self._holds(right)

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
