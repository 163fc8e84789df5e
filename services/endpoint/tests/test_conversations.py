"""The tools for questions, reminders, open threads and logs, over a real bus."""

import asyncio
from typing import Any

import pytest

from services.endpoint.tests.stage import Hive
from wire import names
from wire.errors import Conflict, LimitExceeded, Stopping
from wire.fixtures import Connect
from wire.records.broker import Thread


def text(answer: Any) -> str:
    assert answer["isError"] is True
    value: str = answer["content"][0]["text"]
    return value


async def test_a_question_reaches_the_broker_and_is_not_waited_for(hive: Hive) -> None:
    client = await hive.client()
    answer = await client.call("ask", question="which?")
    assert answer["structuredContent"] == {"question": 1}
    await client.call(
        "ask", question="which?", options=["red", "blue"], multi=True, ttl_seconds=60, to="bob"
    )
    [first, (_, to, question, options)] = hive.broker.calls
    assert first[:3] == ("Ask", "operator", "which?")
    assert first[3].keys() == {"dedupe_key"}
    assert (to, question) == ("bob", "which?")
    assert options.pop("dedupe_key") != first[3]["dedupe_key"]
    assert options == {"choices": ["red", "blue"], "multi": True, "ttl_s": 60}


async def test_a_tool_call_that_waits_is_asked_of_the_operator(hive: Hive) -> None:
    harness = await hive.harness()
    answer = await harness.call(
        "ask_permission",
        call="0a1b",
        question="Bash:\n    git push",
        options=["Allow once", "Always allow", "Deny"],
        rule="Bash(git push:*)",
    )
    assert answer["structuredContent"] == {"question": 1}
    [(name, to, question, options)] = hive.broker.calls
    assert (name, to, question) == ("Ask", "operator", "Bash:\n    git push")
    assert options.pop("dedupe_key")
    assert options == {
        "choices": ["Allow once", "Always allow", "Deny"],
        "permission": "0a1b",
        "rule": "Bash(git push:*)",
    }
    await harness.call("cancel_permission", id=1)
    assert hive.broker.calls[1:] == [("Cancel", 1)]


@pytest.mark.parametrize(("answer", "sent"), [("yes", ["yes"]), (["red", "blue"], ["red", "blue"])])
async def test_an_answer_is_a_text_or_a_list(hive: Hive, answer: Any, sent: list[str]) -> None:
    result = await (await hive.client()).call("answer", id=7, answer=answer)
    assert result["structuredContent"] == {"question": 7}
    assert hive.broker.calls == [("Answer", 7, sent)]


async def test_cancel_knows_questions_from_reminders(hive: Hive) -> None:
    client = await hive.client()
    await client.call("cancel", kind="question", id=3)
    await client.call("cancel", kind="reminder", id=4)
    assert hive.broker.calls == [("Cancel", 3), ("CancelReminder", 4)]


@pytest.mark.parametrize(
    ("when", "due", "options"),
    [
        ({"after_seconds": 5}, 0, {"after_s": 5}),
        ({"at": "1970-01-01T01:00:01+01:00"}, 1_000_000, {}),
        ({"at": "2030-01-31T08:00:00Z"}, 1_896_076_800_000_000, {}),
        ({"at": "2030-01-31T08:00:00.5Z", "file": "/state/x"}, 1_896_076_800_500_000, None),
    ],
)
async def test_a_reminder_says_when(
    hive: Hive, when: dict[str, Any], due: int, options: dict[str, Any] | None
) -> None:
    answer = await (await hive.client()).call("remind", text="look", **when)
    assert answer["structuredContent"] == {"reminder": 1}
    [(member, sent, body, given)] = hive.broker.calls
    assert (member, sent, body) == ("Remind", due, "look")
    assert given.pop("dedupe_key")
    assert given == ({"file": "/state/x"} if options is None else options)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"text": "x"}, "after_seconds"),
        ({"text": "x", "at": "2030-01-31T08:00:00Z", "after_seconds": 1}, "either"),
        ({"after_seconds": 1}, "text"),
        ({"text": "x", "at": "2030-01-31T08:00:00"}, "no time zone"),
        ({"text": "x", "at": "tomorrow"}, "2030"),
        ({"text": "x", "at": "2030-02-30T08:00:00Z"}, "2030"),
        ({"text": "x", "at": "1969-12-31T23:59:59Z"}, "past"),
        ({"text": "x", "at": "0001-01-01T00:00:00+23:59"}, "past"),
    ],
)
async def test_a_reminder_that_makes_no_sense_is_explained(
    hive: Hive, arguments: dict[str, Any], word: str
) -> None:
    assert word in text(await (await hive.client()).call("remind", **arguments))
    assert hive.broker.calls == []


async def test_open_threads_are_counted_and_can_be_read(hive: Hive) -> None:
    hive.broker.threads = [
        *(Thread("question", id, "alice", "operator", "?") for id in (1, 2)),
        Thread("reminder", 3, since=1_000_000, due=2_500_000),
        Thread("unavailable", text="approvals", since=2**62),
    ]
    client = await hive.client()
    shown = (await client.call("get_open_threads"))["structuredContent"]
    assert shown["counts"] == {"question": 2, "reminder": 1, "unavailable": 1}
    assert shown["threads"][0] == {
        **{"kind": "question", "id": 1, "from": "alice"},
        **{"to": "operator", "text": "?"},
    }
    assert shown["threads"][2]["since"] == "1970-01-01T00:00:01+00:00"
    assert shown["threads"][2]["due"] == "1970-01-01T00:00:02+00:00"
    few = (await client.call("get_open_threads", limit=1))["structuredContent"]
    assert [row["kind"] for row in few["threads"]] == ["question", "reminder", "unavailable"]
    assert few["counts"] == shown["counts"]


async def test_a_message_of_an_earlier_life_says_so(hive: Hive) -> None:
    client = await hive.client()
    await hive.broker.queue(1, earlier_life=True)
    await hive.broker.queue(2)
    [first, second] = (await client.call("recv"))["structuredContent"]["messages"]
    assert first["earlier_life"] is True
    assert not {"earlier_life", "invocation", "state"} & second.keys()


async def test_the_manager_reads_logs(managers_hive: Hive) -> None:
    client = await managers_hive.client()
    answer = await client.call("get_logs", name="alice", lines=2)
    assert answer["structuredContent"] == {"lines": ["line 0 of alice", "line 1 of alice"]}
    assert "list_agents" in text(await client.call("get_logs", name="nobody"))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("ask", {"question": "?"}), ("remind", {"text": "x", "after_seconds": 9})],
)
async def test_nothing_is_asked_or_set_twice_over_a_restart(
    hive: Hive, connect: Connect, tool: str, arguments: dict[str, Any]
) -> None:
    hive.broker.hold = asyncio.Event()
    client = await hive.client()
    await client.start(tool, **arguments)
    await hive.broker.until(lambda: hive.broker.calls)
    hive.broker.hold = None
    await restart(hive, connect)
    assert "isError" not in (await client.line())["result"]
    first, again = (call[-1]["dedupe_key"] for call in hive.broker.calls)
    assert first == again


async def test_an_answer_that_a_restart_has_doubled_is_explained(
    hive: Hive, connect: Connect
) -> None:
    hive.broker.error = Stopping("The broker stops.")
    client = await hive.client()
    await client.start("answer", id=1, answer="yes")
    await hive.broker.until(lambda: hive.broker.refused == 1)
    hive.broker.error = Conflict("Question 1 is answered already.")
    await restart(hive, connect)
    assert "this very call may have done it" in text((await client.line())["result"])
    assert text(await client.call("answer", id=1, answer="yes")) == str(hive.broker.error)


async def test_a_limit_is_told_in_the_broker_s_words(hive: Hive) -> None:
    hive.broker.error = LimitExceeded("You have 100 open questions; cancel one first.")
    answer = await (await hive.client()).call("ask", question="?")
    assert text(answer) == "You have 100 open questions; cancel one first."


async def restart(hive: Hive, connect: Connect) -> None:
    await hive.server.close()
    second = await connect()
    second.export(names.BROKER_PATH, hive.broker)
    await second.own(names.BROKER)
