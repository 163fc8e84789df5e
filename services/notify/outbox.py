"""What is known already, and what is still to be posted: one small sqlite file.

Both change in one transaction. So whatever happens to this process, each piece of news is known and
waits to be posted, or is not known and is found again.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services import migration
from services.notify.news import News
from wire.errors import CorruptStore

MAX_POSTS: Final = 1000
"""Posts that wait for one webhook; beyond it the oldest go, so that a dead one fills no disk."""

_STEPS: Final = (
    """
CREATE TABLE known (
    source TEXT NOT NULL,
    number INTEGER NOT NULL,           -- 0: the source was looked at
    PRIMARY KEY (source, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE post (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook TEXT NOT NULL,
    news TEXT NOT NULL,                -- JSON
    queued INTEGER NOT NULL            -- microseconds since 1970
) STRICT;
CREATE INDEX post_webhook ON post (webhook, id);
""",
)


@dataclass(frozen=True, slots=True)
class Post:
    """News on their way to one webhook; `queued` in microseconds since 1970."""

    id: int
    news: News
    queued: int


def _now() -> int:
    return time.time_ns() // 1000


class Outbox:
    """The file. All methods are durable when they return."""

    def __init__(self, path: Path, now: Callable[[], int] = _now) -> None:
        """Open or make it. Raises CorruptStore when it cannot be used."""
        self._now = now
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                migration.migrate(self._db, path, _STEPS)
                (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise CorruptStore(
                f"{path} cannot be read ({error}). It holds no more than what is still to be "
                "posted: move it and its -wal and -shm files away, then: "
                "systemctl restart hive-notify"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def known(self, source: str) -> set[int] | None:
        """What was there of `source` before; None when it was never looked at."""
        rows = self._db.execute("SELECT number FROM known WHERE source = ?", (source,)).fetchall()
        return {number for (number,) in rows} or None

    def note(
        self,
        source: str,
        numbers: Collection[int],
        posts: Iterable[tuple[str, News]],
        *,
        whole: bool,
    ) -> None:
        """Know `numbers` of `source` from now on, and keep `posts` (webhook, news) to be posted.

        `whole`: that is all there is of it from the lowest of them on, so that what was known
        besides may be forgotten. A list that is too long for one answer lacks the oldest.
        """
        with self._transaction():
            if whole:
                self._db.execute(
                    "DELETE FROM known WHERE source = ? AND number >= ?",
                    (source, min(numbers, default=0)),
                )
            self._db.executemany(
                "INSERT OR IGNORE INTO known VALUES (?, ?)",
                [(source, number) for number in (0, *numbers)],
            )
            for webhook, news in posts:
                self._db.execute(
                    "INSERT INTO post (webhook, news, queued) VALUES (?, ?, ?)",
                    (webhook, news.dump(), self._now()),
                )
                self._db.execute(
                    "DELETE FROM post WHERE webhook = ? AND id <= (SELECT id FROM post "
                    "WHERE webhook = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (webhook, webhook, MAX_POSTS),
                )

    def first(self, webhook: str) -> Post | None:
        """What `webhook` is to get next: the oldest."""
        row = self._db.execute(
            "SELECT id, news, queued FROM post WHERE webhook = ? ORDER BY id LIMIT 1", (webhook,)
        ).fetchone()
        return Post(row[0], News.load(row[1]), row[2]) if row else None

    def count(self, webhook: str) -> int:
        """How many posts wait for `webhook`."""
        query = "SELECT count(*) FROM post WHERE webhook = ?"
        return int(self._db.execute(query, (webhook,)).fetchone()[0])

    def remove(self, post: Post) -> None:
        """It was posted, or given up."""
        self._db.execute("DELETE FROM post WHERE id = ?", (post.id,))

    def keep_only(self, webhooks: Collection[str]) -> None:
        """Drop what waits for webhooks that there are no more."""
        marks = ",".join("?" * len(webhooks))
        self._db.execute(f"DELETE FROM post WHERE webhook NOT IN ({marks})", tuple(webhooks))  # noqa: S608

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
