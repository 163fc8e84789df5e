"""The store of lifecycle: agents, jobs that have not ended, and messages for the broker."""

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Final

from services import sqlite
from services.lifecycle.agents.provider_limit import LimitReport
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.agents.turn import TurnRecord
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.notice import Notice
from wire.records.lifecycle import JobState, JobVerb, NetworkMode, TurnState

log = logging.getLogger(__name__)

MAX_NOTICES: Final = 1000
"""Messages that wait for a broker. The oldest are dropped beyond it, so that the disk cannot fill
up while the broker is down."""

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
    """
create table turn (
  agent text primary key,
  state text not null,
  since integer not null,
  reason text not null,
  until integer not null,
  invocation text not null,
  away integer not null,
  model text not null,
  effort text not null,
  session text not null,
  context_tokens integer not null,
  context_limit integer not null,
  logged_in integer not null,
  credential text not null
) strict;
create table provider_limit (
  credential text not null,
  agent text not null,
  until integer not null,
  reported integer not null,
  primary key (credential, agent)
) strict;
""",
    "alter table turn add column model_setting text not null default '';",
    """
alter table agent add column network text not null default 'host';
alter table agent add column keeps_host integer not null default 0;
update agent set keeps_host = 1 where phase != 'kept';
""",
)
"""The statements that make each version from the version before it; the first from nothing."""

FORMAT: Final = sqlite.StoreFormat("list of agents", "hive-lifecycle", MIGRATIONS)

_COLUMNS: Final = (
    "name", "uid_base", "machine_id", "phase", "model", "enabled", "seen", "excused", "boot",
    "port", "built", "asleep", "settings", "destroyed", "deployed", "network", "keeps_host",
)  # fmt: skip
_SELECT: Final = f"select {', '.join(_COLUMNS)} from agent"  # noqa: S608

_TURN_COLUMNS: Final = tuple(field.name for field in fields(TurnRecord))
_SELECT_TURN: Final = f"select {', '.join(_TURN_COLUMNS)} from turn"  # noqa: S608


class Store:
    """The sqlite file. Each change is on disk when the method returns."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            CorruptStore: the file is unusable; nothing in it was changed.
        """
        self._db = sqlite.open_store(path, FORMAT)
        try:
            self.records()
            self.jobs()
            self.turns()
            self.limits()
        except sqlite3.Error as error:
            self._db.close()
            raise FORMAT.refusal(path, f"is damaged ({error})") from error
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Agents

    def records(self) -> list[Record]:
        """Return all records, ordered by name."""
        return [_record(row) for row in self._db.execute(f"{_SELECT} order by name")]

    def find(self, name: str) -> Record | None:
        """Return the record of `name`."""
        row = self._db.execute(f"{_SELECT} where name = ?", (name,)).fetchone()
        return _record(row) if row else None

    def save(self, record: Record, *notices: Notice) -> None:
        """Store `record` and `notices` in one transaction: all of them, or none."""
        row = [getattr(record, column) for column in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        with sqlite.transaction(self._db):
            self._db.execute(
                f"insert or replace into agent ({', '.join(_COLUMNS)}) values ({marks})",  # noqa: S608
                [_plain(value) for value in row],
            )
            for notice in notices:
                self._insert(notice)

    def remove(self, name: str) -> None:
        """Remove the record of `name`, which frees its uid range."""
        with sqlite.transaction(self._db):
            self._db.execute("delete from agent where name = ?", (name,))
            self._db.execute("delete from turn where agent = ?", (name,))

    # Reports of harnesses

    def turns(self) -> list[TurnRecord]:
        """Return the stored reports of all agents, ordered by name."""
        return [_turn(row) for row in self._db.execute(f"{_SELECT_TURN} order by agent")]

    def turn(self, name: str) -> TurnRecord | None:
        """Return the stored reports of the agent `name`."""
        row = self._db.execute(f"{_SELECT_TURN} where agent = ?", (name,)).fetchone()
        return _turn(row) if row else None

    def save_turn(self, record: TurnRecord) -> None:
        """Store the reports of an agent. A power failure may undo this, but not the end of
        lifecycle. A store that cannot be written is logged: the report itself counts."""
        marks = ", ".join("?" * len(_TURN_COLUMNS))
        try:
            with self._unsynced():
                self._db.execute(
                    f"insert or replace into turn ({', '.join(_TURN_COLUMNS)}) values ({marks})",  # noqa: S608
                    [_plain(getattr(record, column)) for column in _TURN_COLUMNS],
                )
        except sqlite3.Error as error:
            log.error("the turn state of %s was not stored: %s", record.agent, error)

    # Limits of providers

    def limits(self) -> list[LimitReport]:
        """Return the reports of limits that have not been removed."""
        query = "select credential, agent, until, reported from provider_limit order by agent"
        return [LimitReport(**row) for row in self._db.execute(query)]

    def save_limit(self, limit: LimitReport) -> None:
        """Store the report of a limit. A power failure may undo this, but not the end of
        lifecycle."""
        with self._unsynced():
            self._db.execute(
                "insert or replace into provider_limit (credential, agent, until, reported) "
                "values (?, ?, ?, ?)",
                (limit.credential, limit.agent, limit.until, limit.reported),
            )

    def remove_limit(self, limit: LimitReport) -> None:
        """Remove the report of a limit."""
        self._db.execute(
            "delete from provider_limit where credential = ? and agent = ?",
            (limit.credential, limit.agent),
        )

    # Messages for the broker

    def add_notice(self, notice: Notice) -> None:
        """Store a message until it is delivered; a repeated dedupe key is ignored."""
        with sqlite.transaction(self._db):
            self._insert(notice)

    def notices(self) -> list[Notice]:
        """Return the undelivered messages, oldest first."""
        query = "select kind, body, dedupe_key, recipient, number from notice order by number"
        return [Notice(**row) for row in self._db.execute(query)]

    def drop_notice(self, notice: Notice) -> None:
        """Remove a delivered message."""
        self._db.execute("delete from notice where number = ?", (notice.number,))

    # Jobs

    def add_job(self, job: Job) -> int:
        """Store `job` until it has ended and return its number. Numbers are never reused."""
        added = self._db.execute(
            "insert into job (agent, verb, wanted, arguments, state) values (?, ?, ?, ?, ?)",
            _job_row(job),
        )
        return int(added.lastrowid or 0)

    def save_job(self, job: Job) -> None:
        """Store the changes of `job`."""
        self._db.execute(
            "update job set agent = ?, verb = ?, wanted = ?, arguments = ?, state = ? "
            "where number = ?",
            (*_job_row(job), job.number),
        )

    def remove_job(self, number: int) -> None:
        """Remove a job that has ended."""
        self._db.execute("delete from job where number = ?", (number,))

    def jobs(self) -> list[Job]:
        """Return the jobs that have not ended, oldest first."""
        query = "select number, agent, verb, wanted, arguments, state from job order by number"
        return [_job(row) for row in self._db.execute(query)]

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        """Write without waiting for the disk: a harness waits for the answer to its report."""
        self._db.execute("pragma synchronous = normal")
        try:
            yield
        finally:
            self._db.execute("pragma synchronous = full")

    def _insert(self, notice: Notice) -> None:
        self._db.execute(
            "insert or ignore into notice (kind, body, dedupe_key, recipient) values (?, ?, ?, ?)",
            (notice.kind, notice.body, notice.dedupe_key, notice.recipient),
        )
        self._db.execute(
            "delete from notice where number <= (select max(number) from notice) - ?",
            (MAX_NOTICES,),
        )


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value) if isinstance(value, StrEnum) else value


def _record(row: sqlite3.Row) -> Record:
    try:
        phase, settings = Phase(row["phase"]), json.loads(row["settings"])
        network = NetworkMode(row["network"])
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    if not 0 <= row["port"] < 1 << 16:
        raise sqlite3.DatabaseError(f"{row['name']} has the port {row['port']}")
    return Record(
        name=row["name"],
        uid_base=row["uid_base"],
        machine_id=row["machine_id"],
        phase=phase,
        model=row["model"],
        enabled=bool(row["enabled"]),
        seen=row["seen"],
        excused=row["excused"],
        boot=row["boot"],
        port=row["port"],
        built=row["built"],
        asleep=bool(row["asleep"]),
        settings=settings,
        destroyed=row["destroyed"],
        deployed=row["deployed"],
        network=network,
        keeps_host=bool(row["keeps_host"]),
    )


def _turn(row: sqlite3.Row) -> TurnRecord:
    try:
        state = TurnState(row["state"])
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    return TurnRecord(**{**row, "state": state, "logged_in": bool(row["logged_in"])})


def _job_row(job: Job) -> tuple[str, ...]:
    wanted, arguments = json.dumps(job.wanted), json.dumps(job.arguments)
    return job.agent, job.verb.value, wanted, arguments, job.state.value


def _job(row: sqlite3.Row) -> Job:
    try:
        return Job(
            agent=row["agent"],
            verb=JobVerb(row["verb"]),
            wanted=tuple(json.loads(row["wanted"])),
            arguments=json.loads(row["arguments"]),
            number=row["number"],
            state=JobState(row["state"]),
        )
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
