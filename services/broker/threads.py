"""What is open: everything that somebody still waits for."""

from typing import Any

from services.broker.database import Database
from wire.principal import Principal


class Threads:
    """Open questions, messages, reminders and requests, in one list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, who: Principal) -> list[dict[str, Any]]:
        """What waits for `who`; for the manager and the operator, of the whole hive."""
        raise NotImplementedError
