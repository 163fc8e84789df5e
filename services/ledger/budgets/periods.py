"""The periods of budgets: days and weeks of the host's time zone.

Times are microseconds since 1970.
"""

from datetime import datetime, timedelta
from typing import Final

from wire.records.ledger import BudgetPeriod

SECOND: Final = 1_000_000


def begin(period: BudgetPeriod, at: int) -> int:
    """Return when the period with the time `at` began; 0 for the total."""
    if period is BudgetPeriod.TOTAL:
        return 0
    return _time(_first_day(period, at))


def end(period: BudgetPeriod, at: int) -> int:
    """Return when the period with the time `at` ends; 0 for the total."""
    if period is BudgetPeriod.TOTAL:
        return 0
    return _time(_first_day(period, at) + timedelta(days=1 if period is BudgetPeriod.DAY else 7))


def in_words(at: int) -> str:
    """Return a time as the operator reads it."""
    return f"{datetime.fromtimestamp(at / SECOND):%Y-%m-%d %H:%M}"


def _first_day(period: BudgetPeriod, at: int) -> datetime:
    """Return the first midnight of a period, without a zone: the next one is a day later by the
    calendar, also when the clock changes to summer time. Of a midnight that comes twice, because
    the clock is put back after it, the first one counts."""
    day = datetime.fromtimestamp(at // SECOND).replace(hour=0, minute=0, second=0, fold=0)
    return day if period is BudgetPeriod.DAY else day - timedelta(days=day.weekday())


def _time(midnight: datetime) -> int:
    return int(midnight.timestamp()) * SECOND
