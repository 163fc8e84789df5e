"""The registered agents on disk. All functions are called within a transaction."""

import sqlite3

from services.broker.storage.database import now
from wire.errors import NotFound
from wire.names import OPERATOR


def register(db: sqlite3.Connection, name: str) -> None:
    """Accept messages to the agent `name`, if it is not registered already."""
    db.execute("INSERT OR IGNORE INTO agent (name, registered) VALUES (?, ?)", (name, now()))


def unregister(db: sqlite3.Connection, name: str) -> None:
    """Refuse further messages to the agent `name`; its messages stay.

    Raises:
        NotFound: the agent is not registered.
    """
    if db.execute("DELETE FROM agent WHERE name = ?", (name,)).rowcount == 0:
        raise _not_registered(name)


def set_redeliveries(db: sqlite3.Connection, name: str, most: int | None) -> None:
    """Set the most redeliveries of messages to the agent `name`; None for the default.

    Raises:
        NotFound: the agent is not registered.
    """
    if not db.execute(
        "UPDATE agent SET max_redeliveries = ? WHERE name = ?", (most, name)
    ).rowcount:
        raise _not_registered(name)


def redeliveries(db: sqlite3.Connection) -> dict[str, int]:
    """Return the most redeliveries of each agent for which they are set."""
    found = db.execute(
        "SELECT name, max_redeliveries FROM agent WHERE max_redeliveries IS NOT NULL"
    )
    return {str(row["name"]): int(row["max_redeliveries"]) for row in found}


def registered(db: sqlite3.Connection) -> list[str]:
    """Return the names of all registered agents."""
    return [str(row["name"]) for row in db.execute("SELECT name FROM agent ORDER BY name")]


def check_recipient(db: sqlite3.Connection, name: str) -> None:
    """Check, within a transaction, that `name` is a registered agent or the operator.

    Raises:
        NotFound: it is neither.
    """
    known = db.execute("SELECT 1 FROM agent WHERE name = ?", (name,)).fetchone()
    if known is None and name != OPERATOR:
        raise NotFound(
            f"There is no agent {name[:64]!r}; `hivectl list` and the tool list_agents show all "
            "agents."
        )


def check_agent(db: sqlite3.Connection, name: str) -> None:
    """Check, within a transaction, that `name` is a registered agent.

    Raises:
        NotFound: it is not.
    """
    if db.execute("SELECT 1 FROM agent WHERE name = ?", (name,)).fetchone() is None:
        raise _not_registered(name)


def _not_registered(name: str) -> NotFound:
    return NotFound(f"The agent {name[:64]!r} is not registered; `hivectl list` shows all agents.")
