"""The limits of the provider for each credential, as the answers to requests told them."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from services.ledger.limits.shares import WINDOW, Shares
from wire.errors import ProviderLimited
from wire.records.ledger import AgentLimited, ProviderLimit, ProviderLimitChanged, Settlement

SECOND: Final = 1_000_000
LONGEST: Final = 8 * 24 * 3600 * SECOND
"""The longest limit that is believed: a provider's longest period is a week."""


class Limits:
    """The limits that are known."""

    def __init__(
        self, kept: Iterable[ProviderLimit], credentials: Callable[[], Mapping[str, str]]
    ) -> None:
        """Make the limits.

        Args:
            kept: those on disk.
            credentials: returns the credential that each agent used last.
        """
        self._known = {limit.credential: limit for limit in kept}
        self._credentials = credentials
        self._shares: dict[str, Shares] = {}
        self._waits: dict[str, int] = {}
        self.on_limit: Callable[[ProviderLimitChanged], None] = lambda change: None
        self.on_agent: Callable[[AgentLimited], None] = lambda change: None

    def check(self, credential: str, agent: str, now: int) -> None:
        """Check that the provider takes a request now.

        Raises:
            ProviderLimited: it does not, or other agents have not had their shares.
        """
        self._waits.pop(agent, None)
        limit = self._get(credential)
        if _is_future(limit.until, now):
            raise ProviderLimited(
                f"The provider takes no requests of the credential {credential} until "
                f"{_in_words(limit.until)}."
            )
        if not _holds(limit, now):
            return
        shares = self._shares.get(credential)
        if shares is None:
            return
        until = shares.wait(agent, limit.remaining_requests, limit.remaining_tokens, now)
        if until > now:
            if limit.remaining_until > now:
                until = min(until, limit.remaining_until)
            self._waits[agent] = until
            raise ProviderLimited(
                f"The provider takes few more requests of the credential {credential}, and {agent} "
                f"has used its share of them. Try again at {_in_words(until)}."
            )

    def joined(self, agent: str, before: str, now: int) -> None:
        """Tell an agent that has another credential than `before` until when that is limited."""
        until = self.until(agent, now)
        if until or _is_future(self._get(before).until, now):
            self.on_agent(AgentLimited(agent, until))

    def reserved(self, credential: str, agent: str, tokens: int, now: int) -> None:
        """Count a request that is sent."""
        self._shares.setdefault(credential, Shares()).add(agent, tokens, now)

    def settled(self, credential: str, usage: Settlement, now: int) -> "LimitReport | None":
        """Return the change that an answer told; None if it told nothing."""
        told = (usage.remaining_requests, usage.remaining_tokens)
        if not usage.limited_until and told == (None, None):
            return None
        known = self._get(credential)
        until = min(usage.limited_until, now + LONGEST)
        limit = known._replace(until=max(known.until, until), updated=now)
        if told != (None, None):
            limit = limit._replace(
                remaining_requests=usage.remaining_requests,
                remaining_tokens=usage.remaining_tokens,
                remaining_until=min(usage.remaining_until, now + LONGEST),
            )
        return LimitReport(self, limit)

    def lift(self, now: int) -> "list[LimitReport]":
        """Return the changes that forget all limits."""
        return [
            LimitReport(self, ProviderLimit(limit.credential, updated=now))
            for limit in self._known.values()
            if _is_future(limit.until, now) or _holds(limit, now)
        ]

    def older(self, before: int) -> list[str]:
        """Return the credentials of which nothing was heard since a time."""
        return [
            name
            for name, limit in self._known.items()
            if max(limit.updated, limit.until, limit.remaining_until) < before
        ]

    def forget(self, credentials: Iterable[str]) -> None:
        """Forget what is known of credentials, once it is deleted."""
        for name in credentials:
            del self._known[name]

    def rows(self) -> list[ProviderLimit]:
        """Return the known limits, by credential."""
        return [
            self._known[name]._replace(agents=tuple(self._users(name)))
            for name in sorted(self._known)
        ]

    def until(self, agent: str, now: int) -> int:
        """Return until when the provider takes no requests of an agent; 0 for no limit."""
        credential = self._credentials().get(agent, "")
        until = max(self._get(credential).until, self._waits.get(agent, 0))
        return until if _is_future(until, now) else 0

    def adopt(self, limit: ProviderLimit) -> None:
        """Let a limit that is on disk hold."""
        before = self._get(limit.credential).until
        self._known[limit.credential] = limit
        if limit.until == before:
            return
        self.on_limit(ProviderLimitChanged(limit.credential, limit.until))
        for agent in self._users(limit.credential):
            self.on_agent(AgentLimited(agent, limit.until))

    def _get(self, credential: str) -> ProviderLimit:
        return self._known.get(credential, ProviderLimit(credential))

    def _users(self, credential: str) -> list[str]:
        """Return the agents whose gateways used a credential last."""
        return sorted(agent for agent, used in self._credentials().items() if used == credential)


class LimitReport:
    """A change of the known limits of a credential."""

    def __init__(self, limits: Limits, limit: ProviderLimit) -> None:
        self._limits = limits
        self._limit = limit

    def save(self, db: sqlite3.Connection) -> None:
        """See Change."""
        db.execute(
            "INSERT OR REPLACE INTO provider_limit (credential, until, remaining_requests, "
            "remaining_tokens, remaining_until, updated) VALUES (?, ?, ?, ?, ?, ?)",
            self._limit[:6],
        )

    def adopt(self) -> None:
        """See Change."""
        self._limits.adopt(self._limit)


def delete(db: sqlite3.Connection, credentials: Iterable[str]) -> None:
    """Delete the limits of credentials, within a transaction."""
    db.executemany("DELETE FROM provider_limit WHERE credential = ?", [(c,) for c in credentials])


def kept(db: sqlite3.Connection) -> list[ProviderLimit]:
    """Return the limits on disk."""
    return [ProviderLimit(**dict(row)) for row in db.execute("SELECT * FROM provider_limit")]


def _holds(limit: ProviderLimit, now: int) -> bool:
    """Return whether the remaining requests and tokens are known at a time."""
    end = max(limit.remaining_until, limit.updated + WINDOW)
    return limit.updated <= now and _is_future(end, now)


def _is_future(until: int, now: int) -> bool:
    """Return whether a limit has not ended; one that is far ahead is from before the clock was set
    back."""
    return now < until <= now + LONGEST


def _in_words(at: int) -> str:
    return f"{datetime.fromtimestamp(at / SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC"
