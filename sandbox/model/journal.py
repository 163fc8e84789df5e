"""The journal of the requests: tests and benches ask it instead of reading the log."""

import asyncio
import time
from collections import deque
from typing import Final

from sandbox.model.conversation import Conversation
from sandbox.model.jsonvalues import JsonObject
from sandbox.model.script import Answer

KEPT: Final = 10_000


class Journal:
    """The last requests, with increasing numbers."""

    def __init__(self) -> None:
        self._entries: deque[JsonObject] = deque(maxlen=KEPT)
        self._number = 0
        self._changed = asyncio.Condition()

    async def add(self, asked: Conversation, answer: Answer, streamed: bool) -> None:
        """Add a request, at the time when it is there with its whole body."""
        self._number += 1
        entry = {
            "number": self._number,
            "at": time.time(),
            "agent": asked.agent,
            "model": asked.model,
            "tokens": asked.tokens,
            "compaction": asked.compaction,
            "messages": [wake.id for wake in asked.wakes if wake.id],
            "rounds": len(asked.rounds),
            "rule": answer.rule,
            "answer": summary(answer),
            "streamed": streamed,
        }
        self._entries.append(entry)
        async with self._changed:
            self._changed.notify_all()

    async def after(self, number: int, wait: float) -> list[JsonObject]:
        """Return the requests after `number`; wait up to `wait` seconds for the first."""
        async with self._changed:
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait_for(lambda: self._number > number)
            except TimeoutError:
                return []
        return [entry for entry in self._entries if entry["number"] > number]


def summary(answer: Answer) -> str:
    """Return the answer in a word: the called tools, the status of a failure, or `text`."""
    if answer.refusal:
        return str(answer.refusal.status)
    if answer.breaks:
        return f"a stream that breaks: {answer.breaks.how}"
    return ", ".join(tool for tool, _ in answer.calls) or "text"
