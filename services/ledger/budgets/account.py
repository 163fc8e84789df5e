"""The account of one budget: its use in the present period, and the decisions of the operator.

Accounts do not change: a change makes a new one, which holds once it is on disk.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from services.ledger.budgets import periods
from wire.records.ledger import BudgetKind, BudgetPeriod, BudgetState

AHEAD: Final = 24 * 3600 * periods.SECOND
"""How far the beginning of a period may be ahead, after the clock was set back."""
MOST: Final = 10**18
"""The most that an account counts: no sum of it overflows the integers of sqlite."""
HIVE: Final = "hive"
"""The name of the hive's budgets."""


class Owner(NamedTuple):
    """An owner of budgets."""

    kind: BudgetKind
    name: str

    def __str__(self) -> str:
        match self.kind:
            case BudgetKind.HIVE:
                return "the hive"
            case BudgetKind.CREDENTIAL:
                return f"the credential {self.name}"
            case BudgetKind.AGENT:
                return self.name


class Key(NamedTuple):
    """A budget."""

    owner: Owner
    period: BudgetPeriod

    def __str__(self) -> str:
        words = {BudgetPeriod.DAY: " for a day", BudgetPeriod.WEEK: " for a week"}
        return f"the budget of {self.owner}{words.get(self.period, ' in total')}"


class Amount(NamedTuple):
    """Dollars and tokens; as a limit, 0 is none."""

    dollars: int
    """Millionths of a dollar."""
    tokens: int

    def plus(self, other: "Amount") -> "Amount":
        """Return the sum."""
        return Amount(self.dollars + other.dollars, self.tokens + other.tokens)

    def minus(self, other: "Amount") -> "Amount":
        """Return the difference."""
        return Amount(self.dollars - other.dollars, self.tokens - other.tokens)

    def bounded(self) -> "Amount":
        """Return this, or the most that an account counts."""
        return Amount(min(self.dollars, MOST), min(self.tokens, MOST))

    def reaches(self, limit: "Amount", percent: int = 100) -> bool:
        """Return whether this is at least `percent` of one of the two limits."""
        return any(
            most and used * 100 >= most * percent for used, most in zip(self, limit, strict=True)
        )

    def exceeds(self, limit: "Amount") -> bool:
        """Return whether this is more than one of the two limits."""
        return any(most and used > most for used, most in zip(self, limit, strict=True))


NOTHING: Final = Amount(0, 0)


class Answer(StrEnum):
    """The end of the question about a budget, as far as it matters afterwards."""

    NONE = ""
    KEEP = "keep"
    """The operator keeps the agents held, and is not asked again in this period."""
    CANCELLED = "cancelled"
    """The question is over without an answer: the next refusal asks another one."""


@dataclass(frozen=True, slots=True)
class Account:
    """A budget's account."""

    key: Key
    since: int
    """The beginning of the period."""
    spent: Amount = NOTHING
    unknown: bool = False
    """Whether `spent` has costs of models without a price."""
    raised: Amount = NOTHING
    lifted_until: int = 0
    """Until when the budget may be exceeded; see `is_lifted`."""
    state: BudgetState = BudgetState.OK
    asked: int = 0
    """When the operator was to be asked; 0 once the question is out of the way."""
    question: int = 0
    """The question, once the broker has it."""
    answer: Answer = Answer.NONE
    offer: Amount = NOTHING
    """By how much the question offers to raise the limits."""

    def at(self, now: int) -> "Account":
        """Return the account at a time: a new period begins with nothing spent.

        When the clock was set back, the later period goes on, so that nothing is spent twice. If
        that period is far ahead, because the clock was wrong before, its use counts for the present
        one.
        """
        begun = periods.begin(self.key.period, now)
        if begun == self.since or begun < self.since <= now + AHEAD:
            return self
        if begun < self.since:
            return replace(self, since=begun)
        return replace(
            self,
            since=begun,
            spent=NOTHING,
            unknown=False,
            raised=NOTHING,
            answer=Answer.NONE,
        )

    def is_lifted(self, now: int) -> bool:
        """Return whether the operator lets the budget be exceeded at a time.

        An end that is more than a day behind the next midnight is from before the clock was set
        back, and does not count.
        """
        if self.lifted_until <= now:
            return False
        return self.lifted_until <= periods.end(BudgetPeriod.DAY, now) + AHEAD

    def unasked(self) -> "Account":
        """Return the account when its question is out of the way."""
        return replace(self, asked=0, question=0, offer=NOTHING)

    @property
    def until(self) -> int:
        """The end of the period; 0 for none."""
        return periods.end(self.key.period, self.since)
