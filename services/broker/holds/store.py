"""The holds on disk. All functions are called within a transaction."""

import sqlite3
from dataclasses import dataclass

from wire.records.broker import Hold, HoldKind, Question


@dataclass(frozen=True, slots=True)
class Held:
    """A held agent."""

    hold: Hold
    peer: str = ""
    """The other agent of a loop; `*` if the agent wrote to all."""
    question: int = 0
    """The question to the operator about a loop, a limit or a budget."""


def everything(db: sqlite3.Connection) -> list[Held]:
    """Return all holds."""
    return [_held(row) for row in db.execute("SELECT * FROM hold ORDER BY agent")]


def get(db: sqlite3.Connection, agent: str) -> Held | None:
    """Return the hold of an agent."""
    row = db.execute("SELECT * FROM hold WHERE agent = ?", (agent,)).fetchone()
    return _held(row) if row else None


def add(db: sqlite3.Connection, held: Held) -> None:
    """Store the hold of an agent that is not held."""
    db.execute("INSERT INTO hold VALUES (?, ?, ?, ?, ?, ?)", (*held.hold, held.peer, held.question))


def remove(db: sqlite3.Connection, agent: str) -> None:
    """Remove the hold of an agent."""
    db.execute("DELETE FROM hold WHERE agent = ?", (agent,))


def release_answered(db: sqlite3.Connection, question: Question) -> list[str]:
    """Remove the holds that `question` is about, if the operator chose the first answer.

    Returns:
        The agents that are not held any more.
    """
    if question.answer != question.choices[:1]:
        return []
    # The answer about a budget changes the budget, and then the ledger ends the holds.
    released = db.execute(
        "DELETE FROM hold WHERE question = ? AND kind != ? RETURNING agent",
        (question.id, HoldKind.BUDGET),
    )
    return sorted(row["agent"] for row in released.fetchall())


def of_question(db: sqlite3.Connection, question: int) -> int:
    """Return how many agents are held until `question` is answered."""
    row = db.execute("SELECT count(*) AS held FROM hold WHERE question = ?", (question,)).fetchone()
    return int(row["held"])


def _held(row: sqlite3.Row) -> Held:
    hold = Hold(row["agent"], HoldKind(row["kind"]), row["text"], row["since"])
    return Held(hold, row["peer"], row["question"])
