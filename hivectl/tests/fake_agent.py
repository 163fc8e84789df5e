# ruff: noqa: N802 -- D-Bus members are PascalCase
"""A fake agent."""

from typing import TYPE_CHECKING

from wire import fake_agent, names
from wire.errors import Conflict
from wire.interface import method
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.lifecycle import (
    CancelOptions,
    LoginPage,
    Network,
    ResourceChanges,
    Resources,
    Usage,
)
from wire.types import Dict, ObjectPath, Str, StrList, UInt32, UInt64

if TYPE_CHECKING:
    from hivectl.tests.fake_hive import FakeLifecycle

SINCE = 1_700_000_000_123_456
COMMIT = "0123456789abcdef" * 2 + "01234567"


class FakeAgent(fake_agent.FakeAgent, name=names.AGENT_INTERFACE):
    def __init__(self, lifecycle: "FakeLifecycle", name: str) -> None:
        is_alice = name == "alice"
        super().__init__(
            fake_agent.properties(
                name,
                since=SINCE,
                invocation_id="ab" * 16,
                model="claude-x",
                context_tokens=1234,
                logged_in=False,
                credential="login",
                resources=Resources(tasks_max=4096),
                network=Network(
                    deny=["any"], allow=["192.0.2.7"], name_servers=["10.0.0.53"], filtered=True
                ),
                image="/srv/small" if is_alice else "/",
                port=8100,
                deployed_commit=COMMIT if is_alice else "",
            )
        )
        self._lifecycle = lifecycle
        self._name = name
        self._cpu = 1_500_000
        self.cpu_step = 0
        """The microseconds of processor time between two looks."""
        self.steered: list[tuple[object, ...]] = []
        self.sentence = "It was writing a poem."
        self.refusal: Exception | None = None
        self.login_page = "https://claude.com/cai/oauth/authorize?a=b"

    def _steer(self, *call: object) -> str:
        if self.refusal:
            raise self.refusal
        self.steered.append(call)
        self._lifecycle.on_steer(str(call[0]))
        return self.sentence

    @method(allow=OPERATOR)
    async def CancelTurn(self, options: Dict) -> Str:
        return self._steer("cancel", decode(CancelOptions, options).requeue)

    @method(allow=OPERATOR)
    async def Compact(self) -> Str:
        return self._steer("compact")

    @method(allow=OPERATOR)
    async def NewSession(self) -> Str:
        return self._steer("new-session")

    @method(allow=OPERATOR)
    async def ResetProject(self, project: Str) -> Str:
        return self._steer("reset-project", project)

    @method(allow=OPERATOR)
    async def SetModel(self, model: Str) -> Str:
        return self._steer("model", model)

    @method(allow=OPERATOR)
    async def SetEffort(self, effort: Str) -> Str:
        return self._steer("effort", effort)

    @method(allow=OPERATOR)
    async def BeginLogin(self) -> LoginPage:
        self._steer("login")
        return LoginPage(4, self.login_page)

    @method(allow=OPERATOR)
    async def EnterLoginCode(self, login: UInt64, code: Str) -> Str:
        if code == "bad":
            raise Conflict("The login failed: \x1b[2J no such code, see http://evil.example/x")
        return self._steer("login-code", f"{login} {code}")

    @method(allow=OPERATOR)
    async def CancelLogin(self, login: UInt64) -> Str:
        return self._steer("login-cancel", str(login))

    @method(allow=OPERATOR)
    async def Start(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "start")

    @method(allow=OPERATOR)
    async def Stop(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "stop")

    @method(allow=OPERATOR)
    async def Kill(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "kill")

    @method(allow=OPERATOR)
    async def Restart(self) -> ObjectPath:
        return self._lifecycle.job(self._name, "restart")

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
        given = {key: value for key, value in changes._asdict().items() if value is not None}
        self.show(resources=self.shown.resources._replace(**given))

    @method(allow=OPERATOR)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return [f"line {number} \x1b[31m" for number in range(lines)]

    @method(allow=OPERATOR)
    async def GetUsage(self) -> Usage:
        self._cpu += self.cpu_step
        return Usage(memory=3 * 2**20, cpu=self._cpu, disk=9 * 2**30)
