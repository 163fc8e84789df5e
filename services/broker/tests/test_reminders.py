"""The rules of reminders, without a bus."""

import posixpath
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.broker.deadlines.clock import SECOND
from services.broker.parts import Parts
from services.broker.reminders.reminders import Reminders, check_file
from services.broker.tests.clocks import START, FakeClock
from services.broker.tests.room import ALICE, BOB, MAX_BODY, MAX_PENDING, EventLog, restart
from services.broker.tests.test_deadlines import DAY, running
from services.broker.tests.test_questions import inbox
from services.config import BrokerConfig
from wire.errors import Conflict, HiveError, InvalidArgument, LimitExceeded, NotFound
from wire.principal import DASHBOARD, THE_OPERATOR, Principal
from wire.records.broker import Reminder, ReminderState


async def test_a_reminder_becomes_a_message_once(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        number = await room.reminders.remind(ALICE, 0, "look\nagain", {"after_s": 60})
        assert room.rings_at == 60
        clock.advance(59)
        await room.settled()
        assert await inbox(room.broker, ALICE) == []
        clock.advance(1)
        await room.settled()
        assert await inbox(room.broker, ALICE) == [
            (
                "system",
                "reminder",
                "This is your reminder 1, due at 2027-01-15 08:01:00 UTC.\n\nlook\nagain",
            )
        ]
        assert ("queued", 1, "system", "alice", "reminder") in room.events.all
        assert room.events.all.count(("reminder due", "alice", number, 1)) == 1
        assert await room.reminders.list(ALICE, {}, 10) == [
            Reminder(
                id=number,
                owner="alice",
                due=START + 60 * SECOND,
                body="look\nagain",
                file="",
                created=START,
                state=ReminderState.DELIVERED,
                message=1,
            )
        ]
        assert await room.reminders.count(ALICE) == 0
        with pytest.raises(Conflict, match="already been delivered, as message 1"):
            await room.reminders.cancel(ALICE, number)


async def test_those_due_while_the_broker_was_down_come_oldest_first(
    path: Path, clock: FakeClock
) -> None:
    async with running(path, clock) as room:
        for after_s in (30, 10, 20, 1000):
            await room.reminders.remind(ALICE, 0, f"after {after_s}", {"after_s": after_s})
        await room.reminders.remind(ALICE, START + 15 * SECOND, "at 15", {})
    clock.advance(100)
    async with running(path, clock) as room:
        await room.settled()
        said = [body.splitlines()[-1] for _, _, body in await inbox(room.broker, ALICE)]
        assert said == ["after 10", "at 15", "after 20", "after 30"]
        assert room.rings_at == 1000


async def test_a_time_follows_the_wall_clock_and_a_delay_does_not(
    path: Path, clock: FakeClock
) -> None:
    async with running(path, clock) as room:
        await room.reminders.remind(ALICE, START + DAY * SECOND, "tomorrow", {})
        await room.reminders.remind(BOB, 0, "in a while", {"after_s": 3600})
        clock.set_wall(-3600)
        clock.advance(3600)
        await room.settled()
        assert len(await inbox(room.broker, BOB)) == 1
        clock.set_wall(DAY)
        await room.settled()
        assert len(await inbox(room.broker, ALICE)) == 1


async def test_a_file_is_named(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        await room.reminders.remind(ALICE, 0, "", {"after_s": 1, "file": "/state/a b/ä.md"})
        clock.advance(1)
        await room.settled()
        [(_, _, body)] = await inbox(room.broker, ALICE)
        assert body.splitlines()[1:] == ["File: /state/a b/ä.md"]


async def test_an_unregistered_owner_finds_the_reminder_when_it_is_back(
    path: Path, clock: FakeClock
) -> None:
    async with running(path, clock) as room:
        await room.reminders.remind(ALICE, 0, "x", {"after_s": 1})
        await room.broker.unregister_agent("alice")
        clock.advance(1)
        await room.settled()
        await room.broker.register_agent("alice")
        assert len(await inbox(room.broker, ALICE)) == 1


async def test_everybody_has_its_own_and_the_operator_sees_all(
    reminders: Reminders, events: EventLog
) -> None:
    hers = await reminders.remind(ALICE, 0, "x", {"after_s": 60})
    his = await reminders.remind(BOB, 0, "x", {"after_s": 60})
    ours = await reminders.remind(THE_OPERATOR, 0, "x", {"after_s": 60})

    async def listed(who: Principal, **wanted: Any) -> list[int]:
        return [r.id for r in await reminders.list(who, wanted, 10)]

    assert await listed(ALICE) == await listed(ALICE, owner="alice") == [hers]
    assert await listed(ALICE, owner="bob") == []
    assert await listed(DASHBOARD) == [hers, his, ours]
    assert await listed(THE_OPERATOR, owner="bob") == [his]
    assert await listed(THE_OPERATOR, before=ours, after=hers) == [his]
    assert [r.id for r in await reminders.list(THE_OPERATOR, {}, 2)] == [his, ours]
    assert [await reminders.count(who) for who in (ALICE, THE_OPERATOR)] == [1, 3]
    for number in (his, 77, 2**64 - 1):
        with pytest.raises(NotFound, match="no reminder"):
            await reminders.cancel(ALICE, number)
    await reminders.cancel(ALICE, hers)
    await reminders.cancel(ALICE, hers)
    await reminders.cancel(THE_OPERATOR, his)
    assert [event for event in events.all if event[0] == "reminder added"] == [
        ("reminder added", "alice", hers),
        ("reminder added", "bob", his),
        ("reminder added", "operator", ours),
    ]
    assert [event for event in events.all if event[0] == "reminder cancelled"] == [
        ("reminder cancelled", "alice", hers),
        ("reminder cancelled", "bob", his),
    ]
    assert await listed(THE_OPERATOR, state="cancelled") == [hers, his]
    assert await reminders.count(THE_OPERATOR) == 1


async def test_a_cancelled_reminder_is_not_delivered(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        number = await room.reminders.remind(ALICE, 0, "x", {"after_s": 1})
        await room.reminders.cancel(ALICE, number)
        clock.advance(1)
        await room.settled()
        assert await inbox(room.broker, ALICE) == []


async def test_a_repeated_key_stores_one_reminder_even_if_it_is_due(
    reminders: Reminders, clock: FakeClock
) -> None:
    due = START + 10 * SECOND
    first = await reminders.remind(ALICE, due, "x", {"dedupe_key": "k"})
    clock.advance(20)
    assert await reminders.remind(ALICE, due, "x", {"dedupe_key": "k"}) == first
    assert await reminders.remind(BOB, due + DAY * SECOND, "x", {"dedupe_key": "k"}) != first


async def test_the_most_that_may_be_pending(reminders: Reminders) -> None:
    for _ in range(MAX_PENDING):
        await reminders.remind(ALICE, 0, "x", {"after_s": 60})
    with pytest.raises(LimitExceeded, match="alice has 5 pending reminders, which is the maximum"):
        await reminders.remind(ALICE, 0, "x", {"after_s": 60})
    await reminders.remind(BOB, 0, "x", {"after_s": 60})
    await reminders.cancel(ALICE, 1)
    await reminders.remind(ALICE, 0, "x", {"after_s": 60})


SOON = {"after_s": 1}


@pytest.mark.parametrize(
    ("who", "due", "body", "options", "error", "sentence"),
    [
        (ALICE, 0, "x", {}, InvalidArgument, "Give either a time"),
        (ALICE, START + 1, "x", SOON, InvalidArgument, "Give either a time"),
        (ALICE, -1, "x", {}, InvalidArgument, "in the next ten years"),
        (ALICE, START * 1000, "x", {}, InvalidArgument, "microseconds since 1970"),
        (ALICE, 2**63 - 1, "x", {}, InvalidArgument, "microseconds since 1970"),
        (ALICE, START, "x", {}, InvalidArgument, "2027-01-15 08:00:00 UTC has passed"),
        (ALICE, START // 1000, "x", {}, InvalidArgument, "1970-01-21 20:00:00 UTC has passed"),
        (ALICE, 0, " ", SOON, InvalidArgument, "is empty; give it a body"),
        (ALICE, 0, "x" * (MAX_BODY + 1), SOON, LimitExceeded, "1001 bytes"),
        (ALICE, 0, "x", {"after_s": 0}, InvalidArgument, "'after_s' is not valid"),
        (ALICE, 0, "x", {"after_s": 31536001}, InvalidArgument, "'after_s' is not valid"),
        (ALICE, 0, "x", {"in": 1}, InvalidArgument, "'in' is not a valid option of Remind"),
        (ALICE, 0, "x", SOON | {"file": "/state"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "/etc/passwd"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "/state/../x"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "/state//x"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "/state/x/"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "//state/x"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "state/x"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "/state/x\ny"}, InvalidArgument, "below /state"),
        (ALICE, 0, "x", SOON | {"file": "/state/" + "ä" * 509}, InvalidArgument, "1024 bytes"),
        (
            THE_OPERATOR,
            0,
            "x",
            SOON | {"file": "/state/x"},
            InvalidArgument,
            "Only an agent's reminder can name a file",
        ),
    ],
)
async def test_bad_reminders_are_refused_and_leave_nothing(
    reminders: Reminders,
    events: EventLog,
    who: Principal,
    due: int,
    body: str,
    options: dict[str, Any],
    error: type[HiveError],
    sentence: str,
) -> None:
    with pytest.raises(error) as refusal:
        await reminders.remind(who, due, body, options)
    assert sentence in str(refusal.value)
    assert await reminders.count(THE_OPERATOR) == 0
    assert not events.all


async def test_bad_filters(reminders: Reminders) -> None:
    for limit in (0, 1001):
        with pytest.raises(InvalidArgument, match="is not a valid limit: use 1 to 1000"):
            await reminders.list(ALICE, {}, limit)
    with pytest.raises(InvalidArgument, match="Use one of: owner, state, before, after"):
        await reminders.list(ALICE, {"to": "x"}, 1)
    with pytest.raises(InvalidArgument, match="'state' is not valid"):
        await reminders.list(ALICE, {"state": "lost"}, 1)
    assert await reminders.list(ALICE, {"before": 2**64 - 1}, 1) == []


@given(st.lists(st.sampled_from(["/", "state", "..", ".", "x", "\n", "\0", "a b"]), max_size=8))
def test_a_path_that_is_taken_stays_below_state(parts: list[str]) -> None:
    file = "".join(parts) or "/"
    try:
        check_file(ALICE, file)
    except InvalidArgument:
        return
    assert posixpath.normpath(posixpath.join("/somewhere/else", file)) == file
    assert file.startswith("/state/")
    assert not {"..", ".", ""} & set(file.split("/")[1:])


async def test_reminders_count_towards_the_rate(room: Parts) -> None:
    limits = BrokerConfig(max_body_bytes=MAX_BODY, agent_messages_per_hour=2)
    limited = await restart(room, limits)
    with pytest.raises(LimitExceeded, match="1007 bytes"):
        await limited.reminders.remind(ALICE, 0, "", SOON | {"file": f"/state/{'x' * MAX_BODY}"})
    await limited.reminders.remind(ALICE, 0, "x", SOON)
    await limited.reminders.remind(ALICE, 0, "", SOON | {"file": "/state/x"})
    with pytest.raises(LimitExceeded, match="Try again"):
        await limited.reminders.remind(ALICE, 0, "x", SOON)
    with pytest.raises(LimitExceeded, match="Try again"):
        await limited.broker.send(ALICE, "bob", "x", {})
