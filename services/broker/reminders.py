"""The rules of reminders: what an agent or the operator wants to be told later."""

from collections.abc import Mapping
from typing import Any

from services.broker.broker import Broker
from services.broker.database import Database
from services.broker.reminder import Reminder
from wire.principal import Principal


class Reminders:
    """Messages to oneself that come when they are due."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker

    async def remind(self, who: Principal, due: int, body: str, options: Mapping[str, Any]) -> int:
        """Store a reminder; returns its id once it is on disk."""
        raise NotImplementedError

    async def cancel(self, who: Principal, reminder_id: int) -> None:
        """Take a pending reminder back."""
        raise NotImplementedError

    async def list(self, who: Principal, wanted: Mapping[str, Any], limit: int) -> list[Reminder]:
        """The newest `limit` reminders (1 to 1000) that match, oldest first."""
        raise NotImplementedError

    async def count(self, who: Principal) -> int:
        """How many of them are pending."""
        raise NotImplementedError
