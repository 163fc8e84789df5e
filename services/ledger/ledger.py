"""The ledger: operations that concern several of its parts."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from services.config import LedgerConfig
from services.ledger.budgets import periods
from services.ledger.budgets.account import HIVE, Key, Owner
from services.ledger.budgets.budgets import Budgets
from services.ledger.budgets.store import Source
from services.ledger.egress.hosts import Hosts
from services.ledger.requests.requests import Requests
from services.ledger.storage.database import Change, Database
from services.ledger.storage.retention import delete_old
from services.ledger.turns.turns import Turns
from services.options import Options
from wire.errors import InvalidArgument
from wire.names import AGENT_NAME, check_agent_name
from wire.records.ledger import Budget, BudgetKind, BudgetLimits, BudgetPeriod, ProviderLimit
from wire.types import Value

_DAY: Final = 24 * 3600 * periods.SECOND
_DOLLARS: Final = Field(le=10**13)
_TOKENS: Final = Field(le=10**15)
_LIMITS: Final = Options(
    BudgetLimits,
    "key of SetBudget",
    day=_DOLLARS,
    week=_DOLLARS,
    total=_DOLLARS,
    day_tokens=_TOKENS,
    week_tokens=_TOKENS,
    total_tokens=_TOKENS,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the ledger."""

    database: Database
    turns: Turns
    requests: Requests
    budgets: Budgets
    hosts: Hosts


class Ledger:
    """Changes of budgets, periods that end, and retention."""

    def __init__(self, parts: Parts, config: LedgerConfig, now: Callable[[], int]) -> None:
        """Make the ledger; `now` is the clock, in microseconds since 1970."""
        self._parts = parts
        self._config = config
        self._now = now
        self._vacuuming = asyncio.Lock()
        self.on_limits: Callable[[Key], None] = lambda key: None
        """Hears of budgets whose limits have changed."""
        self.on_outdated: Callable[[list[int]], None] = lambda questions: None
        """Hears of questions that are out of date."""

    def recover(self) -> None:
        """Recover the state of an earlier run.

        Raises:
            Unavailable: the store could not be used.
        """
        self._parts.requests.recover()

    def look_again(self) -> int:
        """Look at all budgets anew, as a period may have ended; return when to look again.

        Raises:
            Unavailable: the store could not be written.
        """
        now = self._now()
        self._apply(self._parts.budgets.judge_all(now))
        self._parts.requests.wake()
        return self._parts.budgets.next_end(now)

    def list_budgets(self) -> list[Budget]:
        """Return all budgets, in the order of kinds and names."""
        return self._parts.budgets.rows(self._now())

    def budget(self, key: Key) -> Budget:
        """Return one budget."""
        return self._parts.budgets.row(key, self._now())

    def list_limits(self) -> list[ProviderLimit]:
        """Return the known limits of the provider, by credential."""
        return self._parts.requests.limits.rows()

    def limited_until(self, agent: str) -> int:
        """Return until when the provider takes no requests of an agent; 0 for no limit."""
        return self._parts.requests.limits.until(agent, self._now())

    def set_budget(self, source: Source, kind: str, name: str, values: Mapping[str, Value]) -> None:
        """Set the limits of one source.

        Those of an operator take the place of earlier answers to a question about the budget.

        Raises:
            InvalidArgument: a value is not valid.
            Unavailable: the store could not be written.
        """
        owner = _owner(kind, name)
        limits = _LIMITS.parse(values)
        anew = _periods(limits) if source is Source.OPERATOR else set()
        if not limits.reset:
            limits = _joined(self._parts.budgets.allowances(owner, source), limits)
        limits = limits._replace(reset=False)
        change = self._parts.budgets.set_limits(owner, source, limits, self._now(), anew)
        self._apply(change)
        self.on_outdated(change.questions)
        self._parts.requests.wake()
        for period in BudgetPeriod:
            self.on_limits(Key(owner, period))

    def forget(self, agent: str) -> None:
        """Forget the budgets of an agent and the decisions about its hosts.

        Its past requests stay in the lists until they are old enough.

        Raises:
            InvalidArgument: the name is not valid.
            Unavailable: the store could not be written; some may be gone.
        """
        check_agent_name(agent)
        change = self._parts.budgets.forget(Owner(BudgetKind.AGENT, agent))
        self._apply(change)
        self.on_outdated(change.questions)
        self._parts.hosts.forget(agent)

    async def vacuum(self) -> int:
        """Delete turns, requests, hosts and limits that are too old or too many; return how many.

        Raises:
            Unavailable: the store could not be written; some may be gone.
        """
        async with self._vacuuming:
            before = self._now() - self._config.keep_days * _DAY
            database = self._parts.database
            gone = await delete_old(
                database, "turn", before=before, most=self._config.max_turns_per_agent
            )
            gone += await delete_old(
                database,
                "request",
                before=before,
                most=self._config.max_requests_per_agent,
                done="outcome != 'open'",
            )
            gone += self._parts.requests.forget_limits(before)
            return gone + await self._parts.hosts.vacuum(before)

    def _apply(self, change: Change) -> None:
        with self._parts.database.write() as db:
            change.save(db)
        change.adopt()


def _periods(limits: BudgetLimits) -> set[BudgetPeriod]:
    """Return the periods for which a caller sets limits."""
    given = {name for name, value in limits._asdict().items() if value is not None}
    return {one for one in BudgetPeriod if limits.reset or {one, f"{one}_tokens"} & given}


def _joined(before: BudgetLimits, changed: BudgetLimits) -> BudgetLimits:
    """Return limits with those that a caller has given."""
    given = {name: value for name, value in changed._asdict().items() if value is not None}
    return before._replace(**given)


def _owner(kind: str, name: str) -> Owner:
    """Return the owner that a caller names.

    Raises:
        InvalidArgument: there can be no such owner.
    """
    match kind:
        case BudgetKind.AGENT:
            check_agent_name(name)
        case BudgetKind.HIVE if name not in ("", HIVE):
            raise InvalidArgument(f"{name[:64]!r} is not the hive: use the name {HIVE!r}.")
        case BudgetKind.HIVE:
            name = HIVE
        case BudgetKind.CREDENTIAL:
            agent = name.removeprefix("agent:")
            if name not in ("default", "scripted") and (
                agent == name or not AGENT_NAME.fullmatch(agent)
            ):
                raise InvalidArgument(
                    f"{name[:64]!r} is not a valid credential: use `default` or `agent:NAME`."
                )
        case _:
            known = ", ".join(BudgetKind)
            raise InvalidArgument(f"{kind[:64]!r} is not a valid kind. Use one of: {known}.")
    return Owner(BudgetKind(kind), name)
