"""The rules of budgets: which requests may be sent, their charges, and the states of budgets.

A request may be sent if it cannot exceed any budget, even if all that are under way cost the most
that they may. One that may exceed a budget is sent alone, as long as something is left. So a budget
is exceeded by at most the cost of one response.

The requests of one agent that are under way may use up at most half of what is left of a budget
that it shares, unless there is only one of them: others find room beside them.
"""

import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.ledger.budgets import notices, periods, store, texts
from services.ledger.budgets.account import (
    HIVE,
    NOTHING,
    Account,
    Amount,
    Answer,
    Key,
    Owner,
)
from services.ledger.budgets.allowances import Allowances
from services.ledger.budgets.notices import Notice
from services.ledger.budgets.store import Source
from wire.records.ledger import Budget, BudgetKind, BudgetLimits, BudgetPeriod, BudgetState

WARN_PERCENT: Final = 80
"""The share of a budget from which on the operator and the manager are warned."""

THE_HIVE: Final = Owner(BudgetKind.HIVE, HIVE)


def owners(agent: str, credential: str) -> tuple[Owner, ...]:
    """Return those whose budgets a request concerns."""
    return (
        Owner(BudgetKind.AGENT, agent),
        THE_HIVE,
        Owner(BudgetKind.CREDENTIAL, credential),
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason for which a request may not be sent."""

    account: Account
    exhausted: bool
    """Whether the budget is used up; else it may be when those under way have ended."""
    text: str


class Budgets:
    """The budgets, and their use."""

    def __init__(self, accounts: Iterable[Account], allowances: Allowances) -> None:
        """Make the budgets from the accounts on disk.

        The room connects the attributes: `on_changed` hears of each budget that changed and whether
        its state did, `on_state` that something is to be enforced, `on_notice` that a notice is to
        be delivered.
        """
        self._accounts = {account.key: account for account in accounts}
        self._allowances = allowances
        self._reserved: dict[Owner, Amount] = {}
        self._under_way: Counter[Owner] = Counter()
        self.on_changed: Callable[[Key, bool], None] = lambda key, urgent: None
        self.on_state: Callable[[], None] = lambda: None
        self.on_notice: Callable[[], None] = lambda: None

    # Requests

    def check(self, who: Sequence[Owner], most: Amount, now: int) -> Refusal | None:
        """Return why a request that may cost `most` may not be sent; None if it may.

        Args:
            who: the owners of the budgets, the agent first.
            most: the most that the request may cost.
            now: the time.
        """
        agent, *_ = who
        own = self.reserved(agent).plus(most)
        busy = None
        for owner in who:
            for period in BudgetPeriod:
                key = Key(owner, period)
                if self._allowances.limit(key) == NOTHING:
                    continue  # before anything else: most budgets have no limit
                account = self.account(key, now)
                limit = self.limit(account)
                if account.is_lifted(now):
                    continue
                if account.spent.reaches(limit):
                    longest = self.longest(who, now) or account
                    text = texts.refusal(longest, self.limit(longest))
                    return Refusal(longest, True, text)
                if busy is None and self._under_way[owner]:
                    all_of_it = account.spent.plus(self.reserved(owner)).plus(most)
                    too_much = all_of_it.exceeds(limit)
                    if owner != agent and self._under_way[agent]:
                        # As much again must be left for others.
                        too_much |= account.spent.plus(own).plus(own).exceeds(limit)
                    if too_much:
                        busy = Refusal(account, False, texts.busy(account.key))
        return busy

    def reserve(self, who: Sequence[Owner], most: Amount) -> None:
        """Count a request that is on disk, until `release`."""
        for owner in who:
            self._under_way[owner] += 1
            self._reserved[owner] = self.reserved(owner).plus(most)
        self._tell(who)

    def release(self, who: Sequence[Owner], most: Amount) -> None:
        """Undo `reserve` of a request that has ended."""
        for owner in who:
            self._under_way[owner] -= 1
            self._reserved[owner] = self.reserved(owner).minus(most)

    def reserved(self, owner: Owner) -> Amount:
        """Return the most that the requests under way may cost."""
        return self._reserved.get(owner, NOTHING)

    def charge(
        self,
        who: Sequence[Owner],
        cost: Amount,
        unknown: bool,
        now: int,
        counted: int | None = None,
    ) -> "Charge":
        """Return the change that charges a request.

        Args:
            who: the owners of the budgets.
            cost: the charge; less than nothing corrects an earlier one.
            unknown: whether the price is not known.
            now: the time.
            counted: when the charge was made that this one corrects: periods that have begun since
                then do not contain it.
        """
        changed = []
        for owner in who:
            for period in BudgetPeriod:
                account = self.account(Key(owner, period), now)
                if counted is None or account.since <= counted:
                    account = replace(
                        account,
                        spent=account.spent.plus(cost).bounded(),
                        unknown=account.unknown or unknown,
                    )
                changed.append(account)
        return self._change(changed, now)

    # Limits

    def account(self, key: Key, now: int) -> Account:
        """Return the account of a budget at a time."""
        known = self._accounts.get(key)
        return known.at(now) if known else Account(key, periods.begin(key.period, now))

    def limit(self, account: Account) -> Amount:
        """Return the limit of a budget; 0 is none."""
        base = self._allowances.limit(account.key)
        return Amount(
            *(limit and limit + more for limit, more in zip(base, account.raised, strict=True))
        )

    def allowances(self, owner: Owner, source: Source) -> BudgetLimits:
        """Return the limits that one source sets."""
        return self._allowances.get(owner, source)

    def set_limits(
        self,
        owner: Owner,
        source: Source,
        limits: BudgetLimits,
        now: int,
        anew: Collection[BudgetPeriod] = (),
    ) -> "LimitChange":
        """Return the change that sets the limits of one source, and what follows from that.

        Args:
            owner: the owner of the budgets.
            source: the one who sets the limits.
            limits: the limits.
            now: the time.
            anew: the periods in which earlier answers of the operator hold no longer.
        """
        with self._allowances.tried(owner, source, limits):
            accounts = [self.account(Key(owner, period), now) for period in BudgetPeriod]
            judged = self._change(
                [
                    replace(one, raised=NOTHING, lifted_until=0) if one.key.period in anew else one
                    for one in accounts
                ],
                now,
            )
        return LimitChange(self, owner, source, limits, judged, judged.ask_again(anew))

    def forget(self, owner: Owner) -> "Forgetting":
        """Return the change that drops what an owner has spent, and the limits that were set."""
        return Forgetting(self, owner)

    def judge_all(self, now: int) -> "Charge":
        """Return the change that looks at all budgets anew, as some periods may have ended."""
        return self._change([account.at(now) for account in self._accounts.values()], now)

    def next_end(self, now: int) -> int:
        """Return when the next period ends, or a budget is not lifted any more."""
        ends = [periods.end(BudgetPeriod.DAY, now)]
        ends += [one.lifted_until for one in self._accounts.values() if one.is_lifted(now)]
        return min(ends)

    # The operator

    def rows(self, now: int) -> list[Budget]:
        """Return all budgets, in the order of kinds and names."""
        known = {key.owner for key in self._accounts} | self._allowances.owners() | {THE_HIVE}
        known |= {owner for owner, count in self._under_way.items() if count}
        return [
            self.row(Key(owner, period), now) for owner in sorted(known) for period in BudgetPeriod
        ]

    def row(self, key: Key, now: int) -> Budget:
        """Return a budget as others see it."""
        account = self.account(key, now)
        limit, reserved = self.limit(account), self.reserved(key.owner)
        state = self._state(account, now)
        # The question about a budget that has room again is about to be cancelled.
        waits = state is BudgetState.EXHAUSTED and account.answer is Answer.NONE
        return Budget(
            *key.owner,
            key.period,
            *limit,
            *(account.raised if limit != NOTHING else NOTHING),
            *account.spent,
            *reserved.bounded(),
            since=account.since,
            until=account.until,
            lifted_until=account.lifted_until if account.is_lifted(now) else 0,
            state=state,
            unknown_price=account.unknown,
            question=account.question if waits else 0,
        )

    def answer(
        self, account: Account, answer: str, choices: Sequence[str], at: int, now: int
    ) -> "Charge":
        """Return the change that the operator's answer to a question makes.

        An answer counts for the period in which it was given, which may have ended when the ledger
        hears of it.

        Args:
            account: the account.
            answer: the choice; empty when the question ended without an answer.
            choices: those of the question, in their order.
            at: when the question ended.
            now: the time.
        """
        raised, lifted, *_ = [*choices, "", ""]
        if answer and at < account.since <= now:
            account = account.unasked()
        elif answer and answer == raised:
            more = account.raised.plus(account.offer).bounded()
            account = replace(account, raised=more).unasked()
        elif answer and answer == lifted:
            until = periods.end(BudgetPeriod.DAY, at)
            account = replace(account, lifted_until=until).unasked()
        else:
            over = Answer.KEEP if answer else Answer.CANCELLED
            account = replace(account, answer=over)
        return self._change([account], now)

    # Enforcement

    def accounts(self, now: int) -> list[Account]:
        """Return all accounts as they are."""
        return [account.at(now) for account in self._accounts.values()]

    def longest(self, who: Iterable[Owner], now: int) -> Account | None:
        """Return the budget of the owners that is used up until the latest time; None if none
        is."""
        # Of a day and a week that end at the same time, the week.
        keys = [Key(owner, period) for owner in who for period in reversed(BudgetPeriod)]
        accounts = [self.account(key, now) for key in keys]
        used_up = [one for one in accounts if self._state(one, now) is BudgetState.EXHAUSTED]
        return max(used_up, key=lambda one: one.until or math.inf, default=None)

    def keep(self, account: Account) -> "Charge":
        """Return the change that stores an account as it is."""
        return Charge(self, [account], [])

    def adopt(self, accounts: Iterable[Account]) -> None:
        """Let accounts that are on disk hold."""
        changed = []
        for account in accounts:
            before = self._accounts.get(account.key)
            self._accounts[account.key] = account
            was = (BudgetState.OK, Answer.NONE) if before is None else (before.state, before.answer)
            changed.append((account.key, was[0] is not account.state))
            if was != (account.state, account.answer):
                self.on_state()
        for key, urgent in changed:
            self.on_changed(key, urgent)

    def adopt_limits(self, owner: Owner, source: Source, limits: BudgetLimits) -> None:
        """Let limits that are on disk hold."""
        self._allowances.put(owner, source, limits)

    def adopt_forgotten(self, owner: Owner) -> list[int]:
        """Let an owner be gone from the disk; return the questions that were about it."""
        gone = [self._accounts.pop(Key(owner, period), None) for period in BudgetPeriod]
        self._allowances.drop(owner)
        for period in BudgetPeriod:
            self.on_changed(Key(owner, period), True)
        return [account.question for account in gone if account and account.question]

    def _change(self, accounts: Iterable[Account], now: int) -> "Charge":
        judged, told = [], []
        for account in accounts:
            state = self._state(account, now)
            new_period = self._accounts.get(account.key, account).since != account.since
            before = BudgetState.OK if new_period else account.state
            answer = account.answer if state is BudgetState.EXHAUSTED else Answer.NONE
            account = replace(account, state=state, answer=answer)
            judged.append(account)
            if state is BudgetState.EXHAUSTED and before is not BudgetState.EXHAUSTED:
                text = texts.notice(account, self.limit(account))
                told += notices.to_both(notices.EXHAUSTED, text)
            elif state is BudgetState.WARNED and before is BudgetState.OK:
                text = texts.warning(account, self.limit(account))
                told += notices.to_both(notices.WARNING, text)
        return Charge(self, judged, told)

    def _state(self, account: Account, now: int) -> BudgetState:
        limit = self.limit(account)
        if account.spent.reaches(limit) and not account.is_lifted(now):
            return BudgetState.EXHAUSTED
        if account.spent.reaches(limit, WARN_PERCENT):
            return BudgetState.WARNED
        return BudgetState.OK

    def _tell(self, who: Iterable[Owner]) -> None:
        for owner in who:
            for period in BudgetPeriod:
                self.on_changed(Key(owner, period), False)


class Charge:
    """A change of accounts, with the notices about it."""

    def __init__(self, budgets: Budgets, accounts: list[Account], told: list[Notice]) -> None:
        self._budgets = budgets
        self._accounts = accounts
        self._told = told

    def ask_again(self, periods: Collection[BudgetPeriod]) -> list[int]:
        """Have the operator asked anew about budgets that are used up; return earlier questions."""
        questions = []
        for at, account in enumerate(self._accounts):
            used_up = account.state is BudgetState.EXHAUSTED and account.asked
            if used_up and account.key.period in periods:
                questions.append(account.question)
                self._accounts[at] = replace(account.unasked(), answer=Answer.NONE)
        return [question for question in questions if question]

    def save(self, db: sqlite3.Connection) -> None:
        """See Change."""
        store.save(db, self._accounts)
        notices.save(db, self._told)

    def adopt(self) -> None:
        """See Change."""
        self._budgets.adopt(self._accounts)
        if self._told:
            self._budgets.on_notice()


class LimitChange:
    """A change of limits, with the change of the accounts that follows from it."""

    def __init__(
        self,
        budgets: Budgets,
        owner: Owner,
        source: Source,
        limits: BudgetLimits,
        judged: Charge,
        questions: list[int],
    ) -> None:
        self.questions: Final = questions
        """Those that are out of date."""
        self._budgets = budgets
        self._owner = owner
        self._source = source
        self._limits = limits
        self._judged = judged

    def save(self, db: sqlite3.Connection) -> None:
        """See Change."""
        store.allow(db, self._owner, self._source, self._limits)
        self._judged.save(db)

    def adopt(self) -> None:
        """See Change."""
        self._budgets.adopt_limits(self._owner, self._source, self._limits)
        self._judged.adopt()


class Forgetting:
    """The end of what is known of an owner."""

    def __init__(self, budgets: Budgets, owner: Owner) -> None:
        self._budgets = budgets
        self._owner = owner
        self.questions: list[int] = []
        """Those that were about its budgets, once it is adopted."""

    def save(self, db: sqlite3.Connection) -> None:
        """See Change."""
        store.forget(db, self._owner)

    def adopt(self) -> None:
        """See Change."""
        self.questions = self._budgets.adopt_forgotten(self._owner)
