"""Questions, reminders, threads, dead letters and searches: calls, output and exit codes."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import SINCE
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless, assert_indented
from wire.records.broker import (
    AskOptions,
    MessageFilter,
    MessageState,
    QuestionFilter,
    QuestionState,
    ReminderState,
    RemindOptions,
    Thread,
)

US = 1_000_000


async def test_questions_show_their_choices_aligned(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "Which\ncolour?", "red", "blue")
    hive.broker.question("bob-2", "alice", "How many?", deadline=SINCE + 60 * US)
    hive.broker.question("bob-2", "alice", "Done?", state=QuestionState.CANCELLED)
    head, *lines = (await hivectl("questions")).out.splitlines()
    assert [line.split() for line in lines] == [
        ["1", "2023-11-14", "22:13", "alice", "operator", "-", "Which", "colour?"],
        ["1", "red"],
        ["2", "blue"],
        ["2", "2023-11-14", "22:13", "bob-2", "alice", "2023-11-14", "22:14", "How", "many?"],
    ]
    assert {line.index(word) for line, word in zip(lines, ["Which", "1", "2", "How"], strict=True)
            if word in ("Which", "How")} == {head.index("QUESTION")}  # fmt: skip
    assert lines[1].index("1") == head.index("QUESTION") + 2
    assert hive.broker.listed == [(QuestionFilter(state=QuestionState.OPEN), 100)]


async def test_all_questions_show_how_they_ended(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "Which?", "red", "blue", "green", multi=True)
    hive.broker.resolve(1, QuestionState.ANSWERED, "red", "blue")
    ran = await hivectl("questions", "--all", "--from", "alice", "--to", "operator", "--limit", "7")
    assert "answered" in ran.out
    assert re.search(r"Which\?\n +one or more of:\n +1  red\n", ran.out)
    assert ran.out.endswith("answered by bob at 2023-11-14 22:13: red, blue\n")
    assert hive.broker.listed == [(QuestionFilter(sender="alice", recipient="operator"), 7)]
    [question] = (await hivectl("questions", "--all", "--json")).json
    assert question == {
        "id": 1,
        "from": "alice",
        "to": "operator",
        "question": "Which?",
        "choices": ["red", "blue", "green"],
        "multi": True,
        "asked": "2023-11-14T22:13:20.123456Z",
        "deadline": None,
        "state": "answered",
        "answer": ["red", "blue"],
        "answered_by": "bob",
        "resolved": "2023-11-14T22:13:20.123456Z",
        "permission": None,
        "rule": None,
    }


async def test_full_questions_are_whole(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "first\nsecond", "red", "blue")
    assert (await hivectl("questions", "--full")).out == (
        "1 2023-11-14 22:13 alice asks operator, open\n"
        "  first\n  second\n  one of:\n  1  red\n  2  blue\n"
    )


async def test_a_page_that_is_full_says_so(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "first?")
    ran = await hivectl("questions", "--limit", "1")
    assert ran.err == "Only the newest 1 are shown; --limit shows more.\n"


async def test_no_questions(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("questions")).out == "no open questions\n"
    assert (await hivectl("questions", "--json")).json == []


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        (["red"], ["red"]),
        (["3"], ["2"]),
        (["2"], ["2"]),  # a choice that looks like a number is meant literally
        (["1", "2"], ["red", "2"]),
    ],
)
async def test_choices_are_answered_by_text_or_number(
    hive: FakeHive, hivectl: Hivectl, typed: list[str], given: list[str]
) -> None:
    hive.broker.question("alice", "operator", "Which?", "red", "blue", "2", multi=True)
    ran = await hivectl("answer", "1", *typed)
    assert ran.out == f"question 1 of alice answered: {', '.join(given)}\n"
    assert hive.broker.calls == [("answer", 1, *given)]


async def test_a_text_is_answered_with_one_text(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "Why?")
    several = await hivectl("answer", "1", "because", "so")
    assert several.code == Exit.USAGE
    assert several.err == "hivectl: Question 1 takes one text. Put several words in quotes.\n"
    ran = await hivectl("answer", "1", "-", "--json", stdin=b"because\nso")
    assert ran.json == {"id": 1, "state": "answered", "answer": ["because\nso"]}
    assert hive.broker.calls == [("answer", 1, "because\nso")]


CALL: dict[str, Any] = {"permission": "0a1b", "rule": "Bash(git push:*)"}
CHOICES = ("Allow once", "Allow for this session", "Always allow", "Deny")


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        (["1"], ["Allow once"]),
        (["Deny", "Use the fork."], ["Deny", "Use the fork."]),
        (["4"], ["Deny"]),
        (["Use the fork."], ["Use the fork."]),
        (["Deny", "-"], ["Deny", "Use\nthe fork."]),
    ],
)
async def test_a_tool_call_is_allowed_or_denied_with_a_reason(
    hive: FakeHive, hivectl: Hivectl, typed: list[str], given: list[str]
) -> None:
    hive.broker.question("alice", "operator", "May I use Bash?", *CHOICES, **CALL)
    ran = await hivectl("answer", "1", *typed, stdin=b"Use\nthe fork.")
    assert ran.code == 0
    assert hive.broker.calls == [("answer", 1, *given)]
    assert hive.approvals.calls == []
    assert ("the call is denied" in ran.out) == (typed == ["Use the fork."])


async def test_a_reason_does_not_go_with_a_permission(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "May I use Bash?", *CHOICES, **CALL)
    ran = await hivectl("answer", "1", "Allow once", "to the fork only")
    assert ran.code == Exit.USAGE
    assert ran.err == (
        "hivectl: 'to the fork only' is not one of the choices. A text of your own goes with "
        "'Deny' alone: it tells the agent why.\n"
    )
    hive.broker.question("alice", "operator", "Which?", "red", "I do not answer", permission="x")
    assert (await hivectl("answer", "2", "red", "but darker")).code == 0
    assert hive.broker.calls == [("answer", 2, "red", "but darker")]


@pytest.mark.parametrize("typed", ["1", "2", "I do not answer"])
async def test_a_number_can_be_the_answer_to_a_form(
    hive: FakeHive, hivectl: Hivectl, typed: str
) -> None:
    ways_out = ("Leave this out", "I do not answer")
    hive.broker.question("alice", "operator", "How often?", *ways_out, permission="x")
    shown = await hivectl("questions")
    assert [line.split()[0] for line in shown.out.splitlines()[-3:]] == ["a", "Leave", "I"]
    assert (await hivectl("answer", "1", typed)).code == 0
    assert hive.broker.calls == [("answer", 1, typed)]


async def test_always_allow_changes_agent_toml_and_answers(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.broker.question("alice", "operator", "May I use Bash?", *CHOICES, **CALL)
    shown = await hivectl("questions", "--full")
    assert "  Always allow: adds Bash(git push:*) to allowed_tools of alice\n" in shown.out
    ran = await hivectl("answer", "1", "3")
    assert ran.out == (
        "question 1 of alice answered: Always allow\n"
        "request 8 allows Bash(git push:*) to alice and is deployed when the turn is over\n"
    )
    why = "Question 1: the operator always allows Bash(git push:*)."
    assert hive.approvals.calls == [("allow", "alice", "Bash(git push:*)", why)]
    assert hive.broker.calls == [("answer", 1, "Always allow")]
    hive.approvals.allow_job = "/"
    hive.broker.question("alice", "operator", "May I use Bash?", *CHOICES, **CALL)
    waits = await hivectl("answer", "2", "Always allow")
    assert "request 8 allows Bash(git push:*) to alice and waits: hivectl diff 8\n" in waits.out


async def test_always_allow_in_the_words_of_an_agent_changes_nothing(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.broker.question("alice", "operator", "Which?", "Always allow", "no")
    assert (await hivectl("answer", "1", "1")).code == 0
    assert hive.approvals.calls == []


async def test_what_is_no_choice_is_told_with_the_choices(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "Which?", "red", "blue")
    for typed in ("3", "0", "green", "²", "9" * 5000):
        ran = await hivectl("answer", "1", typed)
        assert ran.code == Exit.USAGE
        assert ran.err == f"hivectl: {typed!r} is not one of the choices: 1 red; 2 blue.\n"
    missing = await hivectl("answer", "9", "x")
    assert (missing.code, hive.broker.calls) == (Exit.NOT_FOUND, [])


async def test_the_question_with_the_id_is_answered(hive: FakeHive, hivectl: Hivectl) -> None:
    for asker in ("alice", "bob-2", "manager"):
        hive.broker.question(asker, "operator", "Why?")
    ran = await hivectl("answer", "2", "because")
    assert ran.out == "question 2 of bob-2 answered: because\n"


async def test_a_question_is_cancelled(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("cancel-question", "4")).out == "question 4 cancelled\n"
    assert hive.broker.calls == [("cancel", 4)]


async def test_ask_hands_over_its_options(hive: FakeHive, hivectl: Hivectl) -> None:
    options = ["--choice", "yes", "--choice", "no", "--multi", "--ttl", "1h30m"]
    ran = await hivectl("ask", "alice", "Ready?", *options, "--dedupe-key", "k")
    assert ran.out == "question 1 asked of alice\n"
    wanted = AskOptions(choices=["yes", "no"], multi=True, ttl_s=5400, dedupe_key="k")
    assert hive.broker.calls == [("ask", "alice", "Ready?", wanted)]
    assert (await hivectl("ask", "alice", "Ready?", "--json")).json == {"id": 2}
    assert (await hivectl("ask", "alice", "Ready?", "--multi")).code == Exit.USAGE
    bad = await hivectl("ask", "alice", "Ready?", "--ttl", "10")
    assert bad.code == Exit.USAGE
    assert "'10' is not a valid duration. Write it with units: 90s" in bad.err


async def test_ask_prints_the_answer_when_it_comes(hive: FakeHive, hivectl: Hivectl) -> None:
    looked = asyncio.Event()
    hive.broker.on_list = looked.set
    running = asyncio.create_task(hivectl("ask", "alice", "Ready?", "--wait", "15"))
    await asyncio.wait_for(looked.wait(), 10)
    hive.broker.question("operator", "bob", "Something else?")
    hive.broker.resolve(2, QuestionState.ANSWERED, "not this")
    hive.broker.resolve(1, QuestionState.ANSWERED, "yes", "and\nno\x1b[2J")
    ran = await running
    assert (ran.code, ran.out) == (Exit.OK, "yes\nand\nno<U+001B>[2J\n")
    assert ran.err == "question 1 asked of alice; waiting for the answer\n"


async def test_ask_misses_no_quick_answer(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.on_ask = lambda number: hive.broker.resolve(number, QuestionState.ANSWERED, "quick")
    ran = await hivectl("ask", "alice", "Ready?", "--wait", "--json")
    assert ran.json["answer"] == ["quick"]


@pytest.mark.parametrize(
    ("state", "code"),
    [(QuestionState.EXPIRED, Exit.TIMEOUT), (QuestionState.CANCELLED, Exit.CONFLICT)],
)
async def test_ask_says_why_there_is_no_answer(
    hive: FakeHive, hivectl: Hivectl, state: QuestionState, code: Exit
) -> None:
    hive.broker.on_ask = lambda number: hive.broker.resolve(number, state)
    ran = await hivectl("ask", "alice", "Ready?", "--wait")
    assert (ran.code, ran.out) == (code, "")
    assert state in ran.err


async def test_ask_waits_no_longer_than_it_was_told(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("ask", "alice", "Ready?", "--wait", "0.2")
    assert (ran.code, ran.out) == (Exit.TIMEOUT, "")
    assert "No answer within 0.2 s; question 1 stays open." in ran.err


async def test_remind_after_a_while_and_at_a_time(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("remind", "look", "--in", "2h")
    assert ran.out == "reminder 1 is due at 2023-11-15 00:13\n"
    day = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=99)
    due = f"{day:%Y-%m-%dT%H:%M}"
    ran = await hivectl("remind", "-", "--at", due, "--json", stdin=b"a\nb")
    assert (ran.json["due"], ran.json["file"]) == (f"{due}:00.000000Z", None)
    at = int(day.timestamp()) * US
    assert hive.broker.calls == [
        ("remind", 0, "look", RemindOptions(after_s=7200)),
        ("remind", at, "a\nb", RemindOptions()),
    ]


async def test_reminders_are_listed_and_cancelled(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("remind", "--list")).out == "no pending reminders\n"
    hive.broker.remind("alice", SINCE, "look", "/state/notes")
    delivered = {"state": ReminderState.DELIVERED, "message": 9}
    hive.broker.remind("bob-2", SINCE, "", "/state/todo", **delivered)
    head, row = (await hivectl("remind", "--list")).out.splitlines()
    assert row.index("look [/state/notes]") == head.index("TEXT")
    assert len((await hivectl("remind", "--list", "--all", "--json")).json) == 2
    assert (await hivectl("remind", "--cancel", "1")).out == "reminder 1 cancelled\n"
    assert hive.broker.calls == [("cancel reminder", 1)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give exactly one of TEXT, --list and --cancel ID."),
        (["x", "--list"], "Give exactly one of TEXT, --list and --cancel ID."),
        (["x"], "Say when the reminder is due: give either --at TIME or --in DURATION."),
        (["x", "--in", "2h", "--at", "tomorrow"], "Say when the reminder is due: "),
        (["--list", "--in", "2h"], "--at and --in need TEXT, the text of the reminder."),
        (["x", "--at", "2001-01-01"], "'2001-01-01' has passed already."),
        (["x", "--in", "366d"], "'366d' is too long: at most 365d are allowed."),
    ],
)
async def test_a_reminder_that_makes_no_sense(
    hive: FakeHive, hivectl: Hivectl, arguments: list[str], sentence: str
) -> None:
    ran = await hivectl("remind", *arguments)
    assert (ran.code, hive.broker.calls) == (Exit.USAGE, [])
    assert sentence in ran.err


async def test_threads_are_grouped_and_aligned(hive: FakeHive, hivectl: Hivectl) -> None:
    one = Thread("question", 3, "alice", "bob", "which?", since=SINCE, state="open")
    hive.broker.threads = [
        one._replace(kind="message", id=12, text="hello"),
        one._replace(id=4, text="later?", since=SINCE + US),
        Thread("unavailable", text="approvals is away"),
        one,
    ]
    ran = await hivectl("threads")
    blocks = [block.splitlines() for block in ran.out.split("\n\n")]
    assert [block[0] for block in blocks] == [
        *("open questions", "messages not yet acknowledged", "could not be queried")
    ]
    assert [row.split()[0] for row in blocks[0][2:]] == ["3", "4"]
    for block in blocks:
        places = {
            row.index(text)
            for row in block[1:]
            for text in ("TEXT", "which?", "later?", "hello", "approvals is")
            if text in row
        }
        assert len(places) == 1, block
    assert (await hivectl("threads", "--json")).json[2] == {
        "kind": "unavailable",
        "id": None,
        "from": None,
        "to": None,
        "text": "approvals is away",
        "since": None,
        "due": None,
        "state": None,
    }
    hive.broker.threads = []
    assert (await hivectl("threads")).out == "nothing is open\n"


async def test_dead_letters_are_shown_and_dealt_with(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("dead-letters")).out == "no dead letters\n"
    hive.broker.queue("alice", "well", to="bob")
    dead: dict[str, Any] = {"redeliveries": 5, "state": MessageState.DEAD, "reason": "too long"}
    hive.broker.queue("alice", "kills\nbob", to="bob", **dead)
    head, row = (await hivectl("dead-letters")).out.splitlines()
    assert row.split()[-3:] == ["long", "kills", "bob"]
    assert row.split()[-5:-2] == ["5", "too", "long"]
    assert row.index("kills") == head.index("BODY")
    assert (await hivectl("dead-letters", "--full")).out.endswith("  kills\n  bob\n")
    ran = await hivectl("requeue", "2", "3")
    assert ran.out == "message 2 queued again\nmessage 3 queued again\n"
    assert (await hivectl("drop", "2")).code == Exit.USAGE
    ran = await hivectl("drop", "2", "--yes", "--json")
    assert ran.json == [{"id": 2, "state": "dropped"}]
    assert hive.broker.calls == [("requeue", 2, 3), ("drop", 2)]


async def test_history_filters_by_agent_state_and_time(hive: FakeHive, hivectl: Hivectl) -> None:
    times = ["--since", "2023-11-14T22:00Z", "--until", "2023-11-14 23:00"]
    ran = await hivectl("history", "--agent", "bob-2", "--state", "dead", *times)
    assert ran.code == Exit.OK
    begin = 1_699_999_200 * US
    wanted = MessageFilter(
        agent="bob-2", state=MessageState.DEAD, since=begin, until=begin + 3600 * US
    )
    assert hive.broker.listed == [(wanted, 50)]
    bad = await hivectl("history", "--since", "noon")
    assert bad.code == Exit.USAGE
    assert "'noon' is not a valid time. Write it like 10:00" in bad.err


async def test_search_finds_messages_and_questions(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.queue("alice", "a needle in the hay", to="bob")
    hive.broker.question("alice", "bob", "Where is the needle?", "here", "there")
    ran = await hivectl("search", "needle", "hay*", "--agent", "alice", "--limit", "9")
    assert re.search(
        r"^messages\nID .*\n 1 .* a needle in the hay\n\nquestions\nID ", ran.out, re.MULTILINE
    )
    assert "Where is the needle?" in ran.out
    assert hive.broker.listed == [
        (MessageFilter(agent="alice", text="needle hay*"), 9),
        (QuestionFilter(agent="alice", text="needle hay*"), 9),
    ]
    found = (await hivectl("search", "needle", "--json")).json
    assert [len(found[what]) for what in ("messages", "questions")] == [1, 1]
    full = await hivectl("search", "needle", "--full")
    assert "alice asks bob, open\n  Where is the needle?\n  one of:" in full.out


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--kind", "question", "--before", "5"], ["question"]),
        (["--kind", "reminder"], ["message"]),
        (["--before", "5"], ["message"]),
    ],
)
async def test_search_looks_where_it_is_told(
    hive: FakeHive, hivectl: Hivectl, arguments: list[str], asked: list[str]
) -> None:
    hive.broker.queue("alice", "a needle", to="bob", kind="reminder")
    hive.broker.question("alice", "bob", "A needle?")
    found = (await hivectl("search", "needle", *arguments, "--json")).json
    assert [what for what in ("message", "question") if found[f"{what}s"]] == asked
    assert len(hive.broker.listed) == 1


async def test_search_that_finds_nothing_says_so(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("search", "needle")
    assert (ran.code, ran.out) == (Exit.OK, "nothing found\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["questions"],
        ["questions", "--all"],
        ["questions", "--full", "--all"],
        ["threads"],
        ["dead-letters"],
        ["dead-letters", "--full"],
        ["search", "evil"],
        ["search", "evil", "--full"],
        ["remind", "--list"],
        ["answer", "1", "2"],
    ],
)
async def test_no_agent_steers_the_terminal(
    hive: FakeHive, hivectl: Hivectl, arguments: list[str]
) -> None:
    hive.broker.queue("alice", HOSTILE, state=MessageState.DEAD)
    hive.broker.question("alice", "operator", HOSTILE, "x", HOSTILE)
    answered = hive.broker.question("alice", "operator", HOSTILE)
    hive.broker.resolve(answered, QuestionState.ANSWERED, HOSTILE)
    hive.broker.remind("alice", SINCE, HOSTILE, HOSTILE)
    hive.broker.threads = [Thread("message", 1, "alice", text=HOSTILE)]
    for extra in ([], ["--json"]):
        ran = await hivectl(*arguments, *extra)
        assert ran.code == Exit.OK
        assert_harmless(ran.out)
        assert_indented(ran.out)
        assert "evil" in ran.out


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "0", "-1", "1e9"])
async def test_no_limit_that_never_ends(hive: FakeHive, hivectl: Hivectl, seconds: str) -> None:
    for command in (["inbox"], ["ask", "alice", "x"]):
        ran = await hivectl(*command, f"--wait={seconds}")
        assert ran.code == Exit.USAGE
    assert hive.broker.calls == []


async def test_completion_knows_ids(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.question("alice", "operator", "Which?")
    hive.broker.question("alice", "operator", "Gone?", state=QuestionState.ANSWERED)
    hive.broker.queue("alice", "dead", to="bob", state=MessageState.DEAD)
    hive.broker.remind("alice", SINCE, "look")
    complete: Callable[..., Any] = hivectl
    for words, at, offered in [
        ("answer ", 2, "plain,1\n"),
        ("cancel-question ", 2, "plain,1\n"),
        ("requeue ", 2, "plain,1\n"),
        ("drop ", 2, "plain,1\n"),
        ("remind --cancel ", 3, "plain,1\n"),
        ("questions --from b", 3, "plain,bob-2\n"),
    ]:
        ran = await complete(
            _HIVECTL_COMPLETE="bash_complete", COMP_WORDS=f"hivectl {words}", COMP_CWORD=str(at)
        )
        assert ran.out == offered, words
