"""The file of the ledger: its schema, its connections, and how they are used.

Rows are written on the event loop, as requests and turns come at the pace of language models. A
thread puts them on the disk, and reads that look at many rows have a thread of their own.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from services import sqlite
from services.ledger.storage.disk import Disk
from wire.errors import LimitExceeded

T = TypeVar("T")

MIGRATIONS: Final = (
    """
CREATE TABLE turn (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    recorded INTEGER NOT NULL,
    turn INTEGER NOT NULL,             -- the harness's number
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT NOT NULL,
    model TEXT NOT NULL,
    session TEXT NOT NULL,
    first_request INTEGER NOT NULL,
    first_token INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    context_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,             -- millionths of a US dollar
    tool_calls INTEGER NOT NULL,
    tools TEXT NOT NULL,               -- JSON: calls by the name of the tool
    open_threads INTEGER NOT NULL,
    open_reminders INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX turn_once ON turn (agent, started, turn);
CREATE INDEX turn_agent ON turn (agent);
CREATE INDEX turn_started ON turn (started);
""",
    """
-- Calls of tools that were denied.
ALTER TABLE turn ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
""",
    """
-- Requests to the model API. One that is under way has the outcome 'open', and what it may use at
-- most in the columns that begin with `reserved`.
CREATE TABLE request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    credential TEXT NOT NULL,
    gateway TEXT NOT NULL,             -- the bus and the connection that reserved
    key TEXT NOT NULL,                 -- the gateway's own; '' for none
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    reserved INTEGER NOT NULL,         -- millionths of a US dollar
    reserved_tokens INTEGER NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    web_searches INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,   -- millionths of a US dollar
    charged_tokens INTEGER NOT NULL DEFAULT 0,
    unknown_price INTEGER NOT NULL,
    first_byte INTEGER NOT NULL DEFAULT 0,
    last_byte INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX request_open ON request (id) WHERE outcome = 'open';
CREATE INDEX request_agent ON request (agent);
CREATE INDEX request_started ON request (started);
-- Costs are those of requests: each turn of an earlier version, which counted turns alone, is one.
INSERT INTO request (agent, credential, gateway, key, model, outcome, started, ended, reserved,
    reserved_tokens, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost,
    charged_tokens, unknown_price)
SELECT agent, 'login', '', '', model, 'done', started, ended, 0, 0,
    max(input_tokens - cache_read_tokens - cache_write_tokens, 0), output_tokens,
    cache_read_tokens, cache_write_tokens, cost, input_tokens + output_tokens, 0
FROM turn WHERE cost > 0 OR input_tokens > 0 OR output_tokens > 0 ORDER BY id;

-- Each owner of a budget and each period: what is used of it, and the operator's answers.
CREATE TABLE account (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    period TEXT NOT NULL,
    since INTEGER NOT NULL,            -- the beginning of the period
    spent INTEGER NOT NULL,            -- millionths of a US dollar
    tokens INTEGER NOT NULL,
    unknown_price INTEGER NOT NULL,
    raised INTEGER NOT NULL,
    raised_tokens INTEGER NOT NULL,
    lifted_until INTEGER NOT NULL,
    state TEXT NOT NULL,
    asked INTEGER NOT NULL,            -- when the operator was to be asked, until that is over
    question INTEGER NOT NULL,         -- the question, once the broker has it
    answer TEXT NOT NULL,              -- '', 'keep' or 'cancelled'
    offer INTEGER NOT NULL,            -- by how much the question offers to raise the limits
    offer_tokens INTEGER NOT NULL,
    PRIMARY KEY (kind, name, period)
) STRICT, WITHOUT ROWID;

-- The limits that the operator or the deployed agent.toml sets; NULL: it sets none.
CREATE TABLE allowance (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,              -- operator or deployed
    day INTEGER,
    week INTEGER,
    total INTEGER,
    day_tokens INTEGER,
    week_tokens INTEGER,
    total_tokens INTEGER,
    PRIMARY KEY (kind, name, source)
) STRICT, WITHOUT ROWID;

-- Messages that the broker has not taken yet.
CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipient TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE egress (
    agent TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    state TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    allowed INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    decided INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, host, port)
) STRICT, WITHOUT ROWID;
CREATE INDEX egress_last ON egress (last);

-- What the answers of the provider told of its limits.
CREATE TABLE provider_limit (
    credential TEXT PRIMARY KEY,
    until INTEGER NOT NULL,
    remaining_requests INTEGER,
    remaining_tokens INTEGER,
    remaining_until INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
)

FORMAT: Final = sqlite.StoreFormat(
    "store of turns and requests",
    "hive-ledger",
    MIGRATIONS,
    remedy="It holds what was used, and what is used of the budgets: move it away with its -wal "
    "and -shm files to count anew, then run: systemctl restart hive-ledger",
)

READ_SECONDS: Final = 2.0
"""The seconds after which a read is given up."""
BATCH: Final = 500
"""The most rows that one transaction deletes."""

LOG_PAGES: Final = 4000
"""The pages of the log, about 16 MiB, from which on the event loop moves it into the file."""

_TICK: Final = 10_000
"""Steps of sqlite's virtual machine between two looks at the clock."""


class Change(Protocol):
    """A change that is written with others, and holds in memory once it is on disk."""

    def save(self, db: sqlite3.Connection) -> None:
        """Write it, within a transaction."""

    def adopt(self) -> None:
        """Let it hold; called after the commit."""


class Database:
    """The file. Each method raises Unavailable, with nothing written, when it cannot be used just
    now."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            CorruptStore: it cannot be used.
        """
        self._path = path
        self._db = sqlite.open_store(path, FORMAT)
        self._quick = sqlite.open_quick_writer(path)
        # The thread moves the log into the file: here the event loop would wait for the disk. But
        # the log must not grow without end when nobody waits for a sync, as for refused hosts.
        self._quick.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self._disk = Disk(path, partial(FORMAT.unavailable, path))
        self._reader = sqlite.open_reader(path, threads=True)
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-reader")

    def close(self) -> None:
        """Finish the reads and close the file."""
        self._reading.shutdown()
        self._disk.close()
        for db in (self._reader, self._quick, self._db):
            db.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside; it is on the disk afterwards."""
        with self._checked(), sqlite.transaction(self._db):
            yield self._db

    @contextmanager
    def write_quickly(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside; it outlives this process, and the host after the next
        `write` or `synced`."""
        with self._checked(), sqlite.transaction(self._quick):
            yield self._quick

    @contextmanager
    def write_one(self) -> Iterator[sqlite3.Connection]:
        """Do as `write_quickly` for a single statement, which commits itself: that is quicker."""
        with self._checked():
            yield self._quick

    async def synced(self) -> None:
        """Wait until all that was committed is on the disk; the event loop goes on meanwhile."""
        await self._disk.synced()

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """Read a few rows on the event loop."""
        with self._checked():
            yield self._db

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Do `query` in the thread that reads.

        Raises:
            LimitExceeded: it took longer than READ_SECONDS.
            Unavailable: the file could not be read.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reading, partial(self._limited, query))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise LimitExceeded(
                    f"The ledger has too many rows to sum up within {READ_SECONDS:g} s. Give an "
                    "agent, or a shorter time."
                ) from None
            raise FORMAT.unavailable(self._path, error) from error

    def _limited(self, query: Callable[[sqlite3.Connection], T]) -> T:
        until = time.monotonic() + READ_SECONDS
        self._reader.set_progress_handler(lambda: time.monotonic() > until, _TICK)
        return query(self._reader)

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise FORMAT.unavailable(self._path, error) from error
