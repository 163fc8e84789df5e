"""The commands that steer an agent, and the states that list and status show."""

import time

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless, assert_indented
from wire.errors import Conflict, Unavailable
from wire.records.lifecycle import AgentState, TurnState

SECOND = 1_000_000


async def test_each_command_reaches_the_agent(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    for arguments in (
        ["cancel", "alice"],
        ["cancel", "alice", "--requeue"],
        ["compact", "alice"],
        ["new-session", "alice"],
        ["model", "alice", "claude-opus"],
        ["model", "alice", "default"],
        ["effort", "alice", "high"],
        ["effort", "alice", "default"],
    ):
        ran = await hivectl(*arguments)
        assert (ran.code, ran.out) == (Exit.OK, "alice: It was writing a poem.\n"), arguments
    assert alice.steered == [
        ("cancel", False),
        ("cancel", True),
        ("compact",),
        ("new-session",),
        ("model", "claude-opus"),
        ("model", "default"),
        ("effort", "high"),
        ("effort", "default"),
    ]
    shown = (await hivectl("cancel", "alice", "--json")).json
    assert shown == {"agent": "alice", "text": "It was writing a poem."}


async def test_without_a_value_the_present_one_is_shown(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    assert (await hivectl("model", "alice")).out == "claude-x\n"
    assert (await hivectl("effort", "alice")).out == "default\n"
    alice.show(model="", effort="high")
    assert (await hivectl("model", "alice")).out == "not known yet\n"
    assert (await hivectl("effort", "alice")).out == "high\n"
    assert alice.steered == []
    alice.show(model="claude-opus-4-1", model_setting="opus")
    assert (await hivectl("model", "alice")).out == "opus; claude-opus-4-1 has answered last\n"
    assert (await hivectl("model", "alice", "--json")).json == {
        "agent": "alice",
        "model": "claude-opus-4-1",
        "setting": "opus",
    }
    alice.show(model="opus")
    assert (await hivectl("model", "alice")).out == "opus\n"


async def test_what_cannot_be_done_is_told(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    alice.refusal = Conflict("alice is in no turn.")
    ran = await hivectl("cancel", "alice")
    assert (ran.code, ran.err) == (Exit.CONFLICT, "hivectl: alice is in no turn.\n")
    alice.refusal = Unavailable("The harness of alice is not connected.")
    assert (await hivectl("compact", "alice")).code == Exit.UNAVAILABLE
    assert (await hivectl("cancel", "nobody")).code == Exit.NOT_FOUND


async def test_a_harness_steers_no_terminal(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    alice.sentence = HOSTILE
    alice.show(
        turn_state=TurnState.ERROR,
        turn_reason=HOSTILE,
        activity=HOSTILE,
        effort=HOSTILE,
        session=HOSTILE,
    )
    for arguments in (["cancel", "alice"], ["list"], ["status", "alice"], ["effort", "alice"]):
        ran = await hivectl(*arguments)
        # The status of an agent in an error is told with its own exit code, as systemctl does.
        assert ran.code == (Exit.DEGRADED if arguments[0] == "status" else Exit.OK)
        assert_harmless(ran.out)
        assert_indented(ran.out)


async def test_list_shows_ages_and_what_agents_do(hive: FakeHive, hivectl: Hivectl) -> None:
    now = time.time_ns() // 1000
    hive.lifecycle.agents["alice"].show(
        turn_state=TurnState.THINKING,
        turn_since=now - 300 * SECOND,
        activity="Bash: make test",
        context_limit=200_000,
        context_tokens=50_000,
    )
    hive.lifecycle.agents["bob-2"].show(
        turn_state=TurnState.RATE_LIMITED,
        turn_since=now - 7200 * SECOND,
        turn_reason="too many requests",
        turn_until=now + 60 * SECOND,
    )
    _, alice, bob, _ = (await hivectl("list")).out.splitlines()
    assert " 5m " in alice
    assert " 50000 (25 %) " in alice
    assert alice.endswith("Bash: make test")
    assert " rate-limited " in bob
    assert " 2h " in bob
    assert bob.endswith(": too many requests")
    shown = (await hivectl("status", "bob-2")).out
    assert "reason: too many requests\n" in shown
    assert "until: " in shown
    assert "(2 h ago)\n" in shown


async def test_status_of_an_agent_that_does_not_work(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    assert "  line 0" in (await hivectl("status", "alice")).out
    alice.show(turn_state=TurnState.ERROR, turn_reason="The API key was refused.")
    failing = await hivectl("status", "alice")
    assert "reason: The API key was refused.\n" in failing.out
    assert "help: `hivectl logs alice` shows more" in failing.out
    assert "  line 9" in failing.out
    assert_harmless(failing.out)
    alice.show(turn_state=TurnState.IDLE, turn_reason="the last turn failed: it took too long")
    assert "help: `hivectl dead-letters`" in (await hivectl("status", "alice")).out
    alice.show(turn_reason="")
    assert "help:" not in (await hivectl("status", "alice")).out
    alice.show(state=AgentState.FAILED, turn_state=TurnState.OFFLINE, turn_reason="")
    assert "help: `hivectl start alice` starts it again" in (await hivectl("status", "alice")).out
    alice.show(state=AgentState.RUNNING, turn_state=TurnState.HARNESS_AWAY)
    shown = (await hivectl("status", "alice", "--json")).json
    assert shown["help"] == "`hivectl restart alice` starts its harness again"
    assert len(shown["last_lines"]) == 10


async def test_limits_are_lifted(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("lift-limits")).out == "these agents go on: alice\n"
    assert (await hivectl("lift-limits", "--json")).json == {"agents": []}
    assert (await hivectl("lift-limits")).out == "no agent waits for a limit\n"


async def test_huge_numbers_of_one_agent_do_not_widen_the_list(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.lifecycle.agents["alice"].show(context_limit=1, context_tokens=2**53 - 1)
    _, alice, *_ = (await hivectl("list")).out.splitlines()
    assert " 100000000+ (999+ %) " in alice
