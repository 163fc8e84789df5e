"""What lifecycle remembers: its agents, their uid ranges, and messages not yet handed over."""

import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from services import migration
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.jobs.job import Job, JobState, Verb
from services.lifecycle.notices.notice import Notice
from wire.errors import CorruptStore

MAX_NOTICES: Final = 1000
"""Messages that wait for a broker; beyond it the oldest go, so a broken broker fills no disk."""

MIGRATIONS: Final = (
    """
create table agent (
  name text primary key,
  uid_base integer not null unique,
  machine_id text not null,
  phase text not null,
  model text not null,
  enabled integer not null,
  seen text not null,
  excused text not null,
  boot text not null
) strict;
create table notice (
  number integer primary key autoincrement,
  kind text not null,
  body text not null,
  dedupe_key text not null unique
) strict;
""",
    """
alter table agent add column port integer not null default 0;
alter table agent add column built text not null default '';
alter table agent add column asleep integer not null default 0;
alter table agent add column settings text not null default '{}';
alter table agent add column destroyed integer not null default 0;
alter table notice add column recipient text not null default 'manager';
create table job (
  number integer primary key autoincrement,
  agent text not null,
  verb text not null,
  wanted text not null,
  arguments text not null,
  state text not null
) strict;
""",
    "alter table agent add column deployed text not null default '';",
)
"""What makes each version from the one before it; the first one from nothing."""


class Store:
    """The records, in an sqlite file; every change is on disk when its call returns."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises CorruptStore, having touched nothing, when it cannot."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare(path)
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise CorruptStore(
                f"{path} cannot be read as the list of agents ({error}). Nothing was changed. "
                "Restore it from a backup, or move it away to begin with none."
            ) from error

    def _prepare(self, path: Path) -> None:
        if 0 < migration.version_of(self._db) <= len(MIGRATIONS):
            (verdict,) = self._db.execute("pragma quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        migration.migrate(self._db, path, MIGRATIONS)
        self.records()
        self.jobs()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def records(self) -> list[Record]:
        """All of them, by name."""
        return [_record(row) for row in self._db.execute(f"{_SELECT} order by name")]

    def find(self, name: str) -> Record | None:
        """The record of `name`."""
        row = self._db.execute(f"{_SELECT} where name = ?", (name,)).fetchone()
        return _record(row) if row else None

    def save(self, record: Record, *notices: Notice) -> None:
        """Write `record`, and `notices` in the same transaction: all are kept, or none is."""
        row = [getattr(record, column) for column in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        self._db.execute("begin immediate")
        try:
            self._db.execute(
                f"insert or replace into agent ({', '.join(_COLUMNS)}) values ({marks})",  # noqa: S608
                [_plain(value) for value in row],
            )
            for notice in notices:
                self._insert(notice)
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def remove(self, name: str) -> None:
        """Forget `name` and its uid range."""
        self._db.execute("delete from agent where name = ?", (name,))

    def add_notice(self, notice: Notice) -> None:
        """Keep a message until it is handed over; one with the same dedupe_key is kept once."""
        self._insert(notice)

    def notices(self) -> list[Notice]:
        """The messages that wait, oldest first."""
        query = "select kind, body, dedupe_key, recipient, number from notice order by number"
        return [Notice(*row) for row in self._db.execute(query)]

    def drop_notice(self, notice: Notice) -> None:
        """It was handed over."""
        self._db.execute("delete from notice where number = ?", (notice.number,))

    # Jobs

    def add_job(self, job: Job) -> int:
        """Keep `job` until it has ended; returns its number, which no other one ever has."""
        added = self._db.execute(
            "insert into job (agent, verb, wanted, arguments, state) values (?, ?, ?, ?, ?)",
            _job_row(job),
        )
        return int(added.lastrowid or 0)

    def save_job(self, job: Job) -> None:
        """Keep what has changed of it."""
        self._db.execute(
            "update job set agent = ?, verb = ?, wanted = ?, arguments = ?, state = ? "
            "where number = ?",
            (*_job_row(job), job.number),
        )

    def remove_job(self, number: int) -> None:
        """It has ended."""
        self._db.execute("delete from job where number = ?", (number,))

    def jobs(self) -> list[Job]:
        """The jobs that have not ended, oldest first."""
        query = "select number, agent, verb, wanted, arguments, state from job order by number"
        return [_job(row) for row in self._db.execute(query)]

    def _insert(self, notice: Notice) -> None:
        self._db.execute(
            "insert or ignore into notice (kind, body, dedupe_key, recipient) values (?, ?, ?, ?)",
            (notice.kind, notice.body, notice.dedupe_key, notice.recipient),
        )
        self._db.execute(
            "delete from notice where number <= (select max(number) from notice) - ?",
            (MAX_NOTICES,),
        )


_COLUMNS: Final = (
    "name", "uid_base", "machine_id", "phase", "model", "enabled", "seen", "excused", "boot",
    "port", "built", "asleep", "settings", "destroyed", "deployed",
)  # fmt: skip
_SELECT: Final = f"select {', '.join(_COLUMNS)} from agent"  # noqa: S608


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value) if isinstance(value, Phase) else value


def _record(row: tuple[Any, ...]) -> Record:
    values = dict(zip(_COLUMNS, row, strict=True))
    try:
        values["phase"] = Phase(values["phase"])
        values["settings"] = json.loads(values["settings"])
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    if not 0 <= values["port"] < 1 << 16:
        raise sqlite3.DatabaseError(f"{values['name']} has the port {values['port']}")
    values["enabled"], values["asleep"] = bool(values["enabled"]), bool(values["asleep"])
    return Record(**values)


def _job_row(job: Job) -> tuple[str, ...]:
    wanted, arguments = json.dumps(job.wanted), json.dumps(job.arguments)
    return job.agent, job.verb.value, wanted, arguments, job.state.value


def _job(row: tuple[Any, ...]) -> Job:
    number, agent, verb, wanted, arguments, state = row
    try:
        return Job(
            agent,
            Verb(verb),
            tuple(json.loads(wanted)),
            json.loads(arguments),
            number,
            JobState(state),
        )
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
