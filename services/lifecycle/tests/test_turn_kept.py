"""The turn state over restarts of lifecycle, of containers and through the agent's sleep."""

import pytest

from services.lifecycle.agents.agent import Agent
from services.lifecycle.tests.room import Room
from wire.principal import agent
from wire.records.lifecycle import JobVerb, Report

TOLD = Report(
    turn_state="rate-limited",
    model="m",
    context_tokens=1138,
    context_limit=200_000,
    reason="too many requests",
    until=9_000_000_000_000_000,
    effort="high",
    session="abc",
    logged_in=True,
    credential="key",
    model_setting="larger",
)


def alice(room: Room) -> Agent:
    return next(one for one in room.agents if one.name == "alice")


def report(room: Room, report: Report) -> None:
    room.harnesses.report(agent("alice"), "alice", report)


async def restart(room: Room, how: str) -> None:
    await (room.kill() if how == "kill" else room.close())
    await room.open()


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_everything_is_as_it_was_reported(room: Room, how: str) -> None:
    await room.spawn("alice")
    report(room, TOLD)
    before = alice(room)
    await restart(room, how)
    after = alice(room)
    assert after is not before
    assert (after.turn_record, after.turn_state) == (before.turn_record, before.turn_state)
    assert (after.turn_since, after.turn_reason, after.turn_until) == (
        before.turn_since,
        "too many requests",
        9_000_000_000_000_000,
    )
    assert (after.context_tokens, after.context_limit, after.model) == (1138, 200_000, "m")
    assert after.model_setting == "larger"
    report(room, TOLD)
    assert after.turn_since == before.turn_since, "the repetition to a new lifecycle is no news"


async def test_a_harness_that_goes_after_the_stop_is_no_trouble(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """The endpoints may end while lifecycle does, when its store is closed already."""
    await room.spawn("alice")
    report(room, TOLD)
    stopped = alice(room)
    await room.close()
    stopped.report(Report(turn_state="idle"))
    assert "was not stored" not in caplog.text
    await room.open()
    assert alice(room).turn_state == "rate-limited"


async def test_a_container_that_ended_meanwhile_has_no_turn_but_its_context(room: Room) -> None:
    await room.spawn("alice")
    report(room, TOLD)
    await room.kill()
    room.backend.come_up("alice")
    await room.open()
    assert (alice(room).turn_state, alice(room).turn_reason) == ("no-report", "")
    assert alice(room).context_tokens == 1138


async def test_a_login_that_was_missing_is_told_when_it_is_there(room: Room) -> None:
    await room.spawn("alice")
    report(room, Report(turn_state="needs-login", logged_in=False))
    await room.told(3)
    await room.kill()
    await room.open()
    report(room, Report(turn_state="thinking"))  # the next try
    report(room, Report(turn_state="idle", logged_in=True))
    assert (await room.told(4))[-1] == "logged-in"


async def test_an_absent_harness_is_away_since_the_same_time(room: Room) -> None:
    await room.spawn("alice")
    report(room, TOLD)
    room.harnesses.connected(agent("alice"), "alice", None)
    since = alice(room).turn_since
    await restart(room, "kill")
    assert (alice(room).turn_state, alice(room).turn_since) == ("harness-away", since)
    room.harnesses.connected(agent("alice"), "alice", None)
    assert (alice(room).turn_state, alice(room).turn_since) == ("harness-away", since)


async def test_the_context_is_kept_through_sleep_and_restarts(room: Room) -> None:
    await room.spawn("alice")
    report(room, TOLD._replace(turn_state="idle", reason=None, until=None))
    await room.order(JobVerb.SLEEP, "alice")
    offline = alice(room).turn_since
    await restart(room, "kill")
    assert (alice(room).turn_state, alice(room).turn_since) == ("offline", offline)
    await room.order(JobVerb.START, "alice")
    assert (alice(room).context_tokens, alice(room).session) == (1138, "abc")


async def test_nothing_is_kept_of_an_agent_that_is_gone(room: Room) -> None:
    await room.spawn("alice")
    report(room, TOLD)
    assert await room.diary.end_of(room.orders.destroy("alice", purge=True))
    assert not room.store.turns()
