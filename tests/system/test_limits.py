"""An API that refuses requests for a while: limits, an overload, a login that has expired."""

import time
from collections.abc import Iterator

import pytest

from sandbox.hive import MODEL_HOST
from tests.system.following import following
from tests.system.hive import Hive
from tests.system.inside import (
    change_harness,
    configured,
    events,
    hivectl,
    inside,
    last_event,
    message,
    property_of,
    reconfigure,
    until_state,
    until_told,
)
from tests.system.sleeping import settings

pytestmark = pytest.mark.system

LOGIN = "/root/.claude/.credentials.json"
SECOND = 1_000_000


@pytest.fixture(scope="module")
def lena(swarm: Hive) -> Iterator[Hive]:
    """Add the agent lena, whose Claude Code has a login: that tells the ends of limits."""
    account = f"""
    [harness.environment]
    ANTHROPIC_BASE_URL = "http://{MODEL_HOST}:{swarm.ports.model}"
    CLAUDE_CODE_OAUTH_TOKEN = "sk-ant-oat01-scripted"

    # One with a login speaks to the model itself.
    [lifecycle.agents.lena]
    network = "host"
    network_allow = ["{MODEL_HOST}"]
    """
    with (
        settings(swarm, ("", account)),
        configured(swarm, "lena", "# as usual\n", {LOGIN: "{}"}),
    ):
        yield swarm


def send(hive: Hive, to: str, body: str) -> int:
    return int(hivectl(hive, "send", to, body)["id"])


def told(hive: Hive) -> int:
    """Return how often the operator was told of lena's limits."""
    found = hivectl(hive, "history", "--to", "operator", "--kind", "provider-limit")
    return sum("lena has reached a usage limit" in one["body"] for one in found)


@pytest.mark.long
def test_a_usage_limit_is_shown_from_the_first_reply_on_and_waited_for(lena: Hive) -> None:
    before = last_event(lena, "lena")
    number = send(lena, "lena", "play usage-limit-for 10")
    until_state(lena, "lena", "rate-limited", "TurnState")
    until = property_of(lena, "lena", "TurnUntil") / SECOND
    assert -1 < until - time.time() < 12
    until_told(lena, "operator", "provider-limit", "lena has reached a usage limit")
    lena.until_settled(number)
    until_state(lena, "lena", "idle", "TurnState")
    seen = events(lena, "lena", after=before)
    kinds = [event["type"] for event in seen]
    limited = next(
        place for place, event in enumerate(seen) if event["data"].get("state") == "rate-limited"
    )
    assert seen[limited]["data"]["until"] == int(until)
    assert limited < kinds.index("turn-end"), "shown before Claude Code ends the turn"
    first, second = (event["at"] for event in seen if event["type"] == "wake")
    assert first < until <= second
    assert message(lena, number)["redeliveries"] == 0
    assert told(lena) == 1
    assert [one for one in hivectl(lena, "holds") if one["agent"] == "lena"] == []


@pytest.mark.long
def test_an_agent_that_does_not_go_on_by_itself_waits_for_the_operator(lena: Hive) -> None:
    reconfigure(lena, "lena", "resume_after_limit = false\n")
    before = last_event(lena, "lena")
    number = send(lena, "lena", "play usage-limit-for 10")
    until_state(lena, "lena", "held", "TurnState")
    assert "usage limit" in property_of(lena, "lena", "TurnReason")
    lena.until_settled(number, "queued")
    asked = hivectl(lena, "questions", "--from", "system")
    [question] = [one for one in asked if one["question"].startswith("lena is held")]
    assert question["choices"] == ["let it go on", "keep it held"]
    assert len(events(lena, "lena", "wake", after=before)) == 1
    lena.hivectl("answer", str(question["id"]), "let it go on")
    lena.until_settled(number)
    until_state(lena, "lena", "idle", "TurnState")
    results = events(lena, "lena", "result", after=before)
    assert results[-1]["data"]["text"] == "The limit has ended."
    assert told(lena) == 1, "within an hour, once"


@pytest.mark.long
def test_a_login_that_has_expired_is_waited_for(lena: Hive) -> None:
    number = send(lena, "lena", "play token-expired-for 8")
    until_state(lena, "lena", "needs-login", "TurnState")
    shown = hivectl(lena, "status", "lena")
    assert shown["logged_in"] is False
    assert "401" in shown["turn_reason"]
    for reader in ("operator", "manager"):
        until_told(lena, reader, "needs-login", "lena has no valid login")
    inside(lena, "lena", "tee", LOGIN, stdin='{"claudeAiOauth": {}}')
    lena.until_settled(number)
    until_state(lena, "lena", "idle", "TurnState")
    assert property_of(lena, "lena", "LoggedIn") is True
    assert message(lena, number)["redeliveries"] == 0
    until_told(lena, "manager", "logged-in", "lena has credentials again")


@pytest.mark.long
def test_an_agent_without_a_login_waits_for_one(lena: Hive) -> None:
    # A Claude Code that still runs may write the file once more.
    inside(lena, "lena", "systemctl", "stop", "hive-harness")
    inside(lena, "lena", "rm", LOGIN)
    change_harness(lena, "lena", api="none")
    until_state(lena, "lena", "needs-login", "TurnState")
    shown = hivectl(lena, "status", "lena")
    assert (shown["logged_in"], shown["turn_reason"]) == (False, "there are no credentials")
    assert "hivectl login lena" in shown["help"]
    number = send(lena, "lena", "what is 700 plus 7?")
    inside(lena, "lena", "tee", LOGIN, stdin="{}")
    until_told(lena, "operator", "message", "707")
    lena.until_settled(number)
    until_state(lena, "lena", "idle", "TurnState")


@pytest.mark.long
def test_an_overload_is_shown_from_the_first_reply_on(swarm: Hive) -> None:
    with following(swarm, "alice") as tail:
        number = send(swarm, "alice", "play overloaded-for 5")
        limited = tail.until("state", "rate-limited")
        until_state(swarm, "alice", "rate-limited", "TurnState")
        tail.until("state", "thinking")
        assert tail.until("result")["data"]["text"] == "The load is gone."
    assert limited["data"]["reason"].startswith("the model's API is overloaded (529), try 1 of ")
    assert 0 <= limited["data"]["until"] - limited["at"] + 1 < 60
    swarm.until_settled(number)
    assert message(swarm, number)["redeliveries"] == 0
    until_state(swarm, "alice", "idle", "TurnState")
