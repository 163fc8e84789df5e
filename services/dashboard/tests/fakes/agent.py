"""A fake of an agent, as lifecycle exports it."""

# ruff: noqa: N802 - D-Bus members are PascalCase

from services.dashboard.tests.fakes.now import NOW
from wire import fake_agent, names
from wire.errors import Conflict, Unavailable
from wire.interface import method
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.lifecycle import (
    AgentState,
    CancelOptions,
    LoginPage,
    Network,
    ResourceChanges,
    Resources,
    TurnState,
    Usage,
)
from wire.types import Dict, ObjectPath, Str, StrList, UInt32, UInt64


class FakeAgent(fake_agent.FakeAgent, name=names.AGENT_INTERFACE):
    def __init__(self, name: str, state: str = "running") -> None:
        super().__init__(
            fake_agent.properties(
                name,
                machine=f"hive-{name}",
                unit=f"systemd-nspawn@hive-{name}.service",
                state=AgentState(state),
                since=NOW,
                turn_state=TurnState.IDLE if state == "running" else TurnState.OFFLINE,
                turn_since=NOW,
                model="claude-test",
                context_tokens=1234,
                resources=Resources(memory_max=2 * 2**30, tasks_max=4096),
                network=Network(
                    deny=["localhost", "10.0.0.0/8"],
                    allow=["10.0.0.1"],
                    name_servers=[],
                    filtered=True,
                ),
                port=8123,
                deployed_commit="0123456789abcdef" * 2,
            )
        )
        self.calls: list[str] = []
        self.refuses = False
        """Whether its jobs are refused."""
        self.limits: list[dict[str, object]] = []
        self.usage = Usage(cpu=1_500_000, memory=50 * 2**20, memory_peak=3 * 2**30)
        self.commands: list[tuple[object, ...]] = []
        self.refusal = ""
        """The reason why commands are refused."""
        self.away = ""
        """The reason why commands do not reach the harness."""
        self.login = 7
        """The number of the login that runs, or of the next one."""
        self.address = "https://claude.com/cai/oauth/authorize?code=true&state=s1"
        self.usages = 0
        self.lines = [f"{name} line {number}" for number in range(150)]

    def become(self, state: str) -> None:
        self.show(state=AgentState(state))

    def _command(self, *command: object) -> str:
        if self.away:
            raise Unavailable(self.away)
        if self.refusal:
            raise Conflict(self.refusal)
        self.commands.append(command)
        return f"{command[0]} is done."

    @method(allow=OPERATOR)
    async def CancelTurn(self, options: Dict) -> Str:
        return self._command("cancel", decode(CancelOptions, options).requeue)

    @method(allow=OPERATOR)
    async def Compact(self) -> Str:
        return self._command("compact")

    @method(allow=OPERATOR)
    async def NewSession(self) -> Str:
        return self._command("new-session")

    @method(allow=OPERATOR)
    async def SetModel(self, model: Str) -> Str:
        return self._command("model", model)

    @method(allow=OPERATOR)
    async def SetEffort(self, effort: Str) -> Str:
        return self._command("effort", effort)

    @method(allow=OPERATOR)
    async def BeginLogin(self) -> LoginPage:
        self._command("login")
        return LoginPage(self.login, self.address)

    @method(allow=OPERATOR)
    async def EnterLoginCode(self, login: UInt64, code: Str) -> Str:
        if login != self.login:
            raise Conflict("This login is over. Begin a new one.")
        self._command("login-code", login, code)
        self.login += 1
        return "alice is logged in."

    @method(allow=OPERATOR)
    async def CancelLogin(self, login: UInt64) -> Str:
        self._command("login-cancel", login)
        self.login += 1
        return "The login was cancelled."

    @method(allow=OPERATOR)
    async def GetUsage(self) -> Usage:
        self.usages += 1
        if self.shown.state is not AgentState.RUNNING:
            return Usage()
        return self.usage

    @method(allow=OPERATOR)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return self.lines[-lines:]

    def _job(self, verb: str) -> str:
        if self.refuses:
            raise Conflict(f"{self.shown.name} is busy.")
        self.calls.append(verb)
        return names.job_path(1)

    @method(allow=OPERATOR)
    async def Start(self) -> ObjectPath:
        return self._job("start")

    @method(allow=OPERATOR)
    async def Stop(self) -> ObjectPath:
        return self._job("stop")

    @method(allow=OPERATOR)
    async def Kill(self) -> ObjectPath:
        return self._job("kill")

    @method(allow=OPERATOR)
    async def Restart(self) -> ObjectPath:
        return self._job("restart")

    @method(allow=OPERATOR)
    async def Rebuild(self) -> ObjectPath:
        return self._job("rebuild")

    @method(allow=OPERATOR)
    async def Update(self) -> ObjectPath:
        return self._job("update")

    @method(allow=OPERATOR)
    async def Pause(self) -> None:
        self._job("pause")
        self.become("paused")

    @method(allow=OPERATOR)
    async def Resume(self) -> None:
        self._job("resume")
        self.become("running")

    @method(allow=OPERATOR)
    async def SetResources(self, resources: Dict) -> None:
        changes = {
            key: value
            for key, value in decode(ResourceChanges, resources)._asdict().items()
            if value is not None
        }
        self.limits.append(changes)
