"""Daily use: waiting and following, several agents, names and kinds that do not exist."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl, module_of
from hivectl.tests.fake_hive import FakeHive
from wire.errors import Conflict
from wire.records.approvals import ApprovalKind
from wire.records.broker import MessageState, QuestionState

TIME_LIMIT = 20.0


@asynccontextmanager
async def running(
    environment: dict[str, str], *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run hivectl, whose output is read as it comes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module_of(environment), *arguments),
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), TIME_LIMIT)).decode()


@pytest.mark.parametrize(
    ("typed", "code", "told"),
    [
        (["history", "--agent", "alcie"], Exit.NOT_FOUND, "Did you mean alice?"),
        (["history", "--to", "nobody"], Exit.NOT_FOUND, "There is no agent 'nobody'"),
        (["history", "--kind", "foo"], Exit.USAGE, "'foo' is not a kind of messages. Kinds are"),
        (["search", "x", "--kind", "remindr"], Exit.USAGE, "Did you mean reminder?"),
        (["search", "x", "--agent", "nobody"], Exit.NOT_FOUND, "There is no agent 'nobody'"),
        (["questions", "--to", "nobody"], Exit.NOT_FOUND, "There is no agent 'nobody'"),
        (["questions", "--from", "alicee"], Exit.NOT_FOUND, "Did you mean alice?"),
        (["inbox", "--from", "nobody"], Exit.NOT_FOUND, "There is no agent 'nobody'"),
        (["purge-inbox", "nobody"], Exit.NOT_FOUND, "There is no agent 'nobody'"),
        (["purge", "carl"], Exit.NOT_FOUND, "'carl' are kept; `hivectl tombstones` lists such"),
        (["drop", "7"], Exit.NOT_FOUND, "Message 7 is not a dead letter"),
        (["approve", "99"], Exit.NOT_FOUND, "There is no request 99"),
        (["deny", "99"], Exit.NOT_FOUND, "There is no request 99"),
        (["pause", "x*"], Exit.NOT_FOUND, "No agent matches 'x*'"),
        (["send", "nobody", "x"], Exit.NOT_FOUND, "There is no agent 'nobody'"),
    ],
)
async def test_what_does_not_exist_is_told_first(
    hive: FakeHive, hivectl: Hivectl, typed: list[str], code: Exit, told: str
) -> None:
    ran = await hivectl(*typed)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


@pytest.mark.parametrize("name", ["carol", "operator", "system", "alice"])
async def test_names_with_a_past_may_have_no_messages(
    hive: FakeHive, hivectl: Hivectl, name: str
) -> None:
    ran = await hivectl("history", "--agent", name)
    assert (ran.code, ran.out) == (Exit.OK, "no messages\n")


async def test_an_answered_question_is_the_fault_and_not_the_choice(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    number = hive.broker.question("alice", "operator", "Which?", "red", "green")
    hive.broker.resolve(number, QuestionState.ANSWERED, "red")
    hive.broker.refusal = Conflict("Question 1 was answered already.")
    ran = await hivectl("answer", "1", "9")
    assert (ran.code, ran.err) == (
        Exit.CONFLICT,
        "hivectl: Question 1 was answered already.\n",
    )


async def test_words_need_no_quotes(hive: FakeHive, hivectl: Hivectl) -> None:
    await hivectl("send", "alice", "hello", "world")
    assert hive.broker.sent[0][:2] == ("alice", "hello world")
    await hivectl("ask", "alice", "Ready", "to", "go?")
    assert hive.broker.calls[-1][:3] == ("ask", "alice", "Ready to go?")
    await hivectl("remind", "look", "here", "--in", "2h")
    assert hive.broker.reminders[-1].body == "look here"


async def test_inbox_waits_for_the_next_message(hive: FakeHive, hivectl: Hivectl) -> None:
    old = hive.broker.queue("alice", "old and unread")
    looked = asyncio.Event()
    hive.broker.on_list = looked.set
    waiting = asyncio.create_task(hivectl("inbox", "--wait", "15"))
    await asyncio.wait_for(looked.wait(), 10)
    hive.broker.queue("alice", "new")
    ran = await waiting
    assert (ran.code, ran.out.splitlines()[1:]) == (Exit.OK, ["  new"])
    at_once = await hivectl("inbox", "--wait", "15", "--after", "0", "--ack")
    assert [line for line in at_once.out.splitlines() if line.startswith(" ")] == [
        "  old and unread",
        "  new",
    ]
    assert hive.broker.acknowledged == [old, old + 1]
    assert (await hivectl("inbox", "--after", str(old + 1))).out == "inbox is empty\n"


async def test_send_waits_for_the_next_message_from_the_agent(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.broker.queue("alice", "old and unread")

    def answer(_number: int, body: str) -> None:
        hive.broker.queue("bob-2", "not this")
        hive.broker.queue("alice", f"you said {body}")

    hive.broker.on_send = answer
    ran = await hivectl("send", "alice", "hello", "--wait", "15")
    assert (ran.code, ran.out.splitlines()[1:]) == (Exit.OK, ["  you said hello"])
    assert "queued for alice" in ran.err
    assert hive.broker.acknowledged == [3]


async def test_an_answer_that_is_printed_is_read(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.queue("system", "Your question 12 to alice was", kind="question-answered")

    def answer(number: int) -> None:
        body = f"Your question {number} to alice was answered by alice."
        hive.broker.queue("system", body, kind="question-answered")
        hive.broker.resolve(number, QuestionState.ANSWERED, "yes")

    hive.broker.on_ask = answer
    assert (await hivectl("ask", "alice", "Ready?", "--wait")).out == "yes\n"
    assert hive.broker.acknowledged == [2]


async def test_inbox_and_history_follow(hive: FakeHive, environment: dict[str, str]) -> None:
    hive.broker.queue("alice", "first")
    async with running(environment, "inbox", "-f") as inbox:
        assert "1 from alice" in await line_of(inbox)
        assert await line_of(inbox) == "  first\n"
        hive.broker.queue("bob-2", "second")
        assert "2 from bob-2" in await line_of(inbox)
    async with running(environment, "history", "-f", "--limit", "1", "--json") as history:
        assert '"body": "second"' in await line_of(history)
        number = hive.broker.queue("alice", "third", to="bob-2")
        hive.broker.end(number, MessageState.QUEUED)
        assert '"body": "third"' in await line_of(history)


async def test_several_agents_are_handled_at_once(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("restart", "b*", "alice")
    assert (ran.code, sorted(ran.out.splitlines())) == (
        Exit.OK,
        ["alice: restart done", "bob-2: restart done"],
    )
    assert sorted(hive.lifecycle.calls) == [("restart", "alice"), ("restart", "bob-2")]
    stopped = await hivectl("stop", "*", "--no-wait", "--json")
    assert {one["agent"] for one in stopped.json} == {"alice", "bob-2", "manager"}
    paused = await hivectl("pause", "alice", "m*")
    assert paused.out == "alice: paused\nmanager: paused\n"


async def test_list_is_sorted_and_counts_messages(hive: FakeHive, hivectl: Hivectl) -> None:
    for number in range(3):
        hive.broker.queue("operator", f"work {number}", to="bob-2")
    hive.broker.queue("alice", "done")
    listed = (await hivectl("list", "--sort", "queue", "--json")).json
    assert [(one["name"], one["queued"], one["unread"]) for one in listed] == [
        ("bob-2", 3, 0),
        ("alice", 0, 1),
        ("manager", 0, 0),
    ]
    names = [one["name"] for one in (await hivectl("list", "-r", "--json")).json]
    assert names == ["manager", "bob-2", "alice"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (ApprovalKind.SPAWN, "carrying out request 7 …\n"),
        (
            ApprovalKind.APPLY,
            "carrying out request 7 after the agent's turn; "
            "`hivectl approve 7 --now` does not wait …\n",
        ),
    ],
)
async def test_a_job_that_takes_long_tells_its_progress(
    hive: FakeHive, environment: dict[str, str], kind: ApprovalKind, told: str
) -> None:
    hive.lifecycle.ends = False
    hive.approvals.requests[0] = hive.approvals.requests[0]._replace(kind=kind)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hivectl", "approve", "7", "--commit", "0123456"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stderr is not None
    try:
        seen = ""
        async with asyncio.timeout(TIME_LIMIT):
            while told not in seen:
                seen += (await process.stderr.readline()).decode()
            hive.lifecycle.print_job(1, "Unpacking jq \x1b[2J")
            while "  Unpacking jq <U+001B>[2J\n" not in seen:
                seen += (await process.stderr.readline()).decode()
    finally:
        process.kill()
        await process.wait()
