"""The rows that pages get: what others wrote is marked, and nothing of it is lost."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.state import shown
from services.dashboard.state.rows import (
    agent_row,
    approval_row,
    changed_message_row,
    deploy_row,
    message_row,
    question_row,
)
from services.dashboard.tests.fakes.now import NOW
from wire import fake_agent
from wire.records.approvals import Approval, ApprovalKind, ApprovalState, Deploy
from wire.records.broker import Message, MessageChange, MessageState, Question, QuestionState

HIDDEN = "a\u202eb\u3164c\ufe00"


def text_of(value: Any) -> str:
    """Return the whole text, as static/text.js does."""
    parts = [value] if isinstance(value, str) else value
    return "".join(part if isinstance(part, str) else part["text"] for part in parts)


def assert_harmless(row: Any) -> None:
    """Assert that hidden characters are only in marks, as text that is not shown."""
    match row:
        case {"text": text, "shown": code, "reason": reason}:
            assert text_of(row["text"]) == text
            assert not set(HIDDEN) - set("abc") & set(code + reason)
        case dict():
            for value in row.values():
                assert_harmless(value)
        case list() | tuple():
            for value in row:
                assert_harmless(value)
        case str():
            assert not set("\u202e\u3164\ufe00") & set(row)


def message(body: str) -> Message:
    return Message(
        id=1,
        sender="alice",
        recipient="operator",
        kind="message",
        body=body,
        queued=NOW,
        redeliveries=0,
        urgent=False,
        in_reply_to=0,
        state=MessageState.QUEUED,
    )


def test_no_row_shows_what_is_hidden() -> None:
    approval = Approval(
        id=1,
        kind=ApprovalKind.APPLY,
        agent="alice",
        commit="0" * 40,
        reason=HIDDEN,
        requested_by="manager",
        requested=NOW,
        state=ApprovalState.FAILED,
        note=f"{HIDDEN}\n{HIDDEN}",
        resolved=NOW,
    )
    question = Question(
        id=1,
        asker="alice",
        recipient="operator",
        text=HIDDEN,
        choices=[HIDDEN],
        multi=False,
        asked=NOW,
        deadline=NOW,
        state=QuestionState.ANSWERED,
        answer=[HIDDEN],
        answered_by="operator",
        resolved=NOW,
    )
    change = MessageChange(
        1, "alice", "operator", "message", MessageState.QUEUED, HIDDEN, 6, NOW, 0, False, 0, HIDDEN
    )
    rows = [
        agent_row(fake_agent.properties("alice", model=HIDDEN, image=HIDDEN)),
        approval_row(approval),
        deploy_row(Deploy(NOW, "alice", "0" * 40, 1, "manager", HIDDEN)),
        message_row(message(HIDDEN)._replace(reason=HIDDEN)),
        changed_message_row(change, None),
        question_row(question),
    ]
    for row in rows:
        assert_harmless(row)
    assert text_of(approval_row(approval)["log"]) == HIDDEN
    assert [text_of(choice) for choice in rows[-1]["choices"]] == [HIDDEN]  # type: ignore[union-attr]


def test_a_change_without_text_keeps_the_marks() -> None:
    row = message_row(message(HIDDEN))
    read = MessageChange(
        1, "alice", "operator", "message", MessageState.ACKNOWLEDGED, "", 0, NOW, 0, False, 0
    )
    assert changed_message_row(read, row) == {**row, "state": MessageState.ACKNOWLEDGED}


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(HIDDEN + "\n")))
def test_all_of_a_text_is_in_its_parts(text: str) -> None:
    assert text_of(json.loads(json.dumps(shown.message(text)))) == text
    assert "\n".join(map(text_of, shown.lines(text))) == text.removesuffix("\n")


def test_a_text_of_marks_needs_little_memory() -> None:
    few, many = "a\u3164" * shown.MAX_MARKS, "a\u3164" * 2048
    assert len(shown.message(few)) == 2 * shown.MAX_MARKS  # type: ignore[arg-type]
    found = shown.message(many)
    assert text_of(found) == many
    assert found == [
        {"text": many, "shown": "a<U+3164>" * 2048, "reason": "more than 100 marks"},
    ]
    assert len(json.dumps(found)) < 10 * len(many)


def test_only_a_newline_ends_a_line() -> None:
    assert shown.lines("") == []
    assert [text_of(line) for line in shown.lines("a\r\n\nb\u2028c\x0bd\n")] == [
        "a\r", "", "b\u2028c\x0bd",
    ]  # fmt: skip
