"""Group commit, on a real file."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from services.broker.storage.writer import Job, Writer


@pytest.fixture
def statements() -> list[str]:
    return []


@pytest.fixture
async def writer(path: Path, statements: list[str]) -> AsyncIterator[Writer]:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("CREATE TABLE t (x NOT NULL)")
    db.execute("PRAGMA page_size").fetchone()
    db.set_trace_callback(statements.append)
    writer = Writer(db)
    yield writer
    async with asyncio.timeout(5):
        await writer.close()


def insert(value: object, db: sqlite3.Connection) -> object:
    db.execute("INSERT INTO t VALUES (?)", (value,))
    return value


def rows(path: Path) -> list[object]:
    with sqlite3.connect(path) as db:
        found = [row[0] for row in db.execute("SELECT x FROM t ORDER BY rowid")]
    db.close()
    return found


async def hold(writer: Writer) -> tuple[threading.Event, "asyncio.Task[bool]"]:
    """Keep the writer busy until the event is set, so that what follows is one group."""
    started, go_on = threading.Event(), threading.Event()

    def busy(db: sqlite3.Connection) -> bool:
        started.set()
        return go_on.wait(5)

    task = asyncio.ensure_future(writer.run(busy))
    assert await asyncio.to_thread(started.wait, 5)
    return go_on, task


async def test_waiting_jobs_share_a_commit(
    writer: Writer, statements: list[str], path: Path
) -> None:
    go_on, busy = await hold(writer)
    sends = [asyncio.ensure_future(writer.run(partial(insert, i))) for i in range(100)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*sends) == list(range(100))
    await busy
    assert statements.count("COMMIT") == 2
    assert rows(path) == list(range(100))


async def test_a_job_returns_only_after_the_commit(writer: Writer, path: Path) -> None:
    for i in range(5):
        await writer.run(partial(insert, i))
        assert rows(path)[-1] == i


async def test_an_error_of_one_job_is_its_own(writer: Writer, path: Path) -> None:
    def refuse(db: sqlite3.Connection) -> None:
        raise ValueError("no")

    go_on, busy = await hold(writer)
    jobs: list[Job[object]] = [partial(insert, 1), refuse, partial(insert, 2)]
    sends = [asyncio.ensure_future(writer.run(job)) for job in jobs]
    await asyncio.sleep(0)
    go_on.set()
    first, error, second = await asyncio.gather(*sends, return_exceptions=True)
    assert (first, second) == (1, 2)
    assert isinstance(error, ValueError)
    assert await busy
    assert rows(path) == [1, 2]


async def test_a_job_that_fails_does_not_fail_its_group(writer: Writer, path: Path) -> None:
    go_on, busy = await hold(writer)
    sends = [asyncio.ensure_future(writer.run(partial(insert, x))) for x in (1, None, 2)]
    await asyncio.sleep(0)
    go_on.set()
    first, error, second = await asyncio.gather(*sends, return_exceptions=True)
    assert (first, second) == (1, 2)
    assert isinstance(error, sqlite3.IntegrityError)
    assert await busy
    assert rows(path) == [1, 2]


async def test_close_finishes_waiting_jobs(path: Path, writer: Writer) -> None:
    go_on, busy = await hold(writer)
    sends = [asyncio.ensure_future(writer.run(partial(insert, i))) for i in range(10)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(writer.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert await asyncio.gather(*sends) == list(range(10))
    assert rows(path) == list(range(10))
    assert await busy


async def test_a_caller_that_was_cancelled_disturbs_nobody(writer: Writer, path: Path) -> None:
    go_on, busy = await hold(writer)
    gone = asyncio.ensure_future(writer.run(partial(insert, 1)))
    stays = asyncio.ensure_future(writer.run(partial(insert, 2)))
    await asyncio.sleep(0)
    gone.cancel()
    go_on.set()
    assert await stays == 2
    assert await busy
    assert rows(path) == [1, 2]
