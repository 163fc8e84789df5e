"""Places for answers that last, such as event streams: who holds them, and who makes way.

The dashboard has a number of places for each kind of answer. When all are taken, nobody keeps
somebody with more rights from one, and no user with many sessions keeps others from one.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from services.dashboard.http.roles import ORDER
from wire.errors import LimitExceeded
from wire.records.dashboard import Role


class Owner(NamedTuple):
    """The session that holds a place, and whose session it is."""

    session: str
    user: str
    """The passkey or the user of the proxy; the session itself if it was begun with a link."""
    role: Role

    @property
    def rank(self) -> int:
        """The place of the role among the roles; a higher one may do more."""
        return ORDER.index(self.role)


class Places:
    """A number of places. The time limit of each answer is how its place is taken from it."""

    def __init__(self, limit: int, sentence: str) -> None:
        """Have `limit` places, and refuse further ones with `sentence`."""
        self._limit = limit
        self._sentence = sentence
        self._held: dict[asyncio.Timeout, Owner] = {}

    @contextmanager
    def hold(self, end: asyncio.Timeout, owner: Owner) -> Iterator[None]:
        """Hold a place for the block. Another answer may have to make way: it ends.

        Args:
            end: the time limit of the answer.
            owner: the one for whom it is.

        Raises:
            LimitExceeded: all places are taken, and nobody must make way for `owner`.
        """
        self._make_room(owner)
        self._held[end] = owner
        try:
            yield
        finally:
            self._held.pop(end, None)

    def end(self, session: str) -> None:
        """End the answers of a session."""
        self._end([end for end, owner in self._held.items() if owner.session == session])

    def end_all(self) -> None:
        """End all answers: the dashboard stops."""
        self._end(list(self._held))

    def _make_room(self, owner: Owner) -> None:
        if len(self._held) < self._limit:
            return
        session = _who_makes_way(self._held.values(), owner)
        if session is None:
            raise LimitExceeded(self._sentence)
        oldest = next(end for end, held in self._held.items() if held.session == session)
        del self._held[oldest]
        self._end([oldest])

    @staticmethod
    def _end(ends: Collection[asyncio.Timeout]) -> None:
        if ends:
            now = asyncio.get_running_loop().time()
            for end in ends:
                if not end.expired():  # otherwise it is ending already
                    end.reschedule(now)


def _who_makes_way(held: Collection[Owner], wanted: Owner) -> str | None:
    """Return the session that must give up a place for `wanted`; None: `wanted` gets none."""
    lowest = min(one.rank for one in held)
    if lowest > wanted.rank:
        return None
    lower = [one for one in held if one.rank == lowest]
    users = Counter(one.user for one in lower)
    user, most = users.most_common(1)[0]
    if lowest == wanted.rank and most <= users[wanted.user] + 1:
        user = wanted.user  # then only another session of the same user has too many
    sessions = Counter(one.session for one in lower if one.user == user)
    if not sessions:
        return None
    session, most = sessions.most_common(1)[0]
    own = user == wanted.user and lowest == wanted.rank
    return None if own and most <= sessions[wanted.session] + 1 else session
