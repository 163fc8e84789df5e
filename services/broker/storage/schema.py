"""The format of the message store, and opening a store of this format."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from services import migration, sqlite
from services.sqlite import StoreFormat

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
"""N.sql makes version N from the one before it."""

FORMAT: Final = StoreFormat(
    what="message store",
    unit="hive-broker",
    steps=[
        (_MIGRATIONS / f"{number}.sql").read_text()
        for number in range(1, len(list(_MIGRATIONS.glob("*.sql"))) + 1)
    ],
    application=0x48495645,  # "HIVE"
    # Every call relies on the table of agents; a million messages are checked in about a second.
    quick_table="agent",
)


def connect(path: Path, alive: Callable[[], None] | None = None) -> sqlite3.Connection:
    """Check and migrate the store at `path`, or make it; return a connection that writes.

    Args:
        path: its directory must exist.
        alive: called now and then while that goes on; a large store takes its time.

    Raises:
        CorruptStore: the store cannot be used; the sentence says why, and what to do.
    """
    return sqlite.open_store(path, FORMAT, alive=alive, threads=True)


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a second connection that only reads; `connect` must have opened the store before."""
    return sqlite.open_reader(path, threads=True)


def check(path: Path) -> None:
    """Check all of the store at `path`, however large it is, without changing it.

    Raises:
        CorruptStore: the file is damaged, not a message store, or of an unknown version.
    """
    sqlite.check(path, FORMAT)


def check_shape(path: Path) -> None:
    """Check that the store at `path`, which `check` has passed, has our tables and nothing else.

    For a file that comes from elsewhere: its triggers and views would be run.

    Raises:
        CorruptStore: it has others.
    """
    with (
        closing(sqlite.open_reader(path)) as db,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh,
    ):
        migration.migrate(fresh, path, FORMAT.steps[: migration.version_of(db)])
        if different := shape(db) ^ shape(fresh):
            names = ", ".join(sorted({repr(name) for _, name, _, _ in different})[:3])
            raise FORMAT.refusal(
                path, f"is not a valid message store: its schema differs at {names}"
            )


def shape(db: sqlite3.Connection) -> set[tuple[str, str, str, str]]:
    """Return all that the store defines, in SQL, without the tables that sqlite adds by itself."""
    rows = db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL "
        "AND (type <> 'table' OR name NOT IN ('sqlite_sequence', 'sqlite_stat1', 'sqlite_stat4'))"
    )
    return {(kind, name[:64], table, sql) for kind, name, table, sql in rows}
