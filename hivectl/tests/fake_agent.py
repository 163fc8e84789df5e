# ruff: noqa: N802 -- D-Bus members are PascalCase
"""An agent of paper."""

from typing import TYPE_CHECKING, Any

from wire import names
from wire.interface import Interface, method, prop
from wire.principal import OPERATOR
from wire.types import U64, Bool, Dict, Int64, ObjectPath, Str, StrList, UInt32, UInt64

if TYPE_CHECKING:
    from hivectl.tests.fake_hive import FakeLifecycle

SINCE = 1_700_000_000_123_456
COMMIT = "0123456789abcdef" * 2 + "01234567"


class FakeAgent(Interface, name=names.AGENT_INTERFACE):
    def __init__(self, lifecycle: "FakeLifecycle", name: str) -> None:
        self._lifecycle = lifecycle
        self._name = name
        self.model = "claude-x"
        self.limits: dict[str, Any] = {}
        self.network = {"deny": ["any"], "allow": ["192.0.2.7"], "filtered": True}
        self.port_shared: list[str] = []

    @method(allow=OPERATOR)
    async def Start(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "start")

    @method(allow=OPERATOR)
    async def Stop(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "stop")

    @method(allow=OPERATOR)
    async def Restart(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "restart")

    @prop(const=True)
    def Name(self) -> Str:
        return self._name

    @prop(const=True)
    def Machine(self) -> Str:
        return names.machine_name(self._name)

    @prop(const=True)
    def Unit(self) -> Str:
        return f"systemd-nspawn@{names.machine_name(self._name)}.service"

    @prop(const=True)
    def UidBase(self) -> UInt32:
        return 655360

    @prop()
    def Enabled(self) -> Bool:
        return True

    @prop()
    def State(self) -> Str:
        return "running"

    @prop()
    def Since(self) -> Int64:
        return SINCE

    @prop()
    def InvocationId(self) -> Str:
        return "ab" * 16

    @prop()
    def TurnState(self) -> Str:
        return "idle"

    @prop()
    def TurnSince(self) -> Int64:
        return 0

    @prop()
    def Model(self) -> Str:
        return self.model

    @prop()
    def ContextTokens(self) -> UInt64:
        return 1234

    @prop()
    def LoggedIn(self) -> Bool:
        return False

    @prop()
    def Network(self) -> Dict:
        return self.network

    @prop()
    def Resources(self) -> Dict:
        return {"tasks_max": U64(4096)} | self.limits

    @prop()
    def Stale(self) -> Bool:
        return False

    @prop()
    def Port(self) -> UInt32:
        return 8100

    @prop()
    def PortSharedWith(self) -> StrList:
        return self.port_shared

    @prop(const=True)
    def Image(self) -> Str:
        return "/srv/small" if self._name == "alice" else "/"

    @prop()
    def DeployedCommit(self) -> Str:
        return COMMIT if self._name == "alice" else ""

    @method(allow=OPERATOR)
    async def Rebuild(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "rebuild")

    @method(allow=OPERATOR)
    async def Update(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "update")

    @method(allow=OPERATOR)
    async def Pause(self) -> None:
        self._lifecycle.calls.append(("pause", self._name))

    @method(allow=OPERATOR)
    async def Resume(self) -> None:
        self._lifecycle.calls.append(("resume", self._name))

    @method(allow=OPERATOR)
    async def SetResources(self, resources: Dict) -> None:
        self._lifecycle.calls.append(("limit", self._name, resources))
        self.limits = {key: U64(value) for key, value in resources.items()}

    @method(allow=OPERATOR)
    async def GetUsage(self) -> Dict:
        return {"memory": U64(3 * 2**20), "cpu": U64(1_500_000)}
