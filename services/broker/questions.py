"""The rules of questions: who may ask whom, and who may answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.broker.broker import Broker
from services.broker.database import Database
from wire.principal import Principal


class Questions:
    """Questions between agents and the operator, with an answer for each of them."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker

    async def ask(self, who: Principal, to: str, text: str, options: Mapping[str, Any]) -> int:
        """Ask `to`; returns the question's id once it is on disk."""
        raise NotImplementedError

    async def answer(self, who: Principal, question_id: int, answer: Sequence[str]) -> None:
        """Answer a question; its asker gets a message."""
        raise NotImplementedError

    async def cancel(self, who: Principal, question_id: int) -> None:
        """Take a question back."""
        raise NotImplementedError
