"""The record of the agent's work: events, turns, the state. The agent's page shows it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from harness.events.events import Events
from harness.events.turns import Cause, Turns, TurnStats, midnight
from harness.jsonvalues import Json, JsonObject

log = logging.getLogger(__name__)

MAX_PARTIAL: Final = 80 * 1024
"""Characters of the text of the block that is being written; the beginning is dropped.

As JSON in ASCII they fit into a line of the stream, of which the host takes 1 MiB.
"""


ENDS_PARTIAL: Final = frozenset({"text", "thinking", "tool-use", "result", "turn-end"})
"""The events after which the text that was being written is complete, or given up."""


@dataclass(frozen=True)
class Status:
    """The state of the harness. `until` is in seconds since 1970, 0 if the state has no end."""

    state: str = "idle"
    since: float = 0.0
    reason: str = ""
    until: int = 0
    activity: str = ""
    model: str = ""
    effort: str = ""
    session: str = ""
    context_tokens: int = 0
    context_limit: int = 0


@dataclass
class Partial:
    """The text of the block that the model is writing; `kind` is `text` or `thinking`."""

    kind: str
    parts: list[str]
    length: int = 0

    @property
    def text(self) -> str:
        """The text up to now."""
        self.parts = ["".join(self.parts)[-MAX_PARTIAL:]]
        self.length = len(self.parts[0])
        return self.parts[0]


class EventStore:
    """Events, turns and the state. An error in recording them never stops a turn.

    Attributes:
        turn: The number of the running turn; None between turns.
        last_turn: The number of the last turn, until its open threads are counted.
        ended: Is set when a turn has ended.
        status: The state of the harness.
    """

    def __init__(self, state: Path) -> None:
        self.events = Events(state)
        self.turns = Turns(state)
        self.turns.interrupted()
        self._started = 0.0
        self._causes: tuple[Cause, ...] = ()
        self._watchers: set[asyncio.Event] = set()
        self._noted = ""
        self._session: JsonObject = {}
        self._woken = False
        self._thinking: JsonObject | None = None
        """The state of a turn whose `wake` is still to come: Claude Code starts meanwhile."""
        self.turn: int | None = None
        self.last_turn: int | None = None
        self.ended = asyncio.Event()
        self.status = Status(since=time.time())
        self._partial: Partial | None = None
        self._note_trouble()

    # --- recording ---------------------------------------------------------------------------

    def event(self, kind: str, **data: Json) -> int:
        """Add an event of the current turn; return its sequence number."""
        self._woken = self._woken or kind == "wake"
        thinking = self._thinking if kind in ("wake", "state", "turn-end") else None
        if thinking and kind != "wake":
            self._add_thinking(thinking)
        number = self.events.add(self.turn, kind, data)
        if thinking and kind == "wake":
            self._add_thinking(thinking)
        if kind in ENDS_PARTIAL:
            self._partial = None
        self._changed()
        return number

    def note(self, text: str, level: str = "info") -> None:
        """Add a note of the harness; `level` is `info`, `warning` or `error`."""
        self.event("note", text=text, level=level)

    def session(self, data: JsonObject) -> bool:
        """Add an event of the session if it differs from the last one; return whether it does.

        Claude Code describes its session at the beginning of each turn.
        """
        if data == self._session:
            return False
        self._session = data
        session = str(data.get("session_id"))
        self.event("session", **data, resumed=self.turns.session_cost(session) is not None)
        self.report(session=session)
        return True

    def report(self, **changes: Json) -> None:
        """Take over the state of the harness, in the words of its report to the hive.

        Args:
            changes: the fields of `Status`, with `turn_state` for `state`; others, and those that
                are None, are left out.
        """
        if "turn_state" in changes:
            changes["state"] = changes.pop("turn_state")
        known = asdict(self.status)
        given = {key: value for key, value in changes.items() if key in known and value is not None}
        status = replace(self.status, **given)
        if status == self.status:
            return
        if status.state != self.status.state:
            status = replace(status, since=time.time())
        old, self.status = self.status, status
        if (old.state, old.reason, old.until) != (status.state, status.reason, status.until):
            data: JsonObject = {
                "state": status.state,
                "reason": status.reason,
                "until": status.until,
            }
            if status.state == "thinking" and self.turn is not None and not self._woken:
                self._thinking = data
            else:
                self.event("state", **data)
        self._changed()

    def partial(self, kind: str, text: str) -> None:
        """Add to the text of the block that the model is writing; an event drops that text."""
        if self._partial is None or self._partial.kind != kind:
            self._partial = Partial(kind, [])
        self._partial.parts.append(text)
        self._partial.length += len(text)
        if self._partial.length > 2 * MAX_PARTIAL:
            _ = self._partial.text
        self._changed()

    def begin_block(self) -> None:
        """Drop the text that was being written: the model begins another block, or again."""
        self._partial = None

    def begin(self, causes: Sequence[Cause]) -> int:
        """Add a turn that these messages start; return its number."""
        self._causes, self._started = tuple(causes), time.time()
        self.events.recover()
        self.turn, self._woken = self.turns.begin(causes), False
        self._note_trouble()
        return self.turn

    def end(self, stats: TurnStats) -> None:
        """Complete the row of the current turn."""
        if self.turn is None:
            return
        stats.seconds = time.time() - self._started
        self.turns.end(self.turn, self._started, self._causes, stats)
        self.turn, self.last_turn = None, self.turn
        self.ended.set()
        self._changed()

    def close(self) -> None:
        """Close the files."""
        self.events.close()
        self.turns.close()

    # --- watching ----------------------------------------------------------------------------

    def watch(self, changed: asyncio.Event) -> None:
        """Set `changed` whenever there is an event, a state or a partial text."""
        self._watchers.add(changed)

    def unwatch(self, changed: asyncio.Event) -> None:
        """End `watch`."""
        self._watchers.discard(changed)

    def shown_partial(self) -> JsonObject | None:
        """Return the text of the block that the model is writing now."""
        partial = self._partial
        if partial is None:
            return None
        return {"turn": self.turn, "kind": partial.kind, "text": partial.text}

    def shown_status(self) -> JsonObject:
        """Return the state of the harness as it is shown."""
        first, last = self.events.bounds()
        return {
            **asdict(self.status),
            "cost_today_usd": self.turns.cost_since(midnight()),
            "turn": self.turn,
            "first_seq": first,
            "last_seq": last,
            "stored": not (self.events.trouble or self.turns.trouble),
        }

    def _add_thinking(self, data: JsonObject) -> None:
        self._thinking = None
        self.events.add(self.turn, "state", data)

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    def _note_trouble(self) -> None:
        """Tell once that a file cannot be used."""
        trouble = "; ".join(filter(None, (self.events.trouble, self.turns.trouble)))
        if trouble and trouble != self._noted:
            text = f"{trouble}. The record is in memory, and is lost when the harness ends."
            self.note(text, "error")
        elif self._noted and not trouble:
            self.note("The record is in its files again.")
        self._noted = trouble
