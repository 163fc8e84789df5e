"""Stores of the first version, which knew no commits."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

VERSION_1 = """
CREATE TABLE approval (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    agent TEXT NOT NULL,
    reason TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested INTEGER NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    resolved INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX one_open_request_a_name ON approval (agent)
    WHERE state IN ('pending', 'approved');
CREATE INDEX approval_state ON approval (state);
PRAGMA user_version = 1;
"""
"""The SQL as it was released; never change it."""


def version_1(path: Path, states: Iterable[str]) -> None:
    """Write a store with one request in each of `states`; the manager was notified of none."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
        for number, state in enumerate(states, 1):
            db.execute(
                "INSERT INTO approval"
                " VALUES (?, 'spawn', ?, 'docs', 'manager', 5, ?, 'note', 6, 0)",
                (number, f"a{number}", state),
            )
        db.commit()
