"""The signal MessagesChanged: one row a message, sent at once, or together with others.

A change that comes alone is sent at once. Changes that follow within WINDOW seconds wait for the
end of the window and leave together, so that a busy broker sends 20 signals a second and not three
for each message. A message that changes several times in a window has one row, with its latest
state.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from wire.records.broker import PREVIEW, Message, MessageChange, MessageState

log = logging.getLogger(__name__)

WINDOW: Final = 0.05
"""The seconds after a signal in which changes are collected for the next one."""
MAX_ROWS: Final = 500
"""The most rows of a signal: a receiver decodes at most 10,000 values of one."""
MAX_CHARACTERS: Final = 2**20
"""The characters of text after which a signal is sent before the end of the window."""

_WITH_TEXT: Final = frozenset({MessageState.QUEUED, MessageState.DEAD})
"""The states whose rows carry the text, if it is at hand: the receiver may not know the message."""

Emit = Callable[[list[MessageChange]], None]


class ChangeSignal:
    """The collector of changes between two signals; it owns one timer while a window is open."""

    def __init__(self, emit: Emit) -> None:
        """Send the rows with `emit`.

        An error is logged: the changes are on disk, and the calls that made them have succeeded.
        """
        self._emit = emit
        self._rows: dict[int, MessageChange] = {}
        self._characters = 0
        self._window: asyncio.TimerHandle | None = None

    def add(self, changes: Iterable[MessageChange]) -> None:
        """Send changes, at once or with the others of the window."""
        for change in changes:
            self._put(change)
        if self._window is None and self._rows:
            self._send()

    def close(self) -> None:
        """Send the changes that wait, and stop the timer."""
        if self._window is not None:
            self._window.cancel()
            self._window = None
        self._flush()

    def _put(self, change: MessageChange) -> None:
        known = self._rows.get(change.id)
        if known is not None and not change.length:
            change = change._replace(body=known.body, length=known.length)
        elif change.length:
            self._characters += len(change.body)
        self._rows[change.id] = change
        if len(self._rows) >= MAX_ROWS or self._characters >= MAX_CHARACTERS:
            self._flush()

    def _send(self) -> None:
        self._flush()
        self._window = asyncio.get_running_loop().call_later(WINDOW, self._end_window)

    def _end_window(self) -> None:
        self._window = None
        if self._rows:
            self._send()

    def _flush(self) -> None:
        rows, self._rows, self._characters = list(self._rows.values()), {}, 0
        if not rows:
            return
        try:
            self._emit(rows)
        except Exception:
            log.exception("%d changes of messages were not signalled", len(rows))


def change_of(message: Message, state: MessageState) -> MessageChange:
    """Return the row for a message that is in `state` now."""
    text = message.body if state in _WITH_TEXT else ""
    return MessageChange(
        id=message.id,
        sender=message.sender,
        recipient=message.recipient,
        kind=message.kind,
        state=state,
        body=text[:PREVIEW],
        length=len(text),
        queued=message.queued,
        redeliveries=message.redeliveries,
        urgent=message.urgent,
        in_reply_to=message.in_reply_to,
        reason=message.reason,
    )
