"""Accounts and allowances on disk. Functions that write are called within a transaction."""

import sqlite3
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from services.ledger.budgets.account import Account, Amount, Answer, Key, Owner
from wire.records.ledger import BudgetKind, BudgetLimits, BudgetPeriod, BudgetState

_COLUMNS: Final = (
    "kind, name, period, since, spent, tokens, unknown_price, raised, raised_tokens, lifted_until, "
    "state, asked, question, answer, offer, offer_tokens"
)
_SAVE: Final = (
    f"INSERT OR REPLACE INTO account ({_COLUMNS}) "  # noqa: S608 - names of columns
    f"VALUES ({', '.join('?' for _ in _COLUMNS.split(','))})"
)


class Source(StrEnum):
    """A source of limits that come over the bus."""

    OPERATOR = "operator"
    DEPLOYED = "deployed"
    """The deployed agent.toml."""


def accounts(db: sqlite3.Connection) -> list[Account]:
    """Return all accounts."""
    return [_account(row) for row in db.execute("SELECT * FROM account")]


def save(db: sqlite3.Connection, accounts: Iterable[Account]) -> None:
    """Store accounts."""
    db.executemany(_SAVE, [_values(account) for account in accounts])


def allowances(db: sqlite3.Connection) -> dict[tuple[Owner, Source], BudgetLimits]:
    """Return the limits that were set over the bus."""
    return {
        (Owner(BudgetKind(row["kind"]), row["name"]), Source(row["source"])): BudgetLimits(
            row["day"],
            row["week"],
            row["total"],
            row["day_tokens"],
            row["week_tokens"],
            row["total_tokens"],
        )
        for row in db.execute("SELECT * FROM allowance")
    }


def allow(db: sqlite3.Connection, owner: Owner, source: Source, limits: BudgetLimits) -> None:
    """Store the limits of an owner."""
    db.execute(
        "INSERT OR REPLACE INTO allowance (kind, name, source, day, week, total, day_tokens, "
        "week_tokens, total_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*owner, source, *limits[:6]),
    )


def forget(db: sqlite3.Connection, owner: Owner) -> None:
    """Delete the accounts and the limits of an owner."""
    db.execute("DELETE FROM account WHERE kind = ? AND name = ?", owner)
    db.execute("DELETE FROM allowance WHERE kind = ? AND name = ?", owner)


def _values(account: Account) -> tuple[str | int, ...]:
    return (
        *account.key.owner,
        account.key.period,
        account.since,
        *account.spent,
        account.unknown,
        *account.raised,
        account.lifted_until,
        account.state,
        account.asked,
        account.question,
        account.answer,
        *account.offer,
    )


def _account(row: sqlite3.Row) -> Account:
    owner = Owner(BudgetKind(row["kind"]), row["name"])
    return Account(
        key=Key(owner, BudgetPeriod(row["period"])),
        since=row["since"],
        spent=Amount(row["spent"], row["tokens"]),
        unknown=bool(row["unknown_price"]),
        raised=Amount(row["raised"], row["raised_tokens"]),
        lifted_until=row["lifted_until"],
        state=BudgetState(row["state"]),
        asked=row["asked"],
        question=row["question"],
        answer=Answer(row["answer"]),
        offer=Amount(row["offer"], row["offer_tokens"]),
    )
