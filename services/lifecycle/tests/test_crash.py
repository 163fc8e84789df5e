"""Ends of containers, and the messages about them."""

from dataclasses import replace

from services.lifecycle.agents.crashes import Crashes
from services.lifecycle.notices.crash import Crash
from services.lifecycle.tests.room import DONE, Room
from wire import names
from wire.fake_agent import properties
from wire.principal import Kind, Principal
from wire.records.lifecycle import (
    CRASHES_IN_A_ROW_US,
    AgentState,
    JobVerb,
    Report,
    TurnState,
)


async def test_a_poweroff_from_the_inside_is_told(room: Room) -> None:
    await room.spawn("alice")
    room.backend.set("alice", "deactivating")
    await room.settle()
    assert not room.diary.crashes, "the cause is not known before it is over"
    room.backend.set("alice", "inactive")
    await room.settle()
    assert [c.clean for c in room.diary.crashes] == [True]
    assert room.record("alice").enabled
    assert room.backend.calls[-1] == ("stop_endpoint", "alice"), "its endpoint is left behind"


async def test_a_stopping_host_is_no_crash(room: Room) -> None:
    await room.spawn("alice")
    room.backend.stopping = True
    room.backend.set("alice", "inactive")
    await room.settle()
    assert not room.diary.crashes


async def test_giving_up_is_told_and_passing_through_failed_is_not(room: Room) -> None:
    await room.spawn("alice")
    room.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    room.backend.set("alice", "activating")
    await room.settle()
    # The container failed during its start; systemd starts it again before lifecycle asks.
    room.backend.tell("alice", room.backend.units["alice"].__class__(active="failed"))
    await room.settle()
    assert [c.gave_up for c in room.diary.crashes] == [False]
    room.backend.set("alice", "inactive")
    room.backend.set("alice", "failed")
    await room.settle()
    assert [c.gave_up for c in room.diary.crashes] == [False, True]
    assert (await room.told(4))[1:] == ["container-crash"] * 3
    assert len({n.dedupe_key for n in room.broker.sent}) == 4
    given_up = room.broker.sent[2:]
    assert [n.recipient for n in given_up] == ["manager", "operator"]
    for notice in given_up:
        assert "keeps crashing" in notice.body
        assert notice.body.count("\n  alice line ") == 20


async def test_a_killed_nspawn_that_is_started_again_has_not_given_up(room: Room) -> None:
    await room.spawn("alice")
    # systemd first stops the remaining processes, then passes through `failed`.
    room.backend.set("alice", "deactivating", result="signal", code=2, status=9)
    await room.settle()
    killed = room.backend.units["alice"]
    room.backend.units["alice"] = replace(killed, active="activating")
    room.backend.tell("alice", replace(killed, active="failed"))
    await room.settle()
    assert [c.gave_up for c in room.diary.crashes] == [False]


async def test_a_restart_that_takes_too_long_is_the_last_one_and_told(room: Room) -> None:
    await room.spawn("alice")
    room.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    room.backend.set("alice", "activating", result="success", code=0, status=0)
    await room.settle()
    room.backend.set("alice", "deactivating", result="timeout")
    await room.settle()
    assert ("stop_restarting", "alice") in room.backend.calls
    assert [c.gave_up for c in room.diary.crashes] == [False, True]
    assert "keeps crashing (result timeout)" in room.diary.crashes[1].sentence


async def test_a_container_that_takes_too_long_to_stop_is_started_again(room: Room) -> None:
    await room.spawn("alice")
    room.backend.set("alice", "deactivating", result="timeout")
    await room.settle()
    assert ("stop_restarting", "alice") not in room.backend.calls


async def test_crashes_in_a_row_are_kept_until_a_job_succeeds(room: Room) -> None:
    await room.spawn("alice")
    for _ in range(3):
        room.backend.set("alice", "failed", result="exit-code", code=1, status=1)
        room.backend.come_up("alice")
        await room.settle()
    await room.close()
    await room.open()
    [alice] = room.agents
    assert alice.crashes.times == 3
    later = Crashes(3, alice.crashes.last - CRASHES_IN_A_ROW_US)
    assert later.another(alice.crashes.last).times == 1, "this row is over"
    room.backend.set("alice", "inactive")  # powered off, and not started again
    await room.settle()
    assert alice.crashes.times == 3
    await room.order(JobVerb.START, "alice")
    assert (alice.crashes, room.record("alice").crashes) == (Crashes(), Crashes())


def test_a_crash_loop_ends_by_itself_unless_the_container_has_failed() -> None:
    shown = properties("alice", crashes=3, last_crash=10)
    assert shown.crash_loop(11)
    assert not shown._replace(crashes=2).crash_loop(11)
    assert not shown.crash_loop(10 + CRASHES_IN_A_ROW_US)
    assert shown._replace(state=AgentState.FAILED).crash_loop(10 + CRASHES_IN_A_ROW_US)


async def test_a_kill_kills_before_it_stops_and_hurries_a_stop(room: Room) -> None:
    await room.spawn("alice")
    job = await room.orders.kill("alice", "operator")
    assert (job.verb, await room.diary.end_of(job)) == (JobVerb.KILL, DONE)
    ends = [call for call in room.backend.calls if call[0] in ("kill", "stop")]
    assert ends == [("kill", "alice"), ("stop", "alice")]
    assert (room.state("alice"), room.record("alice").enabled) == (AgentState.STOPPED, False)
    await room.order(JobVerb.START, "alice")
    room.backend.gate.clear()
    stop = room.orders.order(JobVerb.STOP, "alice")
    await room.until(lambda: room.state("alice") is AgentState.STOPPING)
    assert await room.orders.kill("alice", "operator") is stop
    assert await room.diary.end_of(stop) == DONE
    assert room.backend.calls[-1] == ("kill", "alice")
    assert not room.diary.crashes


def test_an_agent_that_crashes_on_purpose_does_not_flood_the_operator() -> None:
    ends = [
        Crash(names.MANAGER, f"invocation-{number}", "exit-code", 1, 1, gave_up=bool(number % 2))
        for number in range(60)
    ]
    told = [notice for crash in ends for notice in crash.notices()]
    keys = {notice.dedupe_key for notice in told if notice.recipient == names.OPERATOR}
    assert len(keys) <= 4, "the key of each crash is another one"
    assert len({n.dedupe_key for n in told if n.recipient == names.MANAGER}) == 60


async def test_an_agent_that_restarts_after_each_report_does_not_flood_the_operator(
    room: Room,
) -> None:
    await room.spawn("alice")
    alice = Principal(Kind.AGENT, "alice")
    for _ in range(5):
        room.harnesses.report(alice, "alice", Report(turn_state=TurnState.NEEDS_LOGIN))
        room.backend.set("alice", "failed", result="exit-code", code=1, status=1)
        room.backend.come_up("alice")
        await room.settle()
    told = [*room.broker.sent, *room.store.notices()]
    keys = {n.dedupe_key for n in told if (n.kind, n.recipient) == ("needs-login", "operator")}
    assert len(keys) in (1, 2), "2 only if an hour has ended meanwhile"
