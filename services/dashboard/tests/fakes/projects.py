"""The service of projects, as far as the dashboard calls it."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
import hmac

from wire import names
from wire.errors import AccessDenied
from wire.interface import Interface, method
from wire.principal import EVERYBODY
from wire.types import Bytes, Dict, Str

SECRET = b"a secret of the forge"


class FakeProjects(Interface, name=names.PROJECTS):
    """Takes the webhooks that Forgejo has signed with SECRET."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.at_once = 0
        self.go_on = asyncio.Event()
        """Set, unless a test lets webhooks wait."""
        self.go_on.set()
        self._running = 0

    @method(allow=EVERYBODY)
    async def ReceiveHook(self, name: Str, headers: Dict, body: Bytes) -> None:
        self._running += 1
        self.at_once = max(self.at_once, self._running)
        try:
            await self.go_on.wait()
        finally:
            self._running -= 1
        self.received.append((name, headers, body))
        if headers.get("x_forgejo_signature") != sign(body):
            raise AccessDenied("the signature is wrong")


def sign(body: bytes) -> str:
    return hmac.digest(SECRET, body, "sha256").hex()
