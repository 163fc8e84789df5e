"""The export of a turn, piece by piece: it needs no more memory than one page of events.

The texts of a hostile harness take seconds to escape. So a thread does that, and who exports can go
on with other work.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import StrEnum
from typing import Final, Protocol

from wire.agent_web.client import AgentWeb, JsonObject
from wire.errors import NotFound
from wire.turn_export.lines import JsonLines
from wire.turn_export.page import HtmlPage

MAX_BYTES: Final = 2**30
"""The bytes after which an export ends: a hostile harness could go on for ever."""


class Form(StrEnum):
    """The formats of an export; the values are the endings of the names of files."""

    JSONL = "jsonl"
    HTML = "html"


MEDIA_TYPES: Final = {Form.JSONL: "application/x-ndjson", Form.HTML: "text/html"}


class Writer(Protocol):
    """A format: the texts of the parts of a file."""

    def head(self, agent: str, turn: JsonObject) -> str:
        """Return the beginning of the file."""

    def event(self, event: JsonObject) -> str:
        """Return an event."""

    def end(self, left_out: str) -> str:
        """Return the end of the file; `left_out` says which events are not in it, or is empty."""


def file_name(agent: str, turn: int, form: Form) -> str:
    """Return the name of the file of a turn."""
    return f"{agent}-turn-{turn}.{form}"


class Export:
    """The export of one turn."""

    def __init__(
        self, web: AgentWeb, agent: str, turn: int, form: Form, most: int = MAX_BYTES
    ) -> None:
        """Make the export.

        Args:
            web: the harnesses.
            agent: the agent.
            turn: the number of the turn.
            form: the format.
            most: the bytes after which it ends.
        """
        self._web = web
        self._agent = agent
        self._turn = turn
        self._writer: Writer = HtmlPage() if form is Form.HTML else JsonLines()
        self._most = most
        self.form = form
        """The format."""
        self.file_name = file_name(agent, turn, form)
        """The name of the file."""
        self.events = 0
        """The events that are in it so far."""
        self.left_out = ""
        """A sentence about the events that are not in it, or nothing; known at its end."""

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Yield the texts of the file, in their order: the head, each event, and the end.

        Raises:
            NotFound: the harness has no such turn, or no events of it.
            HiveError: the harness is away, or does not answer as one.
        """
        figures = await self._web.get(self._agent, f"/v1/turns/{self._turn}")
        head = await asyncio.to_thread(self._writer.head, self._agent, figures)
        size = 0
        async with aclosing(self._web.pages(self._agent, self._turn)) as pages:
            async for page in pages:
                for text in await asyncio.to_thread(self._texts, page):
                    if size > self._most:
                        break
                    if not self.events:
                        yield head
                    self.events += 1
                    size += len(text)
                    yield text
                else:
                    continue
                self.left_out = (
                    f"The turn has more events. This export ends after {self.events}, because it "
                    f"has more than {self._most // 2**20} MiB."
                )
                break
        if not self.events:
            raise NotFound(
                f"{self._agent} has no events of turn {self._turn}: it keeps them for a few days."
            )
        yield self._writer.end(self.left_out)

    def _texts(self, page: list[JsonObject]) -> list[str]:
        return [self._writer.event(event) for event in page]
