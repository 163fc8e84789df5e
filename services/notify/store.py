"""The store: which items are known, and which posts are pending, in one small sqlite file.

Both change in one transaction. So, whenever this process is killed, an item is either known and its
posts are pending, or it is not known and is found again.
"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services import sqlite
from services.notify.notification import Notification
from services.sqlite import StoreFormat

MAX_POSTS: Final = 1000
"""Posts pending for one webhook; beyond it the oldest are dropped, so that a webhook that is down
does not fill the disk."""

MIGRATIONS: Final = (
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

FORMAT: Final = StoreFormat(
    "store of notifications",
    "hive-notify",
    MIGRATIONS,
    remedy="It holds only known items and pending notifications: move it away with its -wal and "
    "-shm files, then run: systemctl restart hive-notify",
)


@dataclass(frozen=True, slots=True)
class Post:
    """A notification pending for one webhook; `queued` is in microseconds since 1970."""

    id: int
    notification: Notification
    queued: int


def _now() -> int:
    return time.time_ns() // 1000


class Store:
    """The file. When a method returns, its change is on the disk."""

    def __init__(self, path: Path, now: Callable[[], int] = _now) -> None:
        """Open or create the file; `now` is the clock, in microseconds since 1970.

        Raises:
            CorruptStore: the file cannot be used.
        """
        self._now = now
        self._db = sqlite.open_store(path, FORMAT)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def known(self, source: str) -> set[int] | None:
        """Return the known items of `source`, or None when it was never looked at."""
        rows = self._db.execute("SELECT number FROM known WHERE source = ?", (source,)).fetchall()
        return {number for (number,) in rows} or None

    def forget(self) -> None:
        """Forget all items: the next look at each source is the first one again."""
        self._db.execute("DELETE FROM known")

    def record(
        self,
        source: str,
        numbers: Collection[int],
        posts: Iterable[tuple[str, Notification]],
        *,
        complete: bool,
    ) -> None:
        """Record known items and pending posts in one transaction.

        Args:
            source: the source of the items.
            numbers: the items that are known from now on.
            posts: the posts to deliver: name of the webhook, notification.
            complete: `numbers` are all items of the source from the lowest of them on, so other
                known items above it are forgotten. (A list too long for one answer lacks the
                oldest items.)
        """
        with sqlite.transaction(self._db):
            if complete:
                self._db.execute(
                    "DELETE FROM known WHERE source = ? AND number >= ?",
                    (source, min(numbers, default=0)),
                )
            self._db.executemany(
                "INSERT OR IGNORE INTO known VALUES (?, ?)",
                [(source, number) for number in (0, *numbers)],
            )
            for webhook, notification in posts:
                self._db.execute(
                    "INSERT INTO post (webhook, news, queued) VALUES (?, ?, ?)",
                    (webhook, notification.dump(), self._now()),
                )
                self._db.execute(
                    "DELETE FROM post WHERE webhook = ? AND id <= (SELECT id FROM post "
                    "WHERE webhook = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (webhook, webhook, MAX_POSTS),
                )

    def first(self, webhook: str) -> Post | None:
        """Return the oldest pending post of `webhook`."""
        row = self._db.execute(
            "SELECT id, news, queued FROM post WHERE webhook = ? ORDER BY id LIMIT 1", (webhook,)
        ).fetchone()
        if row is None:
            return None
        return Post(row["id"], Notification.load(row["news"]), row["queued"])

    def count(self, webhook: str) -> int:
        """Return the number of pending posts of `webhook`."""
        query = "SELECT count(*) FROM post WHERE webhook = ?"
        (count,) = self._db.execute(query, (webhook,)).fetchone()
        return int(count)

    def remove(self, post: Post) -> None:
        """Remove a post that was delivered or given up."""
        self._db.execute("DELETE FROM post WHERE id = ?", (post.id,))

    def keep_only(self, webhooks: Collection[str]) -> None:
        """Drop the posts of all other webhooks: they are no longer configured."""
        marks = ",".join("?" * len(webhooks))
        self._db.execute(f"DELETE FROM post WHERE webhook NOT IN ({marks})", tuple(webhooks))  # noqa: S608
