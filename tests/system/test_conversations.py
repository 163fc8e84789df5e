"""Questions, reminders, threads: the real Claude Code calls the tools that a script chooses."""

import json
from typing import Any

import pytest

from tests.system.hive import Hive
from tests.system.inside import call, hivectl, inside, mcp, refused, wait_for_inbox

pytestmark = pytest.mark.system


def test_an_agent_answers_what_the_operator_asks(swarm: Hive) -> None:
    answer = swarm.hivectl("ask", "alice", "What is six times seven?", "--wait", "60")
    assert answer.stdout.strip() == "42"
    answer = swarm.run(
        *("hivectl", "ask", "alice", "Which one?", "--choice", "red", "--choice", "blue"),
        *("--wait", "60"),
    )
    assert answer.stdout == "red\n"
    question = hivectl(swarm, "questions", "--all", "--to", "alice")[-1]
    assert (question["state"], question["answered_by"]) == ("answered", "alice")


def test_an_answer_of_the_operator_wakes_the_agent_that_asked(swarm: Hive) -> None:
    swarm.hivectl("send", "alice", "ask the operator what to paint it: green or yellow")
    assert wait_for_inbox(swarm, "I have asked you something")["from"] == "alice"
    question = hivectl(swarm, "questions", "--from", "alice")[-1]
    assert question["choices"] == ["green", "yellow"]
    wrong = swarm.hivectl("answer", str(question["id"]), "purple", check=False)
    assert wrong.returncode != 0
    assert "green" in wrong.stderr
    swarm.hivectl("answer", str(question["id"]), "yellow")
    assert wait_for_inbox(swarm, "I go on with your answer: yellow")["from"] == "alice"
    told = hivectl(swarm, "history", "--to", "alice", "--kind", "question-answered")[-1]
    assert "answered by operator" in told["body"]


def test_a_reminder_brings_the_text_of_its_file(swarm: Hive) -> None:
    swarm.hivectl("send", "alice", "note water the plants")
    told = wait_for_inbox(swarm, "I was reminded")
    assert told["body"] == "I was reminded. My note says: to do: water the plants"
    due = hivectl(swarm, "history", "--to", "alice", "--kind", "reminder")[-1]
    assert "/state/note.txt" in due["body"]
    assert "water the plants" not in due["body"], "the host has opened the file"


def test_what_is_said_to_all_reaches_each_agent_but_the_sender(swarm: Hive) -> None:
    swarm.hivectl("send", "manager", "tell all the coffee is ready")
    news = "For your information: the coffee is ready"

    def told() -> set[str]:
        return {
            m["to"] for m in hivectl(swarm, "history", "--from", "manager") if m["body"] == news
        }

    # The manager reads what comes later only when that turn is over.
    swarm.hivectl("send", "manager", "who is there?")
    wait_for_inbox(swarm, "These are the agents")
    assert told() == {"alice", "bob"}


def test_the_operator_is_read_before_the_flood_of_an_agent(swarm: Hive) -> None:
    flood = [["send", {"to": "alice", "body": f"spam {number}"}] for number in range(100)]
    harness = ("systemctl", "kill", "--kill-whom=main", "hive-harness.service", "--signal")
    inside(swarm, "alice", *harness, "STOP")
    try:
        assert not any(refused(answer) for answer in mcp(swarm, "bob", calls=flood))
        swarm.hivectl("send", "alice", "please stop")
        received = result(call(swarm, "alice", "recv", max=10))["messages"]
        assert (received[0]["from"], received[0]["body"]) == ("operator", "please stop")
        assert {message["from"] for message in received[1:]} == {"bob"}
        purged = hivectl(swarm, "purge-inbox", "alice", "--from", "bob", "--yes")
        assert purged["dropped"] + purged["leased"] == 100
        assert purged["leased"] <= 10
    finally:
        inside(swarm, "alice", *harness, "CONT")
    answer = swarm.hivectl("ask", "alice", "What is six times seven?", "--wait", "60")
    assert answer.stdout.strip() == "42"


def test_the_manager_sees_what_is_open_in_the_whole_hive(swarm: Hive) -> None:
    reminder = result(call(swarm, "bob", "remind", text="water the plants", after_seconds=3600))
    question = result(call(swarm, "bob", "ask", question="May I?", ttl_seconds=3600))
    try:
        swarm.hivectl("send", "manager", "what is open?")
        told = wait_for_inbox(swarm, "This is open")["body"].removeprefix("This is open: ")
        threads = json.loads(told)["threads"]
        kinds = {(row["kind"], row.get("id")) for row in threads if row.get("from") == "bob"}
        assert ("question", question["question"]) in kinds
        own = result(call(swarm, "bob", "get_open_threads"))
        assert own["counts"]["reminder"] == 1
        assert {row["id"] for row in own["threads"] if row["kind"] == "reminder"} == {
            reminder["reminder"]
        }
        alice = result(call(swarm, "alice", "get_open_threads"))
        assert not any(row.get("from") == "bob" for row in alice["threads"])
    finally:
        result(call(swarm, "bob", "cancel", kind="reminder", id=reminder["reminder"]))
        result(call(swarm, "bob", "cancel", kind="question", id=question["question"]))


def test_the_manager_reads_the_logs_of_an_agent_and_nobody_else_does(swarm: Hive) -> None:
    lines = result(call(swarm, "manager", "get_logs", name="alice", lines=200))["lines"]
    assert any("Started systemd-nspawn@h-alice.service" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert "error" in call(swarm, "alice", "get_logs", name="bob")


def result(answer: dict[str, Any]) -> dict[str, Any]:
    assert "isError" not in answer["result"], answer
    value: dict[str, Any] = answer["result"]["structuredContent"]
    return value
