"""The signal MessagesChanged: alone at once, together otherwise."""

import asyncio
from collections.abc import Sequence

import pytest

from services.broker.messages import changes
from services.broker.messages.changes import ChangeSignal, change_of
from wire.records.broker import PREVIEW, Message, MessageChange, MessageState

LONG_TIME = 3600.0


def message(number: int, body: str = "hello") -> Message:
    return Message(number, "alice", "bob", "message", body, 5, 0, False, 0, MessageState.QUEUED)


def change(
    number: int, state: MessageState = MessageState.QUEUED, body: str = "hello"
) -> MessageChange:
    return change_of(message(number, body), state)


class Sent:
    """The signals that were sent."""

    def __init__(self) -> None:
        self.signals: list[list[MessageChange]] = []
        self.news = asyncio.Event()

    def __call__(self, rows: Sequence[MessageChange]) -> None:
        self.signals.append(list(rows))
        self.news.set()

    @property
    def ids(self) -> list[list[int]]:
        return [[row.id for row in rows] for rows in self.signals]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that never ends by itself."""
    monkeypatch.setattr(changes, "WINDOW", LONG_TIME)


async def test_a_change_that_comes_alone_is_sent_at_once(wide: None) -> None:
    sent = Sent()
    signal = ChangeSignal(sent)
    signal.add([change(1)])
    assert sent.ids == [[1]]
    signal.close()


async def test_changes_that_follow_leave_together_at_the_end_of_the_window() -> None:
    sent = Sent()
    signal = ChangeSignal(sent)
    signal.add([change(1)])
    sent.news.clear()
    signal.add([change(2)])
    signal.add([change(3)])
    assert sent.ids == [[1]]
    async with asyncio.timeout(10):
        await sent.news.wait()
    assert sent.ids == [[1], [2, 3]]
    signal.close()


async def test_the_window_after_a_busy_one_collects_too(wide: None) -> None:
    sent = Sent()
    signal = ChangeSignal(sent)
    signal.add([change(1), change(2)])
    signal.add([change(3)])
    assert sent.ids == [[1, 2]]
    signal.close()
    assert sent.ids == [[1, 2], [3]]


async def test_a_quiet_window_makes_the_next_change_immediate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "WINDOW", 0.0)
    sent = Sent()
    signal = ChangeSignal(sent)
    signal.add([change(1)])
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, ended.set_result, None)
    await ended
    signal.add([change(2)])
    assert sent.ids == [[1], [2]]
    signal.close()


async def test_a_message_has_one_row_with_its_latest_state_and_its_text(wide: None) -> None:
    sent = Sent()
    signal = ChangeSignal(sent)
    signal.add([change(1)])
    signal.add([change(2)])
    signal.add([change(2, MessageState.LEASED)])
    signal.add([change(2, MessageState.ACKNOWLEDGED)])
    signal.close()
    [row] = sent.signals[1]
    assert (row.state, row.body, row.length) == (MessageState.ACKNOWLEDGED, "hello", 5)


async def test_only_rows_that_somebody_may_not_know_carry_the_text() -> None:
    texts = {state: change(1, state).length for state in MessageState}
    assert {state for state, length in texts.items() if length} == {
        MessageState.QUEUED,
        MessageState.DEAD,
    }


async def test_of_a_long_text_the_beginning_is_sent() -> None:
    row = change(1, body="x" * (PREVIEW + 7))
    assert (row.body, row.length) == ("x" * PREVIEW, PREVIEW + 7)


@pytest.mark.parametrize(
    ("count", "body"), [(changes.MAX_ROWS, "x"), (changes.MAX_CHARACTERS // PREVIEW, "x" * PREVIEW)]
)
async def test_a_full_signal_does_not_wait_for_the_end_of_the_window(
    wide: None, count: int, body: str
) -> None:
    sent = Sent()
    signal = ChangeSignal(sent)
    signal.add([change(0)])
    for number in range(1, count + 1):
        signal.add([change(number, body=body)])
    assert [len(rows) for rows in sent.signals] == [1, count]
    signal.close()


async def test_nothing_is_sent_for_nothing(wide: None) -> None:
    sent = Sent()
    signal = ChangeSignal(sent)
    signal.add([])
    signal.close()
    assert sent.signals == []


async def test_a_signal_that_cannot_be_sent_does_not_fail_a_change_that_is_on_disk(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = Sent()

    def emit(rows: Sequence[MessageChange]) -> None:
        if any("\0" in row.body for row in rows):  # from a backup that somebody has edited
            raise ValueError("Text must not contain NUL characters")
        sent(rows)

    signal = ChangeSignal(emit)
    signal.add([change(1, body="a\0b")])
    sent.news.clear()
    signal.add([change(2)])
    await sent.news.wait()
    assert sent.ids == [[2]]
    assert "1 changes of messages were not signalled" in caplog.text
    signal.close()
