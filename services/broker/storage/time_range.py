"""Which messages were queued within a span of time, by their ids.

A message has a higher id than those before it, and a later time unless the clock was set back; the
table `message_clock` has the ids from which on it was. So a time is found by halving, without an
index of times that every Send would have to keep.
"""

import sqlite3
from itertools import pairwise

from services.broker.arguments import LAST_ID


def ids_in_range(db: sqlite3.Connection, since: int | None, until: int | None) -> tuple[int, int]:
    """The ids that the messages of a span of time lie between: the first, and one after the last.

    There are others between them when the clock was set back. Times are microseconds since 1970;
    a message at `since` is within, one at `until` is not; None is no bound.
    """
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()
    begins = [row[0] for row in db.execute("SELECT id FROM message_clock ORDER BY id")]
    ends = [0, *(begin for begin in begins if begin <= last), last + 1]
    spans = []
    for begin, end in pairwise(ends):
        first = begin if since is None else _first(db, begin, end, since)
        after = end if until is None else _first(db, begin, end, until)
        if first < after:
            spans.append((first, after))
    if not spans:
        return LAST_ID, LAST_ID
    return min(first for first, _ in spans), max(after for _, after in spans)


def _first(db: sqlite3.Connection, begin: int, end: int, time: int) -> int:
    """The id from which on messages are of `time` or later; from `begin` to `end` times rise."""
    while begin < end:
        middle = (begin + end) // 2
        found = db.execute(
            "SELECT id, queued FROM message WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
            (middle, end),
        ).fetchone()
        if found is None or found[1] >= time:
            end = middle
        else:
            begin = found[0] + 1
    return begin
