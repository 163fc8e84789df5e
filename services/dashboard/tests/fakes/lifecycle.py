"""A fake of lifecycle, and of a job."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
from typing import Any

from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.errors import InvalidArgument
from wire.interface import Interface, method, prop, signal
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.lifecycle import LogEntry, LogFilter, Tombstone
from wire.types import Bool, Dict, ObjectPath, Str, StrList, UInt32


class FakeLifecycle(Interface, name=names.LIFECYCLE):
    def __init__(self) -> None:
        self.destroyed: list[tuple[str, bool]] = []
        self.kept: list[Tombstone] = []
        self.orders: list[tuple[str, str]] = []
        self.lines: list[LogEntry] = []
        self.wanted: list[LogFilter] = []
        self._logged = asyncio.Event()

    def write(self, message: str, **values: Any) -> None:
        """Write a line of the journal."""
        number = len(self.lines) + 1
        unit = "hive-broker.service"
        line = LogEntry(f"c{number}", NOW + number, 6, unit, "hive-broker", 7, message)
        self.lines.append(line._replace(**values))
        self._logged.set()
        self._logged = asyncio.Event()

    @method(allow=OPERATOR)
    async def ReadLogs(self, filter: Dict, limit: UInt32) -> list[LogEntry]:
        wanted = decode(LogFilter, filter)
        self.wanted.append(wanted)
        while True:
            logged, found = self._logged, list(self.lines)
            places = [line.cursor for line in found]
            for place in (wanted.before, wanted.after):
                if place and place not in places:
                    raise InvalidArgument(f"{place!r} is not a cursor.")
            if wanted.before:
                found = found[: places.index(wanted.before)]
            if wanted.after:
                found = found[places.index(wanted.after) + 1 :]
            found = [one for one in found if one.priority <= (wanted.priority or 7)]
            found = [one for one in found if wanted.unit in (None, one.unit)]
            found = [one for one in found if wanted.text in one.message]
            if found or not wanted.wait:
                return found[-limit:]
            await logged.wait()

    @method(allow=OPERATOR)
    async def Destroy(self, name: Str, purge: Bool) -> ObjectPath:
        self.destroyed.append((name, purge))
        return names.job_path(3)

    @method(allow=OPERATOR)
    async def ListTombstones(self) -> list[Tombstone]:
        return self.kept

    @method(allow=OPERATOR)
    async def PurgeTombstone(self, name: Str) -> ObjectPath:
        return self._order("purge", name)

    @method(allow=OPERATOR)
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:
        return self._order("spawn", name)

    def _order(self, verb: str, name: str) -> str:
        """Do at once what the job does."""
        self.orders.append((verb, name))
        self.kept = [kept for kept in self.kept if kept.name != name]
        job = names.job_path(3)
        self.JobNew(3, job, name, verb)
        self.JobRemoved(3, job, name, verb, "done", "")
        return job

    @signal()
    def JobNew(self, id: UInt32, job: ObjectPath, agent: Str, verb: Str) -> None: ...

    @signal()
    def JobRemoved(
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, error: Str
    ) -> None: ...


class FakeJob(Interface, name=names.JOB_INTERFACE):
    def __init__(self, agent: str, verb: str, lines: list[str]) -> None:
        self.agent = agent
        self.verb = verb
        self.lines = lines
        self.state = "running"

    @method(allow=OPERATOR)
    async def Cancel(self) -> None:
        self.state = "cancelling"
        self.emit_changed("State")

    @method(allow=OPERATOR)
    async def GetOutput(self) -> StrList:
        return self.lines

    @prop(const=True)
    def Id(self) -> UInt32:
        return 2

    @prop(const=True)
    def Agent(self) -> Str:
        return self.agent

    @prop(const=True)
    def Verb(self) -> Str:
        return self.verb

    @prop()
    def State(self) -> Str:
        return self.state

    @signal()
    def Output(self, lines: StrList) -> None: ...

    def print(self, *lines: str) -> None:
        """Tell further lines of the work."""
        self.lines += lines
        self.Output(list(lines))
