"""org.hyperhive.Dashboard1: login links, sessions, and targets of notifications."""

from services.dashboard.http.push_targets import PushTargets
from services.dashboard.http.sessions import Sessions
from wire import names
from wire.errors import InvalidArgument
from wire.interface import Interface, method, signal
from wire.principal import OPERATOR, service
from wire.records.dashboard import PushTarget, Role, Session
from wire.types import Str, UInt64

NOTIFY = service("notify")


class Dashboard1(Interface, name=names.DASHBOARD):
    """Forwards to the sessions and the targets of notifications."""

    def __init__(self, sessions: Sessions, targets: PushTargets, base_url: str) -> None:
        self._sessions = sessions
        self._targets = targets
        self._base_url = base_url
        targets.on_changed = self.PushTargetsChanged

    @method(allow=OPERATOR)
    async def LoginLink(self, role: Str) -> Str:
        if role not in list(Role):
            raise InvalidArgument(f"{role[:32]!r} is not a role: {', '.join(Role)}.")
        return f"{self._base_url}/login#token={self._sessions.create_token(Role(role))}"

    @method(allow=OPERATOR)
    async def ListSessions(self) -> list[Session]:
        return [session for _, session in self._sessions.rows()]

    @method(allow=OPERATOR)
    async def RevokeSession(self, id: UInt64) -> None:
        self._sessions.revoke(id)

    @method(allow=NOTIFY)
    async def PushKey(self) -> Str:
        return self._targets.private_key()

    @method(allow=NOTIFY)
    async def ListPushTargets(self) -> list[PushTarget]:
        return self._targets.targets()

    @method(allow=NOTIFY)
    async def ForgetPushTarget(self, id: UInt64) -> None:
        self._targets.forget(id)

    @signal()
    def PushTargetsChanged(self) -> None: ...
