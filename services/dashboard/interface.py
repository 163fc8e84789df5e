"""org.hyperhive.Dashboard1: login links for the operator."""

from services.dashboard.http.sessions import Sessions
from wire import names
from wire.interface import Interface, method
from wire.principal import OPERATOR
from wire.types import Str


class Dashboard1(Interface, name=names.DASHBOARD):
    """Forwards to the sessions."""

    def __init__(self, sessions: Sessions, base_url: str) -> None:
        self._sessions = sessions
        self._base_url = base_url

    @method(allow=OPERATOR)
    async def LoginLink(self) -> Str:
        return f"{self._base_url}/login#token={self._sessions.create_token()}"
