"""Questions by their IDs, and how they end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from hivectl.clients.changes import changes
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.errors import NotFound, Stopping, Unavailable
from wire.records.broker import Question, QuestionFilter, QuestionState


class Questions:
    """The questions of a hive."""

    def __init__(self, bus: Bus, broker: BrokerClient) -> None:
        self._bus = bus
        self._broker = broker

    async def get(self, number: int) -> Question:
        """Return the question `number`.

        Raises:
            NotFound: there is no such question.
        """
        wanted = QuestionFilter(after=number - 1, before=number + 1)
        for question in await self._broker.list_questions(wanted, 1):
            return question
        raise NotFound(f"There is no question {number}; `hivectl questions --all` shows them.")

    @asynccontextmanager
    async def watch(self) -> AsyncIterator["EndedQuestions"]:
        """Watch how the operator's questions end.

        Enter the context *before* asking: a quick end is missed otherwise.
        """
        async with changes(self._bus, "QuestionResolved", names.OPERATOR) as changed:
            yield EndedQuestions(self, changed)


class EndedQuestions:
    """The ends of the operator's questions since the watch began."""

    def __init__(self, questions: Questions, changed: asyncio.Event) -> None:
        self._questions = questions
        self._changed = changed

    async def end_of(self, number: int, seconds: float) -> Question:
        """Return the question `number` once it is not open any more, or, open, after `seconds`."""
        question = await self._questions.get(number)
        with suppress(TimeoutError):  # The state of the question tells it.
            async with asyncio.timeout(seconds):
                while question.state is QuestionState.OPEN:
                    await self._changed.wait()
                    self._changed.clear()
                    with suppress(Unavailable, Stopping):  # a broker that starts sets the event
                        question = await self._questions.get(number)
        return question
