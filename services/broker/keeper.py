"""Keeps the store in order: throws away what is old, and makes copies."""

from services.broker.database import Database


class Keeper:
    """Retention and backups."""

    def __init__(self, database: Database, keep_days: int) -> None:
        self._database = database
        self._keep_days = keep_days

    async def vacuum(self) -> int:
        """Delete what is done and old; returns how many rows that were."""
        raise NotImplementedError

    async def backup(self, path: str) -> str:
        """Copy the store to `path` while it is used; returns where that is."""
        raise NotImplementedError
