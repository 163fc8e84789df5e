"""The errands: work on the session between turns."""

import asyncio
import logging
import time
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from harness.claude.failures import TurnError
from harness.config import Source
from harness.notes import Notes, NotesError
from harness.prompts import news
from harness.turns.credential_watch import CredentialWatch
from harness.turns.parts import Parts
from harness.turns.runner import TurnRunner
from harness.turns.state import State
from harness.turns.turn import Turn

if TYPE_CHECKING:
    from claude_agent_sdk import Message

    from harness.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

MIN_IDLE_TOKENS: Final = 20_000
"""A smaller context is not worth a compaction when the session idles."""


class Errand(StrEnum):
    """Something to do while no turn runs."""

    COMPACT = "compact"
    NEW_SESSION = "new session"
    CLOSE = "close"
    NOTES = "notes"


class Errands:
    """The errands that are due, and those that the idle session will need.

    Attributes:
        new_session_by: The one who has ordered the new session that is due.
    """

    def __init__(
        self,
        parts: Parts,
        runner: TurnRunner,
        notes: Notes,
        credentials: CredentialWatch,
        telemetry: "Telemetry | None",
    ) -> None:
        self._config = parts.config
        self._claude = parts.claude
        self._store = parts.store
        self._reporter = parts.reporter
        self._runner = runner
        self._notes = notes
        self._credentials = credentials
        self._telemetry = telemetry
        self._due: deque[Errand] = deque()
        self._context_tokens = 0
        self._idle_since = asyncio.get_running_loop().time()
        self._compacted_idle = True
        self.new_session_by = "operator"

    @property
    def are_due(self) -> bool:
        """Whether there is one to do now."""
        return bool(self._due)

    def add(self, errand: Errand) -> None:
        """Have an errand done as soon as no turn runs."""
        if errand not in self._due:
            self._due.append(errand)

    def turn_done(self, context_tokens: int) -> None:
        """Add the errands that a turn has made necessary.

        Args:
            context_tokens: the tokens in the context; 0 if the turn has not shown them.
        """
        self._context_tokens = context_tokens or self._context_tokens
        self._compacted_idle = False
        limit = self._config.compact_over_tokens
        if limit and self._context_tokens > limit:
            self.add(Errand.COMPACT)
        if self._notes.outgrown:
            self.add(Errand.NOTES)

    def idle_from_now(self) -> None:
        """Let the time begin in which the session is idle."""
        self._idle_since = asyncio.get_running_loop().time()

    def when_idle(self) -> tuple[float | None, Errand | None]:
        """Return when an errand is due if no message arrives, and which."""
        idle = asyncio.get_running_loop().time() - self._idle_since
        due: list[tuple[float, Errand]] = []
        if self._claude.is_open:
            due.append((self._config.session_idle - idle, Errand.CLOSE))
        after = self._config.compact_idle_after
        if after and not self._compacted_idle and self._context_tokens >= MIN_IDLE_TOKENS:
            due.append((after - idle, Errand.COMPACT))
        if not due:
            return None, None
        seconds, errand = min(due)
        return time.time() + max(0.0, seconds), errand

    async def do_next(self) -> None:
        """Do the errand that is due first."""
        match self._due.popleft():
            case Errand.CLOSE:
                log.info("closing Claude Code")
                await self._claude.close()
            case Errand.NEW_SESSION:
                by = self.new_session_by
                self._runner.note(f"The {by} has begun a new session.", "info")
                await self._runner.forget_session(news.new_session(by))
                self._context_tokens = 0
            case Errand.COMPACT:
                await self._compact()
            case Errand.NOTES:
                await self._condense_notes()

    async def _compact(self) -> None:
        self._compacted_idle = True
        if self._claude.id is None or self._credentials.source is Source.NONE:
            return
        try:
            self._context_tokens = await self._runner.compact("while no turn runs")
        except TurnError as exc:
            self._runner.note(f"The context could not be compacted: {exc}.")
            if not exc.alive:
                await self._claude.close()

    async def _condense_notes(self) -> None:
        """Condense the notes in a session of their own, shown as a turn without messages."""
        from claude_agent_sdk import SystemMessage

        self._reporter.enter(State.COMPACTING, "condensing the notes")
        turn = Turn(self._store, (), self._telemetry)

        def observe(message: "Message") -> None:
            if not isinstance(message, SystemMessage):  # the agent's session is another one
                turn.observe(message)

        try:
            before, after = await self._notes.condense(observe)
        except NotesError as exc:
            turn.end("failed", str(exc))
            self._runner.note(f"The notes were not condensed: {exc}.")
        except BaseException as exc:  # cancelled, or a bug
            turn.end("cancelled", type(exc).__name__)
            raise
        else:
            turn.end("done")
            text = f"The notes were condensed from {before} to {after} bytes; notes-old has a copy."
            self._runner.note(text, "info")
        self._reporter.enter(State.IDLE)
