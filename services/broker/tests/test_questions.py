"""The rules of questions, without a bus."""

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.broker.deadlines.clock import SECOND
from services.broker.messages.broker import Broker
from services.broker.questions import store as question_store
from services.broker.questions import texts as question_words
from services.broker.questions.questions import Questions
from services.broker.storage.database import Database
from services.broker.tests.clocks import START, FakeClock
from services.broker.tests.room import ALICE, BOB, MAX_BODY, MAX_OPEN, EventLog, holder
from wire.errors import (
    AccessDenied,
    Conflict,
    HiveError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
)
from wire.principal import DASHBOARD, THE_OPERATOR, Principal, agent
from wire.records.broker import Question, QuestionState

CAROL = agent("carol")


async def stored(database: Database, number: int) -> Question:
    return await database.read(lambda db: question_store.get(db, number))


async def inbox(broker: Broker, who: Principal) -> list[tuple[str, str, str]]:
    messages = await broker.receive(who, holder(), 100, 0)
    return [(m.sender, m.kind, m.body) for m in messages]


async def found(database: Database, words: str) -> list[int]:
    def search(db: sqlite3.Connection) -> list[int]:
        rows = db.execute(
            "SELECT rowid FROM question_search WHERE question_search MATCH ?", (words,)
        )
        return [row[0] for row in rows]

    return await database.read(search)


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("traceparent", [TRACEPARENT, None])
async def test_the_messages_about_a_question_belong_to_its_trace(
    questions: Questions, broker: Broker, traceparent: str | None
) -> None:
    options = {"traceparent": traceparent} if traceparent else {}
    number = await questions.ask(ALICE, "bob", "which port?", options)
    await questions.answer(BOB, number, ["7000"])
    number = await questions.ask(ALICE, "operator", "which host?", options)
    await questions.answer(THE_OPERATOR, number, ["this one"])
    number = await questions.ask(ALICE, "bob", "when?", options)
    await questions.cancel(THE_OPERATOR, number)
    asked = await broker.receive(BOB, holder(), 10, 0)
    told = await broker.receive(ALICE, holder(":1.2"), 10, 0)
    assert [m.kind for m in asked] == ["question-asked"] * 2
    assert [m.kind for m in told] == ["question-answered"] * 3
    assert {m.traceparent for m in [*asked, *told]} == {traceparent or ""}


async def test_a_question_has_a_valid_traceparent_or_none(questions: Questions) -> None:
    with pytest.raises(InvalidArgument, match="'now' is not a valid traceparent"):
        await questions.ask(ALICE, "bob", "which port?", {"traceparent": "now"})


async def test_a_free_text_from_agent_to_agent(
    questions: Questions, database: Database, broker: Broker, events: EventLog, clock: FakeClock
) -> None:
    number = await questions.ask(ALICE, "bob", "which port?", {})
    [(sender, kind, body)] = await inbox(broker, BOB)
    assert (sender, kind) == ("system", "question-asked")
    assert body.splitlines() == [
        "alice asks you question 1. "
        "Answer with the tool answer: id 1, and your answer as one text.",
        "",
        "The question, in the words of alice:",
        "which port?",
    ]
    clock.advance(3)
    await questions.answer(BOB, number, ["8080,\nor 9090"])
    [(sender, kind, body)] = await inbox(broker, ALICE)
    assert (sender, kind) == ("system", "question-answered")
    assert body.splitlines() == [
        "Your question 1 to bob was answered by bob.",
        "",
        "You asked:",
        "which port?",
        "",
        "The answer:",
        "8080,",
        "or 9090",
    ]
    assert await stored(database, number) == Question(
        id=1,
        asker="alice",
        recipient="bob",
        text="which port?",
        choices=[],
        multi=False,
        asked=START,
        deadline=0,
        state=QuestionState.ANSWERED,
        answer=["8080,\nor 9090"],
        answered_by="bob",
        resolved=START + 3 * SECOND,
    )
    assert [event for event in events.all if event[0] != "delivered"] == [
        ("queued", 1, "system", "bob", "question-asked"),
        ("question added", 1),
        ("queued", 2, "system", "alice", "question-answered"),
        ("question resolved", 1, "answered"),
    ]


async def test_the_operator_is_told_by_a_signal_and_answers_with_choices(
    questions: Questions, broker: Broker, events: EventLog
) -> None:
    options = {"choices": ["red", "blue", "green"], "multi": True}
    number = await questions.ask(ALICE, "operator", "colours?", options)
    assert events.all == [("question added", number)]
    assert await inbox(broker, THE_OPERATOR) == []
    for wrong in (["red", "red"], ["pink"], ["red", "pink"], ["Red"], ["1"]):
        with pytest.raises(InvalidArgument, match='one or more of these, each once: "red", "blue"'):
            await questions.answer(THE_OPERATOR, number, wrong)
    await questions.answer(DASHBOARD, number, ["green", "red"])
    [(_, _, body)] = await inbox(broker, ALICE)
    assert body.startswith("Your question 1 to operator was answered by operator.\n")
    assert body.endswith("\nThe answer:\ngreen\nred")


async def test_one_choice(questions: Questions, database: Database, broker: Broker) -> None:
    options = {"choices": ["yes", "no"], "ttl_s": 60}
    number = await questions.ask(ALICE, "bob", "go?", options)
    [(_, _, body)] = await inbox(broker, BOB)
    assert "id 1, and one of the choices, exactly as it is written." in body
    assert "It expires at 2027-01-15 08:01:00 UTC." in body
    assert "\n1. yes\n2. no\n" in body
    for wrong in (["yes", "no"], ["maybe"]):
        with pytest.raises(InvalidArgument, match="exactly one of these"):
            await questions.answer(BOB, number, wrong)
    await questions.answer(BOB, number, ["no"])
    assert (await stored(database, number)).deadline == START + 60 * SECOND


async def test_the_operator_may_answer_in_words_of_its_own(questions: Questions) -> None:
    choices = {"choices": ["red", "blue"]}
    one = await questions.ask(ALICE, "operator", "Which?", choices)
    many = await questions.ask(ALICE, "operator", "Which ones?", choices | {"multi": True})
    for number, answer in [(one, ["red", "green"]), (many, ["green", "grey"]), (many, ["red"] * 2)]:
        with pytest.raises(InvalidArgument, match="or a text of your own"):
            await questions.answer(DASHBOARD, number, answer, freely=True)
    with pytest.raises(InvalidArgument, match="exactly one of these"):
        await questions.answer(DASHBOARD, one, ["green"])
    await questions.answer(DASHBOARD, one, ["green"], freely=True)
    await questions.answer(DASHBOARD, many, ["blue", "red", "green"], freely=True)
    text = await questions.ask(ALICE, "operator", "Why?", {})
    with pytest.raises(InvalidArgument, match="with one text"):
        await questions.answer(DASHBOARD, text, ["a", "b"], freely=True)


async def test_only_the_recipient_or_the_operator_answers(
    questions: Questions, database: Database
) -> None:
    of_bob = await questions.ask(ALICE, "bob", "x?", {})
    of_operator = await questions.ask(ALICE, "operator", "x?", {})
    for who in (ALICE, CAROL):
        with pytest.raises(AccessDenied, match="was not asked of"):
            await questions.answer(who, of_bob, ["y"])
    for who in (ALICE, BOB):
        with pytest.raises(AccessDenied, match="was not asked of"):
            await questions.answer(who, of_operator, ["y"])
    await questions.answer(THE_OPERATOR, of_bob, ["in its place"])
    assert (await stored(database, of_bob)).answered_by == "operator"
    with pytest.raises(Conflict, match="no longer open: it is answered by operator"):
        await questions.answer(BOB, of_bob, ["too late"])


async def test_a_repeated_answer_changes_nothing(
    questions: Questions, broker: Broker, events: EventLog
) -> None:
    number = await questions.ask(ALICE, "bob", "x?", {})
    await questions.answer(BOB, number, ["y"])
    await questions.answer(BOB, number, ["y"])
    with pytest.raises(Conflict):
        await questions.answer(BOB, number, ["z"])
    assert len(await inbox(broker, ALICE)) == 1
    assert events.all.count(("question resolved", number, "answered")) == 1


async def test_cancel(questions: Questions, database: Database, broker: Broker) -> None:
    mine, theirs = [await questions.ask(ALICE, "bob", "x?", {}) for _ in range(2)]
    with pytest.raises(AccessDenied, match="was not asked by bob"):
        await questions.cancel(BOB, mine)
    await questions.cancel(ALICE, mine)
    await questions.cancel(ALICE, mine)
    assert await inbox(broker, ALICE) == []
    await questions.cancel(THE_OPERATOR, theirs)
    [(_, kind, body)] = await inbox(broker, ALICE)
    assert kind == "question-answered"
    assert body.startswith("Your question 2 to bob was answered by [cancelled]: the operator")
    assert (await stored(database, mine)).state is QuestionState.CANCELLED
    with pytest.raises(Conflict, match="it is cancelled"):
        await questions.answer(BOB, theirs, ["y"])
    answered = await questions.ask(ALICE, "bob", "x?", {})
    await questions.answer(BOB, answered, ["y"])
    with pytest.raises(Conflict, match="answered by bob"):
        await questions.cancel(ALICE, answered)


async def test_the_operators_own_is_cancelled_in_silence(
    questions: Questions, broker: Broker
) -> None:
    number = await questions.ask(THE_OPERATOR, "bob", "x?", {})
    await questions.cancel(DASHBOARD, number)
    assert await inbox(broker, THE_OPERATOR) == []


async def test_a_key_asks_once(questions: Questions, broker: Broker, events: EventLog) -> None:
    first = await questions.ask(ALICE, "bob", "x?", {"dedupe_key": "k"})
    assert await questions.ask(ALICE, "bob", "something else?", {"dedupe_key": "k"}) == first
    assert await questions.ask(BOB, "alice", "x?", {"dedupe_key": "k"}) != first
    assert len(await inbox(broker, BOB)) == 1
    assert events.all.count(("question added", first)) == 1
    await questions.answer(BOB, first, ["y"])
    assert await questions.ask(ALICE, "bob", "x?", {"dedupe_key": "k"}) == first


async def test_the_most_that_may_be_open(questions: Questions) -> None:
    for _ in range(MAX_OPEN):
        await questions.ask(ALICE, "bob", "x?", {})
    with pytest.raises(LimitExceeded, match="alice has 5 open questions, which is the maximum"):
        await questions.ask(ALICE, "operator", "x?", {})
    await questions.ask(BOB, "alice", "x?", {})
    await questions.answer(BOB, 1, ["y"])
    await questions.ask(ALICE, "operator", "x?", {})


async def test_an_unregistered_asker_finds_the_answer_when_it_is_back(
    questions: Questions, database: Database, broker: Broker
) -> None:
    number = await questions.ask(ALICE, "bob", "x?", {})
    await broker.unregister_agent("alice")
    await questions.answer(BOB, number, ["y"])
    assert (await stored(database, number)).state is QuestionState.ANSWERED
    await broker.register_agent("alice")
    assert len(await inbox(broker, ALICE)) == 1


async def test_the_operator_answers_for_an_unregistered_recipient(
    questions: Questions, broker: Broker
) -> None:
    number = await questions.ask(ALICE, "bob", "x?", {})
    await broker.unregister_agent("bob")
    with pytest.raises(NotFound, match="no agent 'bob'"):
        await questions.ask(ALICE, "bob", "x?", {})
    await questions.answer(THE_OPERATOR, number, ["y"])
    assert len(await inbox(broker, ALICE)) == 1


async def test_no_answer_after_its_time_even_before_anybody_said_so(
    questions: Questions, clock: FakeClock
) -> None:
    number = await questions.ask(ALICE, "bob", "x?", {"ttl_s": 10})
    clock.advance(10)
    with pytest.raises(Conflict, match="Question 1 has expired"):
        await questions.answer(BOB, number, ["y"])


async def test_questions_and_answers_are_found_by_their_words(
    questions: Questions, database: Database
) -> None:
    number = await questions.ask(ALICE, "bob", "Which harbour?", {})
    assert await found(database, "harbour") == [number]
    assert await found(database, "north") == []
    await questions.answer(BOB, number, ['the "new"\nnorth\\östlich one'])
    for words in ("harbour", "new", "north", "ostlich"):
        assert await found(database, words) == [number], words
    check = "INSERT INTO question_search (question_search, rank) VALUES ('integrity-check', 1)"
    await database.write(lambda db: db.execute(check))


LONG = "x" * (MAX_BODY + 1)


@pytest.mark.parametrize(
    ("who", "to", "text", "options", "error", "sentence"),
    [
        (ALICE, "alice", "x?", {}, InvalidArgument, "ask another agent, or `operator`"),
        (THE_OPERATOR, "operator", "x?", {}, InvalidArgument, "ask itself; ask an agent."),
        (DASHBOARD, "operator", "x?", {}, InvalidArgument, "operator cannot ask itself"),
        (ALICE, "*", "x?", {}, InvalidArgument, "name one agent, or `operator`"),
        (ALICE, "carol", "x?", {}, NotFound, "no agent 'carol'"),
        (ALICE, "system", "x?", {}, NotFound, "no agent 'system'"),
        (ALICE, "bob", " \n", {}, InvalidArgument, "empty"),
        (ALICE, "bob", LONG, {}, LimitExceeded, "1001 bytes; at most 1000"),
        (
            ALICE,
            "bob",
            "x?",
            {"choice": ["a"]},
            InvalidArgument,
            "'choice' is not a valid option of Ask",
        ),
        (ALICE, "bob", "x?", {"multi": True}, InvalidArgument, "with choices"),
        (ALICE, "bob", "x?", {"choices": ["a", ""]}, InvalidArgument, "Choice 2"),
        (ALICE, "bob", "x?", {"choices": ["a\nb"]}, InvalidArgument, "Choice 1"),
        (ALICE, "bob", "x?", {"choices": ["\x1b[2J"]}, InvalidArgument, "Choice 1"),
        (ALICE, "bob", "x?", {"choices": ["x" * 201]}, InvalidArgument, "1 to 200"),
        (ALICE, "bob", "x?", {"choices": ["a", "a "]}, InvalidArgument, "the same"),
        (ALICE, "bob", "x?", {"choices": [str(i) for i in range(21)]}, InvalidArgument, "20 items"),
        (ALICE, "bob", "x?", {"choices": [1]}, InvalidArgument, "'choices' is not valid"),
        (ALICE, "bob", "x?", {"ttl_s": 0}, InvalidArgument, "'ttl_s' is not valid"),
        (ALICE, "bob", "x?", {"ttl_s": 2592001}, InvalidArgument, "'ttl_s' is not valid"),
        (ALICE, "bob", "x?", {"ttl_s": True}, InvalidArgument, "'ttl_s' is not valid"),
        (ALICE, "bob", "x?", {"dedupe_key": ""}, InvalidArgument, "'dedupe_key' is not valid"),
    ],
)
async def test_bad_questions_are_refused_and_leave_nothing(
    questions: Questions,
    database: Database,
    broker: Broker,
    events: EventLog,
    who: Principal,
    to: str,
    text: str,
    options: dict[str, Any],
    error: type[HiveError],
    sentence: str,
) -> None:
    with pytest.raises(error) as refusal:
        await questions.ask(who, to, text, options)
    assert sentence in str(refusal.value)
    with pytest.raises(NotFound):
        await stored(database, 1)
    assert not events.all


async def test_bad_answers(questions: Questions, database: Database) -> None:
    number = await questions.ask(ALICE, "bob", "x?", {})
    for wrong in ([], [""], [" "]):
        with pytest.raises(InvalidArgument, match="empty"):
            await questions.answer(BOB, number, wrong)
    with pytest.raises(InvalidArgument, match="question 1 with one text"):
        await questions.answer(BOB, number, ["y", "z"])
    with pytest.raises(LimitExceeded, match="1001 bytes"):
        await questions.answer(BOB, number, [LONG])
    for unknown in (0, 77, 2**64 - 1):
        with pytest.raises(NotFound, match="no question"):
            await questions.answer(BOB, unknown, ["y"])
        with pytest.raises(NotFound, match="no question"):
            await questions.cancel(BOB, unknown)
    assert (await stored(database, number)).state is QuestionState.OPEN


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    assert question_store.decode_texts(question_store.encode_texts(texts)) == texts


def test_a_long_question_is_shown_shortened() -> None:
    question = Question(
        7, "a", "b", "x" * 201, [], False, 1, 0, QuestionState.EXPIRED, [], "[expired]", 2
    )
    words = question_words.answered(question)
    assert words.splitlines()[0] == (
        "Your question 7 to b was answered by [expired]: it has expired. "
        "Go on without an answer, or ask again."
    )
    assert words.endswith("\n" + "x" * 197 + "...")


CALL: dict[str, Any] = {
    "choices": ["Allow once", "Always allow", "Deny"],
    "permission": "0a1b",
    "rule": "Bash(git push:*)",
}


async def test_an_answer_about_a_tool_call_is_urgent_and_says_which_call(
    questions: Questions, database: Database, broker: Broker
) -> None:
    number = await questions.ask(ALICE, "operator", "Bash:\n    git push", CALL)
    question = await stored(database, number)
    assert (question.permission, question.rule) == ("0a1b", "Bash(git push:*)")
    await broker.send(BOB, "alice", "an older message", {"urgent": True})
    await questions.answer(THE_OPERATOR, number, ["Deny", 'first show\nme the "diff"'])
    urgent = {m.kind: m for m in await broker.receive(ALICE, holder(), 100, 0)}
    message = urgent["permission-answered"]
    assert (message.sender, message.urgent) == ("system", True)
    assert message.body.splitlines() == [
        "Your request 1 for a permission was answered by operator.",
        "Call: 0a1b",
        'Rule: "Bash(git push:*)"',
        'Answer: ["Deny", "first show\\nme the \\"diff\\""]',
        "",
        "You asked:",
        "Bash:",
        "    git push",
    ]


async def test_a_tool_call_is_asked_once_at_a_time(
    questions: Questions, broker: Broker, events: EventLog
) -> None:
    first = await questions.ask(ALICE, "operator", "go?", CALL)
    assert await questions.ask(ALICE, "operator", "go?", CALL) == first
    other = await questions.ask(ALICE, "operator", "go?", CALL | {"permission": "ffff"})
    of_bob = await questions.ask(BOB, "operator", "go?", CALL)
    assert len({first, other, of_bob}) == 3
    await questions.cancel(THE_OPERATOR, first)
    [(_, kind, body)] = await inbox(broker, ALICE)
    assert kind == "permission-answered"
    assert body.startswith(
        "Your request 1 for a permission was not answered: the operator has cancelled it.\n"
    )
    assert await questions.ask(ALICE, "operator", "go?", CALL) > of_bob
    assert [event for event in events.all if event[0] == "question added"] == [
        ("question added", number) for number in (first, other, of_bob, of_bob + 1)
    ]


async def test_the_answers_that_a_question_about_a_tool_call_takes(questions: Questions) -> None:
    def ask(**more: Any) -> Any:
        options = CALL | {"permission": f"call-{len(more)}-{more.get('n', 0)}"}
        more.pop("n", None)
        return questions.ask(ALICE, "operator", "go?", options | more)

    one = await ask()
    for wrong in (["Deny", "Allow once"], ["a", "b"], ["Deny", "Deny"]):
        with pytest.raises(InvalidArgument, match="one of these, with at most one text of your"):
            await questions.answer(THE_OPERATOR, one, wrong)
    await questions.answer(THE_OPERATOR, one, ["my own words"])
    several = await ask(n=2, multi=True, rule=None)
    for wrong in (["Deny", "Deny"], ["Deny", "a", "b"]):
        with pytest.raises(InvalidArgument, match="one or more of these, with at most one text"):
            await questions.answer(THE_OPERATOR, several, wrong)
    await questions.answer(THE_OPERATOR, several, ["Deny", "Allow once", "and more"])


@pytest.mark.parametrize(
    ("who", "to", "changes", "words"),
    [
        (ALICE, "bob", {}, "one of an agent to the operator"),
        (THE_OPERATOR, "bob", {}, "one of an agent to the operator"),
        (ALICE, "operator", {"choices": None}, "has choices"),
        (ALICE, "operator", {"choices": ["yes"]}, "has the choice 'Always allow'"),
        (ALICE, "operator", {"choices": ["Always allow"]}, "has the choice 'Deny'; add it"),
        (ALICE, "operator", {"rule": "Bash(x)\nBash"}, "is not valid: it must be a tool such as"),
        (ALICE, "operator", {"permission": None}, "leave it out"),
        (ALICE, "operator", {"permission": "a b"}, "'permission' is not valid"),
    ],
)
async def test_a_question_about_a_tool_call_that_is_refused(
    questions: Questions, who: Principal, to: str, changes: dict[str, Any], words: str
) -> None:
    options = {k: v for k, v in (CALL | changes).items() if v is not None}
    with pytest.raises(InvalidArgument, match=words):
        await questions.ask(who, to, "go?", options)
