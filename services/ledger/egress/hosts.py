"""The rules of egress: counts, requests to the operator, and the operator's answers.

The agent gets a message when a host for which it waits is allowed or denied.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from services import egress
from services.ledger.budgets import periods
from services.ledger.budgets.notices import Notice
from services.ledger.egress import checks
from services.ledger.egress.store import REST, EgressStore
from wire.errors import Conflict, InvalidArgument, LimitExceeded
from wire.names import check_agent_name
from wire.records.ledger import (
    Egress,
    EgressDecision,
    EgressOutcome,
    EgressState,
)
from wire.types import Value

MAX_LISTED: Final = 1000
MAX_ENTRIES: Final = 1000
"""The most hosts and ports that are kept of one agent."""
MAX_PENDING: Final = 100
"""The most requests of one agent that wait for the operator."""

MOST: Final = 10**18
"""The most that is counted of one host."""

MAX_NAMED: Final = 20
"""The most hosts that a message names."""
ELSE: Final = "Do not ask again; find another way."
DECIDED: Final = "egress-decided"
"""The kind of the messages to agents."""

_STATES: Final = {
    EgressDecision.ONCE: EgressState.ONCE,
    EgressDecision.DENY: EgressState.DENIED,
}
_WAITING: Final = frozenset({EgressState.PENDING, EgressState.DENIED})
"""The states of hosts about which the agent was told that it does not reach them."""


class Hosts:
    """The hosts that agents used or were refused."""

    def __init__(self, store: EgressStore, now: Callable[[], int]) -> None:
        """Make the hosts; `now` is the clock, in microseconds since 1970."""
        self._store = store
        self._now = now
        self._rules: dict[str, tuple[egress.Rule, ...]] = {}
        self.on_notice: Callable[[], None] = lambda: None
        """Hears that a message is to be delivered."""
        self.on_changed: Callable[[Egress, bool], None] = lambda entry, urgent: None
        """Hears of each change, and whether the state is another one."""

    def report(self, agent: str, values: Mapping[str, Value]) -> None:
        """Count connections of an agent.

        Raises:
            InvalidArgument: a value is not valid.
            Unavailable: the store could not be written.
        """
        report = checks.REPORT.parse(values)
        entry = self._entry(agent, checks.host(report.host), report.port)
        match report.outcome:
            case EgressOutcome.ALLOWED:
                entry = entry._replace(allowed=entry.allowed + report.connections)
            case EgressOutcome.FAILED:
                entry = entry._replace(failed=entry.failed + report.connections)
            case EgressOutcome.REFUSED:
                entry = entry._replace(refused=entry.refused + report.connections)
        if report.outcome is EgressOutcome.ALLOWED and entry.state is EgressState.PENDING:
            entry = entry._replace(state=EgressState.ALLOWED, decided=self._now())
        self._save(
            entry._replace(
                sent=entry.sent + report.sent,
                received=entry.received + report.received,
                last=self._now(),
            ),
            durable=False,
        )

    def check(self, agent: str, host: str, port: int, reason: str, *, gateway: bool) -> bool:
        """Return whether the operator allows a connection that no rule allows; else ask.

        Args:
            agent: the agent.
            host: the host.
            port: the port.
            reason: the agent's reason; empty for none.
            gateway: whether the connection is made now, which uses an allowance for once up.

        Raises:
            Conflict: the operator has denied it.
            InvalidArgument: a value is not valid.
            LimitExceeded: too many requests of the agent wait for the operator, who was not asked.
            Unavailable: the store could not be written.
        """
        name = checks.host(host)
        checks.port(port)
        entry = self._entry(agent, name, port)._replace(last=self._now())
        if entry.state is EgressState.ONCE:
            if gateway:
                # On the disk first: an allowance for once is never used twice.
                self._save(entry._replace(state=EgressState.NONE), durable=True)
            return True
        if not gateway:
            if self._rule(entry):
                return True
            self._ask(entry, checks.line(reason))
            return False
        own = egress.is_own(egress.parse_host(name), agent)
        if own and entry.state in (EgressState.NONE, EgressState.ALLOWED):
            # The operator would take a question about it for one about the container.
            self._save(entry._replace(refused=entry.refused + 1), durable=False)
            return False
        # A refused connection is a request, unless too many wait already.
        if entry.state in (EgressState.NONE, EgressState.ALLOWED) and self._has_room(agent):
            entry = entry._replace(state=EgressState.PENDING)
        self._save(entry._replace(refused=entry.refused + 1), durable=False)
        if entry.state is EgressState.DENIED:
            raise _denied(entry)
        if entry.state is not EgressState.PENDING:
            raise _too_many(entry)
        return False

    def decide(self, agent: str, host: str, port: int, decision: str) -> None:
        """Take the operator's answer to a refusal.

        Args:
            agent: the agent.
            host: the host.
            port: the port.
            decision: `once` or `deny`.

        Raises:
            Conflict: a rule of the agent allows what is to be denied.
            InvalidArgument: a value is not valid.
            Unavailable: the store could not be written.
        """
        check_agent_name(agent)
        if decision not in [one.value for one in EgressDecision]:
            known = ", ".join(EgressDecision)
            raise InvalidArgument(
                f"{decision[:64]!r} is not a valid decision. Use one of: {known}."
            )
        checks.port(port)
        entry = self._entry(agent, checks.host(host), port)
        place, state = (
            egress.place(egress.parse_host(entry.host), port),
            _STATES[EgressDecision(decision)],
        )
        if rule := self._rule(entry):
            if state is EgressState.DENIED:
                raise Conflict(
                    f"The rule {rule} allows {place} to {agent}. Remove the rule from agent.toml, "
                    "or from gateway.egress of hyperhive.toml."
                )
            return  # the rule allows more
        told = []
        if state is EgressState.DENIED and entry.state is EgressState.PENDING:
            told = [_told(agent, f"The operator denied you the connection to {place}. {ELSE}")]
        elif state is EgressState.ONCE and entry.state in _WAITING:
            text = f"The operator allows you one connection to {place}. Make it now."
            told = [_told(agent, text)]
        self._decide([entry], state, told)

    def apply(self, agent: str, rules: Iterable[str]) -> None:
        """Take the rules that hold for an agent from now on: what they allow waits no longer.

        Raises:
            InvalidArgument: a value is not valid.
            Unavailable: the store could not be written.
        """
        check_agent_name(agent)
        self._rules[agent] = checks.rules(rules)
        found = [entry for entry in self._store.undecided(agent) if self._rule(entry)]
        waited = [entry for entry in found if entry.state in _WAITING]
        places = [egress.place(egress.parse_host(one.host), one.port) for one in waited]
        told = [_told(agent, f"You may now connect to {_in_words(places)}.")] if places else []
        self._decide(found, EgressState.ALLOWED, told)

    def forget(self, agent: str) -> None:
        """Forget the hosts of an agent, with the decisions about them.

        Raises:
            Unavailable: the store could not be written; some may be gone.
        """
        self._rules.pop(agent, None)
        for entry in self._store.forget(agent):
            self.on_changed(entry._replace(state=EgressState.NONE), True)

    async def list(self, filter: Mapping[str, Value], limit: int) -> list[Egress]:
        """Return the hosts that match, the ones used last first.

        Raises:
            InvalidArgument: the filter or the limit is not valid.
            LimitExceeded: the query takes too long.
            Unavailable: the store could not be read.
        """
        if not 1 <= limit <= MAX_LISTED:
            raise InvalidArgument(
                f"{limit} is not a valid limit: use a number from 1 to {MAX_LISTED}."
            )
        return await self._store.find(checks.FILTER.parse(filter), limit)

    async def vacuum(self, before: int) -> int:
        """Delete the hosts that were used last before a time; return how many.

        Raises:
            Unavailable: the store could not be written; some may be gone.
        """
        gone = 0
        while deleted := self._store.delete_before(before):
            gone += deleted
            # Calls that came meanwhile are answered before the next rows are deleted.
            await asyncio.sleep(0)
        return gone

    def _ask(self, entry: Egress, reason: str) -> None:
        """Put an agent's request before the operator."""
        if entry.state is EgressState.DENIED:
            raise _denied(entry)
        if entry.state is not EgressState.PENDING and not self._has_room(entry.agent):
            # A host that the agent asks for comes before one that was merely refused.
            other = self._store.least_pending(entry.agent)
            if other is None:
                raise _too_many(entry)
            self._save(other._replace(state=EgressState.NONE), durable=False)
        # An agent may repeat a request as often as it likes: only a new one waits for the disk.
        durable = entry.state is not EgressState.PENDING
        entry = entry._replace(state=EgressState.PENDING, reason=reason or entry.reason)
        self._save(entry, durable=durable)

    def _decide(
        self, entries: Sequence[Egress], state: EgressState, told: Sequence[Notice]
    ) -> None:
        decided = [entry._replace(state=state, decided=self._now()) for entry in entries]
        if not decided:
            return
        self._store.save(decided, durable=True, told=told)
        for before, after in zip(entries, decided, strict=True):
            self.on_changed(after, before.state != after.state)
        if told:
            self.on_notice()

    def _rule(self, entry: Egress) -> egress.Rule | None:
        """Return the rule of the agent that allows a host; None if there is none, or if lifecycle
        has not told it yet."""
        rules = self._rules.get(entry.agent, ())
        return egress.allowing(rules, egress.parse_host(entry.host), entry.port)

    def _entry(self, agent: str, host: str, port: int) -> Egress:
        """Return the row of a host, or a new one."""
        now = self._now()
        known = self._store.get(agent, host, port)
        return known or Egress(agent, host, port, EgressState.NONE, first=now, last=now)

    def _has_room(self, agent: str) -> bool:
        return self._store.count(agent, pending=True) < MAX_PENDING

    def _save(self, entry: Egress, *, durable: bool) -> None:
        entry = _bounded(entry)
        before = self._store.get(entry.agent, entry.host, entry.port)
        if before is None and self._store.count(entry.agent) >= MAX_ENTRIES:
            self._replace(entry, durable=durable)
        else:
            self._store.save([entry], durable=durable)
        self.on_changed(entry, before is None or before.state != entry.state)

    def _replace(self, entry: Egress, *, durable: bool) -> None:
        """Store a row in place of the one that is of least use, whose counts are kept."""
        least = self._store.least(entry.agent)
        rest = _joined(self._entry(entry.agent, REST, 0), least)
        self._store.save([entry, rest], durable=durable, forget=least)
        if least.state is not EgressState.NONE:
            self.on_changed(least._replace(state=EgressState.NONE), True)


def _joined(rest: Egress, gone: Egress) -> Egress:
    """Return the sums of rows with those of another one."""
    return _bounded(
        rest._replace(
            first=min(rest.first, gone.first),
            last=max(rest.last, gone.last),
            allowed=rest.allowed + gone.allowed,
            refused=rest.refused + gone.refused,
            failed=rest.failed + gone.failed,
            sent=rest.sent + gone.sent,
            received=rest.received + gone.received,
        )
    )


def _bounded(entry: Egress) -> Egress:
    return entry._replace(
        allowed=min(entry.allowed, MOST),
        refused=min(entry.refused, MOST),
        failed=min(entry.failed, MOST),
        sent=min(entry.sent, MOST),
        received=min(entry.received, MOST),
    )


def _denied(entry: Egress) -> Conflict:
    place = egress.place(egress.parse_host(entry.host), entry.port)
    return Conflict(
        f"The operator denied {entry.agent} the connection to {place} at "
        f"{periods.in_words(entry.decided)}. {ELSE}"
    )


def _too_many(entry: Egress) -> LimitExceeded:
    return LimitExceeded(
        f"{MAX_PENDING} requests of {entry.agent} wait for the operator, which is the most. Wait "
        "for the answers."
    )


def _told(agent: str, text: str) -> Notice:
    return Notice(agent, DECIDED, text)


def _in_words(places: list[str]) -> str:
    """Return some places in words."""
    shown = places[:MAX_NAMED]
    if more := len(places) - len(shown):
        shown.append(f"{more} more")
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last
