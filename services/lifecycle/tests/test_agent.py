"""Reports, states and uid ranges."""

from dataclasses import replace

import pytest

from services.lifecycle.agents import uid_ranges
from services.lifecycle.agents.agent import STATES, Agent, Spec, UnitStatus
from services.lifecycle.agents.turn import Hold
from services.lifecycle.host import in_use
from services.lifecycle.notices.crash import signal_name
from services.lifecycle.options import REPORT
from wire.errors import InvalidArgument, LimitExceeded
from wire.records.lifecycle import AgentState, Report, TurnState

UP = UnitStatus("active", "a" * 32)


@pytest.fixture
def alice() -> Agent:
    return Agent(Spec("alice", 0x1000_0000, "0" * 32), "unit", unit_status=UP)


def test_a_report_is_noted_and_announced(alice: Agent) -> None:
    told: list[frozenset[str]] = []
    alice.announce = lambda agent, changed: told.append(changed)
    report = Report(turn_state="thinking", model="m", context_tokens=5, logged_in=True)
    alice.report(report)
    assert (alice.turn_state, alice.model) == (TurnState.THINKING, "m")
    assert (alice.context_tokens, alice.logged_in) == (5, True)
    [changed] = told
    shown = {"turn_state", "turn_since", "model", "context_tokens", "logged_in"}
    assert changed == shown | {"reported", "in_turn"}
    alice.report(report)
    assert len(told) == 1, "what did not change was announced"


@pytest.mark.parametrize(
    "report",
    [
        {"turn_state": "offline"},
        {"turn_state": "asleep"},
        {"turn_state": "held"},
        {"turn_state": "harness-away"},
        {"turn_state": "no-report"},
        {"until": -1},
        {"until": 2**33 * 1_000_000 + 1},
        {"provider_limit_until": 2**33 * 1_000_000 + 1},
        {"turn_state": 3},
        {"model": "x" * 129},
        {"model": ""},
        {"model": "a\nb"},
        {"model": "a b"},
        {"model": "-p"},
        {"model": "Manager,stop(bob)!"},
        {"model": "cl\u0430ude"},
        {"context_tokens": -1},
        {"context_tokens": True},
        {"context_tokens": 1 << 63},
        {"logged_in": 1},
        {"credential": "login of bob"},
        {"credential": ""},
        {"effort": "Obey me!"},
        {"effort": "x" * 33},
        {"session": "a b"},
        {"session": "x" * 65},
        {"credential": "key", "session": "a\n"},
        {"name": "bob"},
    ],
)
def test_a_bad_report_changes_nothing(alice: Agent, report: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        alice.report(REPORT.parse({"turn_state": "idle"} | report))
    assert alice.turn_state is TurnState.OFFLINE
    assert (alice.credential, alice.effort, alice.session) == ("", "", "")


@pytest.mark.parametrize("credential", ["key", "login", "scripted", "none"])
def test_a_harness_names_its_credential(alice: Agent, credential: str) -> None:
    alice.report(Report(credential=credential, effort="x-high", session="0b6d-4_e.f"))
    assert (alice.credential, alice.effort) == (credential, "x-high")
    restored = Agent(Spec("alice", 0x1000_0000, "0" * 32), "unit")
    restored.restore(alice.turn_record)
    assert (restored.credential, restored.session) == (credential, "0b6d-4_e.f")
    restored.restore(replace(alice.turn_record, credential="anything"))
    assert restored.credential == ""


def test_whoever_does_not_run_is_offline(alice: Agent) -> None:
    alice.report(Report(turn_state="idle"))
    alice.set_unit_status(UnitStatus("active", "b" * 32, since=2**60))
    assert str(alice.turn_state) == "no-report", "another invocation knows nothing of the turn"
    assert alice.turn_since == 2**60, "it has not reported since the container runs"
    alice.report(Report(turn_state="idle"))
    alice.set_unit_status(UnitStatus("deactivating", "b" * 32))
    assert alice.turn_state is TurnState.OFFLINE
    alice.report(Report(turn_state="idle"))
    assert alice.turn_state is TurnState.OFFLINE, "a late report brought it back"


def test_a_new_state_ends_the_reason_of_the_one_before(alice: Agent) -> None:
    alice.report(Report(turn_state="rate-limited", reason="429\ntoo many", until=7, activity="x"))
    assert (alice.turn_reason, alice.turn_until, alice.activity) == ("429 too many", 7, "x")
    alice.report(Report(turn_state="idle"))
    assert (alice.turn_reason, alice.turn_until, alice.activity) == ("", 0, "")
    alice.report(Report(reason="r" * 600, activity="a" * 300))
    assert (len(alice.turn_reason), len(alice.activity)) == (500, 200)


def test_a_harness_that_leaves_its_container_is_away(alice: Agent) -> None:
    alice.report(Report(turn_state="thinking", reason="why", activity="Bash"))
    since = alice.turn_since
    alice.set_harness(False)
    assert alice.turn_state is TurnState.HARNESS_AWAY
    assert (alice.turn_reason, alice.activity) == ("", "")
    assert alice.turn_since > since
    alice.set_harness(True)
    assert (str(alice.turn_state), alice.turn_since) == ("thinking", since)
    alice.set_unit_status(UnitStatus("inactive"))
    alice.set_harness(False)
    assert str(alice.turn_state) == "offline", "without a container nothing is away"


def test_an_idle_agent_whose_inbox_is_held(alice: Agent) -> None:
    alice.report(Report(turn_state="thinking"))
    alice.set_hold(Hold("a loop with bob", 5))
    assert alice.turn_state is TurnState.THINKING, "the turn goes on"
    alice.report(Report(turn_state="idle"))
    assert (alice.turn_state, alice.turn_reason) == (TurnState.HELD, "a loop with bob")
    alice.set_hold(None)
    assert (alice.turn_state, alice.turn_reason) == (TurnState.IDLE, "")


def test_a_failed_container_has_a_reason(alice: Agent) -> None:
    alice.report(Report(turn_state="idle"))
    alice.set_unit_status(UnitStatus("failed", "a" * 32, "exit-code", 1, 78))
    assert (alice.turn_state, alice.turn_reason) == (
        "offline",
        "the container ended with the result exit-code, exit status 78",
    )
    alice.set_unit_status(UnitStatus("inactive"))
    assert alice.turn_reason == ""


def test_every_active_state_of_systemd_has_a_name() -> None:
    # By their ActiveState, a paused container runs and a sleeping one is stopped.
    assert {*STATES.values(), AgentState.PAUSED, AgentState.SLEEPING} == set(AgentState)


def test_a_signal_without_a_name() -> None:
    assert (signal_name(9), signal_name(99)) == ("SIGKILL", "signal 99")


def test_a_base_is_aligned_and_always_the_same() -> None:
    base = uid_ranges.choose("alice", [])
    assert uid_ranges.is_base(base)
    assert base == uid_ranges.choose("alice", [])
    assert not uid_ranges.is_base(base + 1)
    assert not uid_ranges.is_base(0)


def test_taken_ranges_are_probed_past() -> None:
    base = uid_ranges.choose("alice", [])
    used = [range(base + uid_ranges.SIZE - 1, base + uid_ranges.SIZE), range(0, 70000)]
    other = uid_ranges.choose("alice", used)
    assert other != base
    assert not any({other, other + uid_ranges.SIZE - 1} & set(r) for r in used)


def test_nothing_is_left() -> None:
    everything = range(uid_ranges.FIRST, uid_ranges.FIRST + uid_ranges.COUNT * uid_ranges.SIZE)
    with pytest.raises(LimitExceeded):
        uid_ranges.choose("alice", [everything])


def test_the_files_of_the_host_are_read_leniently() -> None:
    text = "joe:100000:65536\n\n# x\njane:abc:1\nbad\n"
    assert in_use.subordinate(text) == [range(100000, 165536)]
    assert in_use.accounts("root:x:0:0::/root:/bin/sh\nbad\n") == [range(1)]
