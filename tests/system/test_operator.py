"""The operator's verbs on a real hive, one after the other."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import call, hivectl, refused, wait_for_inbox

pytestmark = pytest.mark.system

REDELIVERIES = 5
BROKER = ["org.hyperhive.Broker1", "/org/hyperhive/Broker1", "org.hyperhive.Broker1"]


@pytest.fixture
def silent(swarm: Hive) -> Iterator[str]:
    """Stop an agent, so that it can be asked but does not answer; return its name."""
    swarm.run("hivectl", "stop", "alice", timeout=120)
    yield "alice"
    swarm.run("hivectl", "start", "alice", timeout=120)


def asks(hive: Hive, agent: str, **arguments: Any) -> int:
    """Ask something from inside an agent's container, and return the question's id."""
    answer = call(hive, agent, "ask", **arguments)
    assert not refused(answer), answer
    return int(json.loads(answer["result"]["content"][0]["text"])["question"])


def question(hive: Hive, number: int) -> dict[str, Any]:
    [found] = [q for q in hivectl(hive, "questions", "--all") if q["id"] == number]
    return dict(found)


def test_an_agent_asks_and_the_operator_answers(swarm: Hive) -> None:
    number = asks(swarm, "bob", question="Which one?", options=["red", "green", "blue"], multi=True)
    shown = swarm.run("hivectl", "questions").stdout
    assert f"{number}  " in shown
    assert "one or more of:" in shown
    assert "1  red" in shown
    wrong = swarm.run("hivectl", "answer", str(number), "4", check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (Exit.USAGE, 1)
    swarm.run("hivectl", "answer", str(number), "3", "red")
    answered = question(swarm, number)
    assert (answered["state"], answered["answered_by"]) == ("answered", "operator")
    assert sorted(answered["answer"]) == ["blue", "red"]
    told = hivectl(swarm, "history", "--to", "bob", "--kind", "question-answered")[-1]
    assert told["from"] == "system"
    assert "blue" in told["body"]
    again = swarm.run("hivectl", "answer", str(number), "green", check=False)
    assert again.returncode == Exit.CONFLICT


@pytest.mark.long
def test_an_answer_in_the_place_of_an_agent_ends_the_wait(swarm: Hive, silent: str) -> None:
    text = f"How many {uuid.uuid4()}?"
    asking = swarm.popen("hivectl", "ask", silent, text, "--wait", "60")
    assert asking.stderr is not None
    number = asking.stderr.readline().split()[1]  # told as soon as it is asked
    swarm.run("hivectl", "answer", number, "forty two")
    out, err = asking.communicate(timeout=60)
    assert (asking.returncode, out, err) == (0, "forty two\n", "")
    assert question(swarm, int(number))["to"] == silent
    # A message that was printed is read.
    [told] = [m for m in hivectl(swarm, "inbox", "--all") if text in m["body"]]
    assert ("forty two" in told["body"], told["state"]) == (True, "acknowledged")


@pytest.mark.long
def test_a_question_that_nobody_answers_expires(swarm: Hive, silent: str) -> None:
    ran = swarm.run("hivectl", "ask", silent, "Still there?", "--ttl", "1s", "--wait", check=False)
    assert ran.returncode == Exit.TIMEOUT
    assert "expired unanswered" in ran.stderr
    assert wait_for_inbox(swarm, "Still there?")["kind"] == "question-answered"


def test_a_question_is_taken_back(swarm: Hive) -> None:
    number = asks(swarm, "bob", question="May I?")
    swarm.run("hivectl", "cancel-question", str(number))
    assert question(swarm, number)["state"] == "cancelled"
    told = hivectl(swarm, "history", "--to", "bob", "--kind", "question-answered")[-1]
    assert "[cancelled]" in told["body"]


@pytest.mark.long
def test_reminders_come_when_they_are_due(swarm: Hive) -> None:
    text = f"look at it, {uuid.uuid4()}"
    later = hivectl(swarm, "remind", "much later", "--at", "tomorrow 10:00")
    assert later["due"].endswith(":00:00.000000Z")
    swarm.run("hivectl", "remind", text, "--in", "1s")
    message = wait_for_inbox(swarm, text)
    assert (message["kind"], message["from"]) == ("reminder", "system")
    assert later["id"] in {r["id"] for r in hivectl(swarm, "remind", "--list")}
    swarm.run("hivectl", "remind", "--cancel", str(later["id"]))
    assert later["id"] not in {r["id"] for r in hivectl(swarm, "remind", "--list")}


@pytest.mark.long
def test_threads_show_what_is_open(swarm: Hive) -> None:
    asked = asks(swarm, "bob", question="Is this open?")
    reminder = hivectl(swarm, "remind", "an open reminder", "--in", "1h")["id"]
    sent = hivectl(swarm, "send", "operator", "an open message")["id"]
    found = {(t["kind"], t["id"]) for t in hivectl(swarm, "threads")}
    assert {("question", asked), ("reminder", reminder), ("message", sent)} <= found
    shown = swarm.run("hivectl", "threads").stdout
    assert "open questions" in shown
    assert "Is this open?" in shown
    swarm.run("hivectl", "cancel-question", str(asked))
    swarm.run("hivectl", "remind", "--cancel", str(reminder))
    swarm.run("hivectl", "inbox", "--ack")
    left = {(t["kind"], t["id"]) for t in hivectl(swarm, "threads")}
    assert not left & {("question", asked), ("reminder", reminder), ("message", sent)}


def dies(swarm: Hive, text: str) -> int:
    """Send a message that becomes a dead letter, and return its id."""
    swarm.run("hivectl", "inbox", "--ack")
    number = int(hivectl(swarm, "send", "operator", text)["id"])
    fail_to_acknowledge(swarm)
    return number


def fail_to_acknowledge(swarm: Hive) -> None:
    for _ in range(1 + REDELIVERIES):
        # busctl leaves the bus with its lease, so the next one gets the message again.
        received = swarm.run("busctl", "call", *BROKER, "Receive", "uu", "100", "30000")
        assert not received.stdout.startswith("a(tssssxubtssbbss) 0")
    swarm.run("systemctl", "restart", "hive-broker")  # what is to be parked is parked by then


@pytest.mark.long
def test_dead_letters_are_sent_again_or_dropped(swarm: Hive) -> None:
    text = f"indigestible {uuid.uuid4()}"
    number = dies(swarm, text)
    assert text not in swarm.run("hivectl", "inbox").stdout
    [dead] = [m for m in hivectl(swarm, "dead-letters") if m["id"] == number]
    assert (dead["state"], dead["redeliveries"]) == ("dead", 1 + REDELIVERIES)
    assert text in swarm.run("hivectl", "dead-letters").stdout
    swarm.run("hivectl", "requeue", str(number))
    assert text in swarm.run("hivectl", "inbox").stdout
    fail_to_acknowledge(swarm)
    assert number in {m["id"] for m in hivectl(swarm, "dead-letters")}
    swarm.run("hivectl", "drop", str(number), "--yes")
    assert number not in {m["id"] for m in hivectl(swarm, "dead-letters")}
    assert number in {m["id"] for m in hivectl(swarm, "history", "--state", "dropped")}
    twice = swarm.run("hivectl", "drop", str(number), "--yes", check=False)
    assert twice.returncode == Exit.NOT_FOUND


def test_what_was_said_is_found(swarm: Hive) -> None:
    word = f"needle{uuid.uuid4().hex}"
    sent = hivectl(swarm, "send", "operator", f"a {word} in the hay")["id"]
    asked = asks(swarm, "bob", question=f"Where is the {word}?")
    found = hivectl(swarm, "search", word[:12] + "*", "hay")
    assert [m["id"] for m in found["messages"]] == [sent]
    assert found["questions"] == []
    found = hivectl(swarm, "search", word, "--agent", "bob", "--since", "1h")
    assert (found["messages"], [q["id"] for q in found["questions"]]) == ([], [asked])
    assert hivectl(swarm, "search", word, "--until", "1h")["messages"] == []
    assert [m["id"] for m in hivectl(swarm, "history", "--limit", "1", "--state", "queued")] == [
        sent
    ]
    swarm.run("hivectl", "cancel-question", str(asked))
    swarm.run("hivectl", "inbox", "--ack")


def test_the_store_is_cleaned_up(swarm: Hive) -> None:
    hivectl(swarm, "vacuum")  # other tests make a turn that is that old
    assert hivectl(swarm, "vacuum") == {"deleted": 0, "turns": 0}
