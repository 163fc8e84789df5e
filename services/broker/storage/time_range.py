"""The ids of the messages of a time range.

A message has a higher id than earlier ones, and a later time unless the clock was set back. The
table `message_clock` has the first id after each time that the clock was set back. So a binary
search finds a time, without an index of times that every Send would have to update.
"""

import sqlite3
from itertools import pairwise

from services.broker.storage.database import LAST_ID


def ids_in_range(db: sqlite3.Connection, since: int | None, until: int | None) -> tuple[int, int]:
    """Return the first id of a time range, and the id after the last one.

    If the clock was set back, messages of other times lie between them.

    Args:
        db: the store.
        since: microseconds since 1970, included; None for no bound.
        until: microseconds since 1970, excluded; None for no bound.
    """
    last = db.execute("SELECT coalesce(max(id), 0) AS id FROM message").fetchone()["id"]
    begins = [row["id"] for row in db.execute("SELECT id FROM message_clock ORDER BY id")]
    ends = [0, *(begin for begin in begins if begin <= last), last + 1]
    ranges = []
    for begin, end in pairwise(ends):
        first = begin if since is None else _first(db, begin, end, since)
        after = end if until is None else _first(db, begin, end, until)
        if first < after:
            ranges.append((first, after))
    if not ranges:
        return LAST_ID, LAST_ID
    return min(first for first, _ in ranges), max(after for _, after in ranges)


def _first(db: sqlite3.Connection, begin: int, end: int, time: int) -> int:
    """Return the first id with a time of `time` or later; from `begin` to `end` times rise."""
    while begin < end:
        middle = (begin + end) // 2
        found = db.execute(
            "SELECT id, queued FROM message WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
            (middle, end),
        ).fetchone()
        if found is None or found["queued"] >= time:
            end = middle
        else:
            begin = found["id"] + 1
    return begin
