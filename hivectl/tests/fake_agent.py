# ruff: noqa: N802 -- D-Bus members are PascalCase
"""A fake agent."""

from typing import TYPE_CHECKING

from wire import names
from wire.interface import Interface, method, prop
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.lifecycle import AgentState, Network, ResourceChanges, Resources, TurnState, Usage
from wire.types import Bool, Dict, Int64, ObjectPath, Str, StrList, UInt32, UInt64

if TYPE_CHECKING:
    from hivectl.tests.fake_hive import FakeLifecycle

SINCE = 1_700_000_000_123_456
COMMIT = "0123456789abcdef" * 2 + "01234567"


class FakeAgent(Interface, name=names.AGENT_INTERFACE):
    def __init__(self, lifecycle: "FakeLifecycle", name: str) -> None:
        self._lifecycle = lifecycle
        self._name = name
        self.model = "claude-x"
        self.resources = Resources(tasks_max=4096)
        self.network = Network(deny=["any"], allow=["192.0.2.7"], filtered=True)
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
    def State(self) -> AgentState:
        return AgentState.RUNNING

    @prop()
    def Since(self) -> Int64:
        return SINCE

    @prop()
    def InvocationId(self) -> Str:
        return "ab" * 16

    @prop()
    def TurnState(self) -> TurnState:
        return TurnState.IDLE

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
    def Network(self) -> Network:
        return self.network

    @prop()
    def Resources(self) -> Resources:
        return self.resources

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
        changes = decode(ResourceChanges, resources)
        self._lifecycle.calls.append(("limit", self._name, changes))
        self.resources = self.resources._replace(
            **{key: value for key, value in changes._asdict().items() if value is not None}
        )

    @method(allow=OPERATOR)
    async def GetUsage(self) -> Usage:
        return Usage(memory=3 * 2**20, cpu=1_500_000)
