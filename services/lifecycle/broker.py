"""The broker, as far as lifecycle needs it."""

from collections.abc import Callable
from typing import Protocol

from services.lifecycle.notices.notice import Notice
from wire.records.broker import Hold, HoldsChanged


class Broker(Protocol):
    """The operations of the broker that lifecycle uses."""

    async def register(self, name: str) -> None:
        """Create the inbox of `name`. An existing inbox is kept."""

    async def unregister(self, name: str) -> None:
        """Remove the inbox of `name`. A missing inbox is not an error."""

    async def send(self, notice: Notice) -> None:
        """Hand one message over to its recipient."""

    async def waiting(self) -> set[str]:
        """Return the agents that have queued or leased messages."""

    async def listen(self, name: str, told: Callable[[], None]) -> None:
        """Call `told` for each message to `name`. A second call changes nothing."""

    async def ignore(self, name: str) -> None:
        """Undo `listen`. Ignoring a name that is not listened for is not an error."""

    async def limit_attempts(self, name: str, attempts: int | None) -> None:
        """Set how often a message to `name` is handed out; None for the configuration's value."""

    async def holds(self) -> list[Hold]:
        """Return the held agents."""

    async def follow_holds(self, changed: Callable[[HoldsChanged], None]) -> None:
        """Call `changed` from now on for each hold that begins or ends."""

    async def hold(self, name: str, text: str) -> None:
        """Hold an agent, and ask the operator whether it goes on."""
