"""Fakes of systemd and machined on a private bus, with the members that lifecycle uses."""
# ruff: noqa: N802  (members of D-Bus interfaces are PascalCase)

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from wire.bus import Bus
from wire.clients import machined as machined_api
from wire.clients import systemd as systemd_api
from wire.errors import Unavailable
from wire.interface import Interface, method, prop, signal
from wire.principal import EVERYBODY
from wire.types import Bool, Bytes, Int32, ObjectPath, Signature, Str, StrList, UInt32, UInt64

Changes = Annotated[list[list[str]], Signature("a(sss)")]
Properties = Annotated[list[list[Any]], Signature("a(sv)")]


class Unit(Interface, name=systemd_api.UNIT):
    """The Unit interface of a service."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    @prop()
    def ActiveState(self) -> Str:
        return str(self.values["active"])

    @prop()
    def InvocationID(self) -> Bytes:
        return bytes.fromhex(self.values["invocation"])

    @prop()
    def StateChangeTimestamp(self) -> UInt64:
        return 7

    @prop()
    def ActiveExitTimestamp(self) -> UInt64:
        return int(self.values.get("left", 0))


class Service(Interface, name=systemd_api.SERVICE):
    """The Service interface of a service."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    @prop()
    def Result(self) -> Str:
        return str(self.values["result"])

    @prop()
    def ExecMainCode(self) -> Int32:
        return int(self.values["code"])

    @prop()
    def ExecMainStatus(self) -> Int32:
        return int(self.values["status"])


class Machined(Interface, name=machined_api.MANAGER):
    """The manager object of machined."""

    @signal()
    def MachineRemoved(self, machine: Str, path: ObjectPath) -> None: ...


class Manager(Interface, name=systemd_api.MANAGER):
    """The manager object of systemd. A job ends before its call returns, as fast jobs do."""

    def __init__(self, bus: Bus) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.result = "done"
        self.starting: Callable[[str], None] = lambda _unit: None
        self.state = "running"
        self.limited: dict[str, dict[str, Any]] = {}
        self.units: dict[str, tuple[Unit, Service]] = {}
        self.stuck = False
        self.reloads = True
        self.most_at_once = 0
        self._at_once = 0
        self._bus = bus
        self._jobs = 0

    def unit(self, name: str) -> None:
        """Create a unit."""
        values = {
            "active": "inactive", "invocation": "", "result": "success", "code": 0, "status": 0,
        }  # fmt: skip
        unit, service = Unit(values), Service(values)
        self._bus.export(systemd_api.unit_path(name), unit)
        self._bus.export(systemd_api.unit_path(name), service)
        self.units[name] = (unit, service)

    def change(self, name: str, **values: Any) -> None:
        """Change a unit and emit the signals in systemd's order."""
        unit, service = self.units[name]
        unit.values.update(values)
        service.emit_changed("Result", "ExecMainCode", "ExecMainStatus")
        unit.emit_changed("ActiveState", "InvocationID", "StateChangeTimestamp")

    @method(allow=EVERYBODY)
    async def Subscribe(self) -> None:
        self.calls.append(("Subscribe",))

    @method(allow=EVERYBODY)
    async def Reload(self) -> None:
        self.calls.append(("Reload",))
        if not self.reloads:
            raise Unavailable("systemd does not read its unit files.")

    @method(allow=EVERYBODY)
    async def KillUnit(self, name: Str, whom: Str, signal: Int32) -> None:
        self.calls.append(("KillUnit", name, whom, str(signal)))

    @method(allow=EVERYBODY)
    async def ResetFailedUnit(self, name: Str) -> None:
        self.calls.append(("ResetFailedUnit", name))

    @method(allow=EVERYBODY)
    async def StartUnit(self, name: Str, mode: Str) -> ObjectPath:
        self.starting(name)
        if name in self.units and self.result == "done":
            self.change(name, active="active", invocation="ab" * 16, result="success")
        return self._job("StartUnit", name)

    @method(allow=EVERYBODY)
    async def StopUnit(self, name: Str, mode: Str) -> ObjectPath:
        if name in self.units:
            self.change(name, active="inactive")
        return self._job("StopUnit", name)

    @method(allow=EVERYBODY)
    async def SetUnitProperties(self, name: Str, runtime: Bool, properties: Properties) -> None:
        self.limited[name] = dict(properties)

    @method(allow=EVERYBODY)
    async def RevertUnitFiles(self, files: StrList) -> Changes:
        self.calls.append(("RevertUnitFiles", *files))
        self.limited = {name: set for name, set in self.limited.items() if name not in files}
        return []

    @method(allow=EVERYBODY)
    async def FreezeUnit(self, name: Str) -> None:
        await self._change("FreezeUnit", name)

    @method(allow=EVERYBODY)
    async def ThawUnit(self, name: Str) -> None:
        await self._change("ThawUnit", name)

    async def _change(self, member: str, name: str) -> None:
        self.calls.append((member, name))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(60 if self.stuck else 0.01)
        self._at_once -= 1

    @prop()
    def SystemState(self) -> Str:
        return self.state

    @prop()
    def UserspaceTimestamp(self) -> UInt64:
        return 42

    @signal()
    def JobRemoved(self, id: UInt32, job: ObjectPath, unit: Str, result: Str) -> None: ...

    def _job(self, verb: str, name: str) -> str:
        self.calls.append((verb, name))
        self._jobs += 1
        path = f"{systemd_api.SYSTEMD_PATH}/job/{self._jobs}"
        self.JobRemoved(self._jobs, path, name, self.result if verb == "StartUnit" else "done")
        return path
