"""What lifecycle remembers: its agents, their uid ranges, and messages not yet handed over."""

import sqlite3
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from services.lifecycle.agent import Spec
from wire.errors import Conflict, CorruptStore

VERSION: Final = 1
MAX_NOTICES: Final = 1000
"""Messages that wait for a broker; beyond it the oldest go, so a broken broker fills no disk."""

SCHEMA: Final = """
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
"""


class Phase(StrEnum):
    """How much of an agent exists; what is half done when lifecycle dies is put right on start."""

    CREATING = "creating"
    PRESENT = "present"
    DESTROYING = "destroying"
    PURGING = "purging"
    KEPT = "kept"
    """Destroyed, but its data and its uid range are kept for an agent of the same name."""


PHASES: Final = {
    Phase.CREATING: frozenset({Phase.PRESENT, Phase.DESTROYING, Phase.PURGING}),
    Phase.PRESENT: frozenset({Phase.DESTROYING, Phase.PURGING}),
    Phase.DESTROYING: frozenset({Phase.KEPT, Phase.PURGING}),
    Phase.PURGING: frozenset({Phase.DESTROYING}),
    Phase.KEPT: frozenset({Phase.CREATING, Phase.PURGING}),
}
"""Which phase may follow; after `purging` the record is gone."""


@dataclass
class Record:
    """What is remembered of one agent."""

    name: str
    uid_base: int
    machine_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    phase: Phase = Phase.CREATING
    model: str = ""
    enabled: bool = True
    seen: str = ""
    """The invocation whose container was seen READY, and not yet seen ending."""
    excused: str = ""
    """The invocation that a job of ours ends: its end is no crash."""
    boot: str = ""
    """The host's boot in which `seen` was seen."""

    def enter(self, phase: Phase) -> None:
        """Go on to `phase`; raises Conflict when that does not follow."""
        if phase not in PHASES[self.phase]:
            raise Conflict(f"{self.name} is {self.phase}; it cannot become {phase}.")
        self.phase = phase

    @property
    def spec(self) -> Spec:
        """What its container is made from."""
        return Spec(self.name, self.uid_base, self.machine_id, self.model)


@dataclass(frozen=True)
class Notice:
    """A message to the manager that the broker does not have yet."""

    kind: str
    body: str
    dedupe_key: str
    number: int = 0


class Registry:
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
        except sqlite3.Error as error:
            raise CorruptStore(
                f"{path} cannot be read as the list of agents ({error}). Nothing was changed. "
                "Restore it from a backup, or move it away to begin with none."
            ) from error

    def _prepare(self, path: Path) -> None:
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version > VERSION:
            raise CorruptStore(
                f"{path} was written by a newer Hyperhive (format {version}, this one knows "
                f"{VERSION}). Nothing was changed. Install the newer version again."
            )
        if version:
            (verdict,) = self._db.execute("pragma quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        if version:
            self.records()
        else:
            self._db.executescript(f"begin;{SCHEMA}pragma user_version = {VERSION};commit;")

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

    def save(self, record: Record, notice: Notice | None = None) -> None:
        """Write `record`, and `notice` in the same transaction: both are kept, or none is."""
        row = [getattr(record, column) for column in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        self._db.execute("begin immediate")
        try:
            self._db.execute(
                f"insert or replace into agent ({', '.join(_COLUMNS)}) values ({marks})",  # noqa: S608
                [str(value) if isinstance(value, Phase) else value for value in row],
            )
            if notice:
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
        query = "select kind, body, dedupe_key, number from notice order by number"
        return [Notice(*row) for row in self._db.execute(query)]

    def drop_notice(self, notice: Notice) -> None:
        """It was handed over."""
        self._db.execute("delete from notice where number = ?", (notice.number,))

    def _insert(self, notice: Notice) -> None:
        self._db.execute(
            "insert or ignore into notice (kind, body, dedupe_key) values (?, ?, ?)",
            (notice.kind, notice.body, notice.dedupe_key),
        )
        self._db.execute(
            "delete from notice where number <= (select max(number) from notice) - ?",
            (MAX_NOTICES,),
        )


_COLUMNS: Final = (
    "name", "uid_base", "machine_id", "phase", "model", "enabled", "seen", "excused", "boot",
)  # fmt: skip
_SELECT: Final = f"select {', '.join(_COLUMNS)} from agent"  # noqa: S608


def _record(row: tuple[Any, ...]) -> Record:
    values = dict(zip(_COLUMNS, row, strict=True))
    try:
        values["phase"] = Phase(values["phase"])
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    values["enabled"] = bool(values["enabled"])
    return Record(**values)
