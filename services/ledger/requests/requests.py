"""The rules of requests to the model API: reserved before they are sent, settled afterwards.

Each request is counted once: as reserved while it is under way, and then as what it used. One whose
gateway died counts as the most that it may have used, until the gateway says more.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from services.config import LedgerConfig
from services.ledger.budgets.account import Amount, Key, Owner
from services.ledger.budgets.budgets import Budgets, owners
from services.ledger.limits import limits as limit_rows
from services.ledger.limits.limits import Limits
from services.ledger.prices.prices import Cost, Prices
from services.ledger.requests import checks, store
from services.ledger.requests.gateways import Gateways, Watch
from services.ledger.requests.login_turns import LoginTurn
from services.ledger.requests.store import Ended, RequestStore, Reservation
from services.ledger.storage.database import Change, Database
from wire.errors import BudgetExhausted, HiveError, InvalidArgument, LimitExceeded, NotFound
from wire.records.ledger import (
    BudgetKind,
    Request,
    RequestOutcome,
    Settlement,
    Turn,
    UsageFilter,
    UsageSum,
)
from wire.types import Value

log = logging.getLogger(__name__)

MAX_UNDER_WAY: Final = 256
"""The most requests of an agent that may be under way."""
MAX_WAITING: Final = 16
"""The most requests of an agent that wait until others have ended."""
WAIT_SECONDS: Final = 30.0
"""Seconds that a request waits until others have ended, before its client has to repeat it."""
MOST_OUTPUT: Final = 1_000_000
"""The most tokens that a model writes for one request. An agent may ask for more, but a request
that is lost must not count as more than a model can write."""
_HOUR: Final = 3_600_000_000


class BusyError(LimitExceeded):
    """Requests under way may use up the rest of a budget."""


@dataclass(slots=True)
class _Hour:
    """The requests of an agent within an hour."""

    begun: int
    count: int = 0


@dataclass(slots=True, eq=False)
class _Asked:
    """A request that waits until others have ended."""

    agent: str
    key: str
    released: bool = False


class Requests:
    """The requests of all agents' gateways."""

    def __init__(
        self,
        database: Database,
        budgets: Budgets,
        prices: Prices,
        config: LedgerConfig,
        watch: Watch,
        bus_id: str,
        now: Callable[[], int],
    ) -> None:
        """Make the requests; `recover` loads those under way.

        Args:
            database: the file.
            budgets: the budgets that requests are charged to.
            prices: the prices of models.
            config: the settings.
            watch: tells when a gateway has left the bus.
            bus_id: the identity of the bus, on which names of connections are unique.
            now: the clock, in microseconds since 1970.
        """
        self._database = database
        self._store = RequestStore(database)
        self._budgets = budgets
        self._prices = prices
        self._config = config
        self._bus_id = bus_id
        self._now = now
        self._under_way: dict[int, Reservation] = {}
        self._gateways = Gateways(watch, self._left)
        self._orphans: set[int] = set()
        self._hours: dict[str, _Hour] = {}
        self._waiting: Counter[str] = Counter()
        self._asked: list[_Asked] = []
        self._surcharges: dict[str, int] = {}
        """The percents that a credential's tokens cost more, as the last answer told."""
        self._changed = asyncio.Event()
        latest = self._store.latest()
        self._credentials = {one.agent: one.credential for one in latest}
        self._last = {one.agent: one.started for one in latest}
        with database.look() as db:
            self.limits: Final = Limits(limit_rows.kept(db), lambda: self._credentials)
        self.on_settled: Callable[[Request], None] = lambda request: None
        self.on_refused: Callable[[Key, str], None] = lambda key, agent: None

    def recover(self) -> None:
        """Load the requests under way; those whose gateway is gone count as the most they may cost.

        Raises:
            Unavailable: the store could not be used.
        """
        for reservation in self._store.under_way():
            self._take(reservation)
            bus, _, connection = reservation.gateway.partition(" ")
            if bus == self._bus_id:
                self._gateways.follow(connection, reservation.id)
            else:
                self._orphans.add(reservation.id)
        self._bury()

    def close(self) -> None:
        """Stop watching the gateways."""
        self._gateways.close()

    def credentials(self) -> Mapping[str, str]:
        """Return the credential that each agent's gateway used last."""
        return self._credentials

    def wake(self) -> None:
        """Let requests try again that wait: others have ended, or limits have changed."""
        self._changed.set()

    async def reserve_when_free(
        self, agent: str, connection: str, values: Mapping[str, Value]
    ) -> int:
        """Do as `reserve`, but wait a while until requests under way have ended that may use up a
        budget."""
        try:
            return self.reserve(agent, connection, values)
        except BusyError as busy:
            if self._waiting[agent] >= MAX_WAITING:
                raise
            refused = busy
        self._waiting[agent] += 1
        asked = _Asked(agent, checks.RESERVE.parse(values).key)
        self._asked.append(asked)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    self._changed.clear()
                    await self._changed.wait()
                    if asked.released:
                        raise refused
                    with suppress(BusyError):
                        return self.reserve(agent, connection, values)
        except TimeoutError:
            raise refused from None
        finally:
            self._waiting[agent] -= 1
            self._asked.remove(asked)

    def reserve(self, agent: str, connection: str, values: Mapping[str, Value]) -> int:
        """Reserve the most that a request may cost; return the request's id once it is on disk.

        Raises:
            BudgetExhausted: a budget is used up.
            InvalidArgument: a value is not valid.
            LimitExceeded: those under way may use up a budget, or they are too many.
            ProviderLimited: the provider takes no requests now.
            Unavailable: the store could not be written.
        """
        wanted = checks.RESERVE.parse(values)
        if wanted.credential not in ("default", "scripted", "none", f"agent:{agent}"):
            raise InvalidArgument(
                f"{wanted.credential!r} is not a credential of {agent}. Use `default` or "
                f"`agent:{agent}`."
            )
        wanted = wanted._replace(output_tokens=min(wanted.output_tokens, MOST_OUTPUT))
        now = self._now()
        self._bury()
        if known := self._known(agent, wanted.key):
            return known.id
        self._check_count(agent, now)
        self._use(agent, wanted.credential, now)
        self.limits.check(wanted.credential, agent, now)
        who = owners(agent, wanted.credential)
        cost = self._prices.most(wanted, self._surcharges.get(wanted.credential, 0))
        most = Amount(cost.amount, cost.tokens)
        if refusal := self._budgets.check(who, most, now):
            if refusal.exhausted:
                self.on_refused(refusal.account.key, agent)
                raise BudgetExhausted(refusal.text)
            raise BusyError(refusal.text)
        reservation = Reservation(
            agent=agent,
            credential=wanted.credential,
            gateway=f"{self._bus_id} {connection}",
            model=wanted.model,
            started=now,
            most=most,
            unknown=cost.unknown,
            key=wanted.key,
        )
        with self._database.write_one() as db:
            number = store.add(db, reservation)
        reservation = replace(reservation, id=number)
        self._take(reservation)
        self._last[agent] = now
        self._hours[agent].count += 1
        self.limits.reserved(wanted.credential, agent, most.tokens, now)
        self._gateways.follow(connection, number)
        return number

    async def settle_on_disk(self, agent: str, number: int, values: Mapping[str, Value]) -> None:
        """Do as `settle`, and return when it is on the disk."""
        self.settle(agent, number, values)
        await self._database.synced()

    def settle(self, agent: str, number: int, values: Mapping[str, Value]) -> None:
        """Replace a reservation of an agent's gateway by what was used. Only the first time counts.

        Raises:
            InvalidArgument: a value is not valid.
            NotFound: the agent's gateway has no such request.
            Unavailable: the store could not be written.
        """
        usage = checks.SETTLE.parse(values)
        if usage.outcome is RequestOutcome.LOST:
            raise InvalidArgument("The outcome lost is the ledger's own: use another one.")
        self._bury()
        reservation = self._under_way.get(number)
        if reservation is not None and reservation.agent == agent:
            self._end(reservation, usage)
            return
        ended = self._store.ended(number) if number < 2**63 else None
        if ended is None or ended.reservation.agent != agent:
            raise NotFound(f"The gateway of {agent} has no request {number}.")
        if ended.outcome is RequestOutcome.LOST:
            self._correct(ended, usage)

    def release(self, agent: str, key: str) -> None:
        """End the request that an agent's gateway has reserved with `key` without knowing it.

        Raises:
            InvalidArgument: the key is not valid.
            Unavailable: the store could not be written.
        """
        if not key or not checks.KEY.fullmatch(key):
            raise InvalidArgument(f"{key[:64]!r} is not the key of a request.")
        for asked in self._asked:
            asked.released = asked.released or (asked.agent, asked.key) == (agent, key)
        if known := self._known(agent, key):
            self._end(known, Settlement(RequestOutcome.REFUSED))

    def of_turn(self, agent: str, turn: Turn) -> Change | None:
        """Return the change that counts a turn of an agent with a login of its own; None for a
        turn whose requests went through the gateway.

        An agent may report what it likes: such turns count for its own budgets alone.
        """
        tokens = turn.input_tokens + turn.output_tokens
        if not (turn.cost or tokens) or self._last.get(agent, -1) >= turn.started:
            return None
        if any(one.agent == agent for one in self._under_way.values()):
            return None
        who = (Owner(BudgetKind.AGENT, agent),)
        charge = self._budgets.charge(who, Amount(turn.cost, tokens), False, self._now())
        return LoginTurn(agent, turn, charge, self.on_settled)

    async def list_usage(self, filter: Mapping[str, Value], limit: int) -> list[Request]:
        """Return the newest requests that match and have ended, newest first.

        Raises:
            InvalidArgument: the filter or the limit is not valid.
            LimitExceeded: the query takes too long.
            Unavailable: the store could not be read.
        """
        wanted: UsageFilter = checks.USAGE.parse(filter)
        if not 1 <= limit <= checks.MAX_LISTED:
            raise InvalidArgument(
                f"{limit} is not a valid limit: use a number from 1 to {checks.MAX_LISTED}."
            )
        return await self._store.find(wanted, limit)

    async def sum_usage(self, filter: Mapping[str, Value]) -> list[UsageSum]:
        """Return the sums of the requests that match and have ended, in the order of their keys.

        Raises:
            InvalidArgument: the filter is not valid.
            LimitExceeded: the query takes too long.
            Unavailable: the store could not be read.
        """
        return await self._store.sums(checks.SUMS.parse(filter))

    def lift_limits(self) -> None:
        """Forget all limits of providers.

        Raises:
            Unavailable: the store could not be written.
        """
        for change in self.limits.lift(self._now()):
            with self._database.write() as db:
                change.save(db)
            change.adopt()

    def forget_limits(self, before: int) -> int:
        """Delete the limits of credentials of which nothing was heard since a time.

        Returns:
            How many there were.

        Raises:
            Unavailable: the store could not be written.
        """
        if old := self.limits.older(before):
            with self._database.write() as db:
                limit_rows.delete(db, old)
            self.limits.forget(old)
        return len(old)

    def _known(self, agent: str, key: str) -> Reservation | None:
        """Return the request under way that a gateway reserves again, as it got no answer."""
        if not key:
            return None
        mine = (one for one in self._under_way.values() if one.agent == agent)
        return next((one for one in mine if one.key == key), None)

    def _check_count(self, agent: str, now: int) -> None:
        hour = self._hours.get(agent)
        if hour is None or not hour.begun <= now < hour.begun + _HOUR:
            hour = self._hours[agent] = _Hour(now)
        most = self._config.agent_requests_per_hour
        if hour.count >= most:
            raise LimitExceeded(
                f"{agent} has made {most} requests within an hour "
                "(ledger.agent_requests_per_hour of hyperhive.toml). Try again in "
                f"{(hour.begun + _HOUR - now) // 10**6 + 1} s."
            )
        count = sum(one.agent == agent for one in self._under_way.values())
        if count >= MAX_UNDER_WAY:
            raise LimitExceeded(
                f"{agent} has {count} requests under way, which is the most. Try again when some "
                "have ended."
            )

    def _use(self, agent: str, credential: str, now: int) -> None:
        """Note the credential of an agent. One that is limited concerns the agent from now on."""
        before = self._credentials.get(agent, "")
        if before != credential:
            self._credentials[agent] = credential
            self.limits.joined(agent, before, now)

    def _take(self, reservation: Reservation) -> None:
        self._under_way[reservation.id] = reservation
        self._budgets.reserve(_owners(reservation), reservation.most)

    def _left(self, ids: set[int]) -> None:
        self._orphans |= ids & self._under_way.keys()
        self._bury()

    def _bury(self) -> None:
        """End the requests whose gateway is gone. One that cannot be written stays reserved."""
        for number in sorted(self._orphans):
            reservation = self._under_way[number]
            try:
                self._end(reservation, Settlement(RequestOutcome.LOST))
            except HiveError as error:
                log.error("cannot end the request %d of a lost gateway: %s", number, error)
                return

    def _end(self, reservation: Reservation, usage: Settlement) -> None:
        now = self._now()
        if usage.outcome is RequestOutcome.DONE:
            self._surcharges[reservation.credential] = usage.surcharge
        cost = self._cost(reservation, usage)
        charged = Amount(cost.amount, cost.tokens)
        request = _request(reservation, usage, cost, now)
        who = _owners(reservation)
        changes: list[Change] = [self._budgets.charge(who, charged, cost.unknown, now)]
        if report := self.limits.settled(reservation.credential, usage, now):
            changes.append(report)
        self._write(request, cost.tokens, changes)
        self._forget(reservation)
        for change in changes:
            change.adopt()
        self.on_settled(request)

    def _correct(self, ended: Ended, usage: Settlement) -> None:
        """Replace what was charged for a request whose gateway had lost the bus."""
        now = self._now()
        reservation = ended.reservation
        cost = self._cost(reservation, usage)
        difference = Amount(cost.amount, cost.tokens).minus(ended.charged)
        request = _request(reservation, usage, cost, ended.ended)
        who = _owners(reservation)
        charge = self._budgets.charge(who, difference, cost.unknown, now, counted=ended.ended)
        self._write(request, cost.tokens, [charge])
        charge.adopt()
        self.on_settled(request)

    def _write(self, request: Request, tokens: int, changes: list[Change]) -> None:
        with self._database.write_quickly() as db:
            store.settle(db, request, tokens)
            for change in changes:
                change.save(db)

    def _forget(self, reservation: Reservation) -> None:
        del self._under_way[reservation.id]
        self._orphans.discard(reservation.id)
        self._budgets.release(_owners(reservation), reservation.most)
        connection = reservation.gateway.partition(" ")[2]
        self._gateways.forget(connection, reservation.id)
        self.wake()

    def _cost(self, reservation: Reservation, usage: Settlement) -> Cost:
        """Return what is charged: what was used, or, where that is not known, the most."""
        read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        unknown_use = usage.outcome is RequestOutcome.BROKEN and not read
        if usage.outcome is RequestOutcome.LOST or unknown_use:
            return Cost(reservation.most.dollars, reservation.most.tokens, reservation.unknown)
        return self._prices.used(usage.model or reservation.model, usage)


def _owners(reservation: Reservation) -> tuple[Owner, ...]:
    return owners(reservation.agent, reservation.credential)


def _request(reservation: Reservation, usage: Settlement, cost: Cost, ended: int) -> Request:
    return Request(
        id=reservation.id,
        agent=reservation.agent,
        credential=reservation.credential,
        model=usage.model or reservation.model,
        outcome=usage.outcome,
        started=reservation.started,
        ended=ended,
        status=usage.status,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        web_searches=usage.web_searches,
        cost=cost.amount,
        unknown_price=cost.unknown,
        first_byte=usage.first_byte,
        last_byte=usage.last_byte,
        sent=usage.sent,
        received=usage.received,
    )
