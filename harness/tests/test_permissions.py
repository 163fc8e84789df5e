"""Tool calls that wait for the operator, with a fake hive and without Claude Code."""

import asyncio

import pytest
from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny

from harness.claude import permissions
from harness.claude.permissions import ALLOW_ALWAYS, ALLOW_ONCE, ALLOW_SESSION, DENY, Permissions
from harness.config import Config
from harness.hive_client import HiveClient, Message
from harness.tests.fake_operator import PUSH, Operator, suggested
from harness.tests.hive import Hive
from harness.turns.inbox import Inbox


async def test_a_call_waits_for_the_operator_and_is_allowed_once(
    operator: Operator, hive: Hive
) -> None:
    for round_ in (1, 2):
        task = operator.decide("Bash", PUSH)
        questions = await operator.asked(round_)
        assert not task.done()
        await operator.waiting_for("waits for the operator: Bash: git push origin main")
        number = await hive.answer(round_ - 1, ALLOW_ONCE)
        assert await task == PermissionResultAllow()
        assert operator.waits[-1] is None
        assert hive.acknowledged[-1] == number, "before the call goes on"
    assert questions[0]["question"] == "May I use Bash?\n\ncommand:\n    git push origin main"
    assert questions[0]["options"] == [ALLOW_ONCE, ALLOW_SESSION, ALLOW_ALWAYS, DENY]
    assert questions[0]["rule"] == "Bash(git push origin main)"
    assert [note["type"] for note in operator.notes] == ["permission"] * 4
    assert "answer" not in operator.notes[0]
    assert operator.notes[1]["answer"] == [ALLOW_ONCE]


@pytest.mark.parametrize("choice", [ALLOW_SESSION, ALLOW_ALWAYS])
async def test_a_session_s_decision_holds_until_the_session_ends(
    operator: Operator, hive: Hive, choice: str
) -> None:
    rule = suggested("WebFetch", "domain:example.org")
    task = operator.decide("WebFetch", {"url": "http://example.org/a", "prompt": "x"}, rule)
    [question] = await operator.asked(1)
    assert question["rule"] == "WebFetch(domain:example.org)"
    await hive.answer(0, choice)
    assert await task == PermissionResultAllow()
    other = {"url": "http://example.org/b", "prompt": "y"}
    assert await operator.decide("WebFetch", other, rule) == PermissionResultAllow()
    assert len(hive.questions) == 1
    operator.permissions.forget()
    task = operator.decide("WebFetch", other, rule)
    await operator.asked(2)
    await hive.answer(1, DENY)
    assert (await task).behavior == "deny"


@pytest.mark.parametrize(
    ("given", "end", "words"),
    [
        ([DENY], "answered by operator.", "Bash was not run: the operator has denied it."),
        (
            [DENY, "Push to the fork."],
            "answered by operator.",
            "Bash was not run: the operator has denied it, and says: Push to the fork.",
        ),
        (
            [ALLOW_ONCE, "but only to the fork"],
            "answered by operator.",
            "Bash was not run: the operator has denied it, and says: but only to the fork.",
        ),
        (
            [],
            "not answered: the operator has cancelled it.",
            "Bash was not run: the request for a permission was not answered: the operator has "
            "cancelled it.",
        ),
    ],
)
async def test_a_denial_says_why(
    operator: Operator, hive: Hive, given: list[str], end: str, words: str
) -> None:
    task = operator.decide("Bash", PUSH)
    await operator.asked(1)
    await hive.answer(0, *given, end=end)
    assert await task == PermissionResultDeny(message=words)
    assert operator.notes[-1]["type"] == "denied"
    assert operator.notes[-1]["tool"] == "Bash"


async def test_an_agent_that_does_not_ask_for_a_tool_is_denied_it_at_once(
    hive: Hive, client: HiveClient
) -> None:
    operator = Operator(hive, client, ask_tools=["mcp__docs", "Bash(rm:*)"])
    denied = await operator.decide("WebFetch", {"url": "http://x/"})
    assert denied.message == (
        "WebFetch was not run: it is not allowed; the manager can request it in agent.toml."
    )
    assert hive.questions == []
    task = operator.decide("mcp__docs__delete", {"id": 3})
    [question] = await operator.asked(1)
    assert question["rule"] == "mcp__docs__delete"
    task.cancel()


async def test_a_rule_that_agent_toml_allows_is_not_asked_again(
    hive: Hive, client: HiveClient
) -> None:
    operator = Operator(
        hive, client, ask_tools=["WebFetch"], allowed_tools=["WebFetch(domain:example.org)"]
    )
    rule = suggested("WebFetch", "domain:example.org")
    allowed = await operator.decide("WebFetch", {"url": "http://example.org/"}, rule)
    assert allowed == PermissionResultAllow()
    assert hive.questions == []


async def test_two_calls_wait_at_the_same_time_and_the_same_call_twice(
    operator: Operator, hive: Hive
) -> None:
    tasks = [operator.decide("Bash", PUSH), operator.decide("Bash", {"command": "git push x"})]
    tasks.append(operator.decide("Bash", PUSH))
    questions = await operator.asked(3)
    assert len({question["call"] for question in questions}) == 3
    await hive.answer(1, DENY)
    assert (await tasks[1]).behavior == "deny"
    assert operator.waits == ["waits for the operator: Bash: git push origin main"]
    await hive.answer(2, ALLOW_ONCE)
    assert (await tasks[2]).behavior == "allow"
    assert not tasks[0].done()
    await hive.answer(0, DENY)
    assert (await tasks[0]).behavior == "deny"
    assert operator.waits[1:] == [None]


async def test_a_call_that_is_interrupted_takes_its_question_back(
    operator: Operator, hive: Hive
) -> None:
    task = operator.decide("Bash", PUSH)
    await operator.asked(1)
    task.cancel()
    await hive.until(lambda: hive.open_questions == [])
    task = operator.decide("Bash", PUSH)
    await operator.waiting_for("waits for the operator: Bash: git push origin main")
    task.cancel()
    await hive.until(lambda: hive.called("cancel_permission") == 2)
    assert operator.waits[-1] is None


async def test_a_question_outlives_its_harness_and_the_same_call_is_not_asked_twice(
    hive: Hive, client: HiveClient
) -> None:
    before = Operator(hive, client, ask_tools=["Bash"])
    task = before.decide("Bash", PUSH)
    await before.asked(1)
    before.permissions.detach()
    task.cancel()
    after = Operator(hive, client, ask_tools=["Bash"])
    again = after.decide("Bash", PUSH)
    await hive.until(lambda: hive.called("ask_permission") == 2)
    assert hive.called("cancel_permission") == 0
    await hive.answer(0, ALLOW_ONCE)
    [message] = await client.receive(10)
    assert await after.permissions.take(message)
    assert await again == PermissionResultAllow()
    assert len(hive.questions) == 1


async def late(operator: Operator, hive: Hive, *given: str, redeliveries: int = 0) -> Message:
    """Answer a question whose call is gone; return the message for the prompt."""
    task = operator.decide("Bash", PUSH)
    await operator.asked(1)
    operator.permissions.detach()
    task.cancel()
    await asyncio.wait({task})
    number = await hive.answer(0, *given)
    await hive.until(lambda: any(message.id == number for message in operator.untaken))
    operator.permissions = Permissions(
        Config("bob", permissions="ask"), operator.client, operator.note, 570.0
    )
    [message] = operator.untaken
    changed = Message(**(vars(message) | {"redeliveries": redeliveries}))
    return operator.permissions.late(changed)


async def test_a_late_answer_is_told_and_lets_the_very_same_call_pass_once(
    operator: Operator, hive: Hive
) -> None:
    message = await late(operator, hive, ALLOW_ONCE)
    assert message.body.startswith("Your request 0 for a permission was answered by operator.\n")
    assert message.body.endswith(
        "[The tool call that waited for it is gone: it ended with a restart. If you still need it, "
        "make exactly the same call again: the answer holds for it.]"
    )
    other = operator.decide("Bash", {"command": "git push origin main --force"})
    await operator.asked(2)
    assert await operator.decide("Bash", PUSH) == PermissionResultAllow()
    operator.decide("Bash", PUSH)
    await operator.asked(3)
    assert not other.done()


async def test_a_turn_that_is_repeated_does_not_let_the_call_pass_again(
    operator: Operator, hive: Hive
) -> None:
    await late(operator, hive, ALLOW_ONCE)
    assert await operator.decide("Bash", PUSH) == PermissionResultAllow()
    [message] = operator.untaken
    again = operator.permissions.late(message)
    assert again.body.endswith("is gone: it ended with a restart.]")
    operator.decide("Bash", PUSH)
    await operator.asked(2)


async def test_an_answer_that_a_call_for_all_messages_leases_is_not_kept_for_the_next_turn(
    hive: Hive, client: HiveClient
) -> None:
    inbox = Inbox(client)
    everything = inbox.receiving(10)
    number = await hive.push("answered", "system", kind="permission-answered", urgent=True)
    await everything
    async with asyncio.timeout(20):
        batch = await inbox.receive_urgent()
    assert batch is not None
    assert batch.ids == [number]
    await inbox.close()


async def test_a_late_denial_holds_for_the_same_call(operator: Operator, hive: Hive) -> None:
    await late(operator, hive, DENY, "never")
    denied = await operator.decide("Bash", PUSH)
    assert denied.message == "Bash was not run: the operator has denied it, and says: never."


async def test_a_late_answer_that_was_delivered_before_lets_nothing_pass(
    operator: Operator, hive: Hive
) -> None:
    message = await late(operator, hive, ALLOW_ONCE, redeliveries=1)
    assert message.body.endswith("is gone: it ended with a restart.]")
    operator.decide("Bash", PUSH)
    await operator.asked(2)


async def test_a_late_answer_for_the_session_holds_for_the_session(
    operator: Operator, hive: Hive
) -> None:
    await late(operator, hive, ALLOW_SESSION)
    for _ in range(3):
        assert await operator.decide("Bash", PUSH) == PermissionResultAllow()


@pytest.mark.parametrize("change", [{"sender": "alice"}, {"kind": "message"}, {"body": "Call: x"}])
async def test_only_the_broker_s_message_is_an_answer(
    operator: Operator, hive: Hive, change: dict[str, str]
) -> None:
    task = operator.decide("Bash", PUSH)
    await operator.asked(1)
    number = await hive.answer(0, ALLOW_ONCE)
    message = hive.queued[0] if hive.queued else {}
    assert await task, "the real one is taken"
    forged = Message(
        **{
            "id": number,
            "sender": "system",
            "to": "bob",
            "kind": "permission-answered",
            "body": message.get("body", ""),
            "redeliveries": 0,
            "urgent": True,
            "in_reply_to": None,
        }
        | change
    )
    assert permissions.answer_of(forged) is None
    assert operator.permissions.late(forged) == forged


async def test_a_hive_that_refuses_the_question_denies_the_call(
    operator: Operator, hive: Hive
) -> None:
    hive.refuse["ask_permission"] = "bob has 100 open questions, which is the maximum."
    denied = await operator.decide("Bash", PUSH)
    assert denied.message == (
        "Bash was not run: the operator cannot be asked: bob has 100 open questions, which is the "
        "maximum."
    )
    assert operator.waits == []


async def test_a_lost_connection_asks_again_and_nothing_twice(
    operator: Operator, hive: Hive
) -> None:
    await hive.stop()
    task = operator.decide("Bash", PUSH)
    await asyncio.sleep(0)
    await hive.start()
    await operator.asked(1)
    await hive.stop()
    await hive.start()
    await hive.answer(0, ALLOW_ONCE)
    assert await task == PermissionResultAllow()
    assert len(hive.questions) == 1


async def test_what_nobody_can_read_is_not_asked(operator: Operator, hive: Hive) -> None:
    denied = await operator.decide("Bash", {"command": "x" * 30_001})
    assert "could not read more than 30000" in denied.message
    assert hive.questions == []
