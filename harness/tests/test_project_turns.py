"""Turns of the real Claude Code in the working copy of a project."""

import pytest

from harness.tests.conftest import Harness
from harness.tests.hive import Hive
from harness.tests.upstream import Upstream

WEB = [{"name": "web"}]


@pytest.fixture
def upstream(harness: Harness) -> Upstream:
    made = Upstream(harness.root)
    made.commit("Say hello.\n", "AGENTS.md")
    return made


async def test_turns_run_in_the_working_copy_and_hear_of_moves(
    harness: Harness, hive: Hive, upstream: Upstream
) -> None:
    await harness.start()
    first = await hive.push("where are you")
    await hive.until(lambda: first in hive.acknowledged)
    assert str(harness.state) in hive.sent[0]["body"]
    session = (harness.state / "hyperhive-session-id").read_text()
    assert await harness.stop() == 0

    away = upstream.path.rename(harness.root / "away")
    await harness.start(projects=WEB)
    early = await hive.push("where are you")
    await hive.until(lambda: early in hive.acknowledged)
    assert str(harness.state) in hive.sent[1]["body"]
    assert "of the project web cannot be made" in harness.events("wake")[-1]["prompt"]
    away.rename(upstream.path)
    second = await hive.push("where are you")
    await hive.until(lambda: second in hive.acknowledged)
    assert hive.sent[2]["body"].split() == [str(upstream.work / "web"), "main"]
    assert (harness.state / "hyperhive-session-id").read_text() == session
    assert not [e for e in harness.events("note") if "could not be continued" in e["text"]]
    prompt = (harness.root / "run/prompt.md").read_text()
    assert "You work on the project `web`." in prompt
    assert "Say hello." in prompt
    assert "moved" not in harness.events("wake")[-1]["prompt"]

    upstream.commit("two\n")
    third = await hive.push("where are you")
    await hive.until(lambda: third in hive.acknowledged)
    assert "`main` of the project web has moved from" in harness.events("wake")[-1]["prompt"]
    fourth = await hive.push("where are you")
    await hive.until(lambda: fourth in hive.acknowledged)
    assert "has moved" not in harness.events("wake")[-1]["prompt"]

    (upstream.work / "web/new").write_text("mine\n")
    answer = await hive.command("reset-project", value="web", by="operator")
    assert f"{upstream.work}/web is clean" in answer["text"]
    assert not (upstream.work / "web/new").exists()
    answer = await hive.command("reset-project", value="docs", by="operator")
    assert answer["error"].startswith("The agent has no project 'docs'")
    fifth = await hive.push("where are you")
    await hive.until(lambda: fifth in hive.acknowledged)
    assert "The operator has reset your working copy" in harness.events("wake")[-1]["prompt"]


async def test_a_move_begins_a_turn_if_the_agent_wants_that(
    harness: Harness, hive: Hive, upstream: Upstream
) -> None:
    await harness.start(projects=[{"name": "web", "wake": True}])
    number = await hive.push("hello")
    await hive.until(lambda: number in hive.acknowledged)
    await hive.until(lambda: hive.state == "idle")
    assert len(harness.events("wake")) == 1
    upstream.commit("two\n")
    await hive.until(lambda: len(harness.events("wake")) == 2 and hive.state == "idle")
    [_, woken] = harness.events("wake")
    assert "`main` of the project web has moved from" in woken["prompt"]
    number = await harness.waiting_for("wait for go")
    upstream.commit("three\n")
    (upstream.work / "web/go").touch()
    await hive.until(lambda: number in hive.acknowledged)
    await hive.until(lambda: len(harness.events("wake")) == 4 and hive.state == "idle")
    prompts = [event["prompt"] for event in harness.events("wake")]
    assert ["has moved" in prompt for prompt in prompts] == [False, True, False, True]
    number = await hive.push("hello")
    await hive.until(lambda: number in hive.acknowledged)
    assert len(harness.events("wake")) == 5, "it was told, and begins no other turn"
