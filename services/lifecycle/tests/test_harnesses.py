"""The reports and connections of harnesses, with fake containers and a fake broker."""

import asyncio

import pytest

from services.lifecycle.commands import Peer
from services.lifecycle.tests.room import DONE, Room
from wire.errors import (
    AccessDenied,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from wire.principal import THE_OPERATOR, agent
from wire.records.lifecycle import (
    CommandArguments,
    CommandIssued,
    CommandResult,
    CommandVerb,
    JobVerb,
    Report,
    TurnState,
)


async def test_only_an_agent_itself_reports(room: Room) -> None:
    await room.spawn("alice")
    await room.spawn("bob")
    for principal in (agent("bob"), agent("manager"), THE_OPERATOR):
        with pytest.raises(AccessDenied):
            room.harnesses.report(principal, "alice", Report(turn_state="idle"))
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="thinking", logged_in=True))
    [alice] = [a for a in room.agents if a.name == "alice"]
    assert (alice.turn_state, alice.logged_in) == (TurnState.THINKING, True)
    await room.order(JobVerb.STOP, "alice")
    assert alice.turn_state is TurnState.OFFLINE


async def test_a_refused_api_key_is_told_with_its_own_remedy(room: Room) -> None:
    await room.spawn("alice")
    await room.told(1)
    report = Report(turn_state="needs-login", credential="key")
    room.harnesses.report(agent("alice"), "alice", report)
    await room.told(3)
    body = room.broker.sent[-1].body
    assert "`hivectl credentials set` for all agents" in body
    assert "hivectl login" not in body
    [alice] = room.agents
    assert alice.credential == "key"


async def test_a_lost_login_is_told_to_who_can_help(room: Room) -> None:
    await room.spawn("alice")
    await room.told(1)
    alice = agent("alice")
    for _ in range(3):  # one that says so again and again is heard once
        room.harnesses.report(alice, "alice", Report(turn_state="needs-login"))
        # It tries the login again, which says nothing of the login.
        room.harnesses.report(alice, "alice", Report(turn_state="thinking", in_turn=True))
    assert (await room.told(3))[1:] == ["needs-login", "needs-login"]
    room.harnesses.report(alice, "alice", Report(turn_state="idle", logged_in=True))
    room.harnesses.report(alice, "alice", Report(turn_state="thinking"))
    assert (await room.told(4))[1:] == ["needs-login", "needs-login", "logged-in"]
    assert [n.recipient for n in room.broker.sent[1:]] == ["manager", "operator", "manager"]
    for remedy in ("hivectl login alice", "hivectl credentials set"):
        assert remedy in room.broker.sent[1].body


async def test_without_a_manager_the_operator_hears_all_the_same(room: Room) -> None:
    room.broker.agents.discard("manager")
    await room.spawn("alice")
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="needs-login"))
    await room.told(1)
    assert [(n.kind, n.recipient) for n in room.broker.sent] == [("needs-login", "operator")]
    room.broker.agents.add("manager")
    room.lifecycle.broker_appeared()
    assert (await room.told(3))[1:] == ["spawned", "needs-login"]


async def test_only_the_endpoint_of_an_agent_speaks_for_its_harness(room: Room) -> None:
    await room.spawn("alice")
    for principal in (agent("bob"), agent("manager"), THE_OPERATOR):
        with pytest.raises(AccessDenied, match="the endpoint of alice"):
            room.harnesses.connected(principal, "alice", None)
        with pytest.raises(AccessDenied, match="the endpoint of alice"):
            room.harnesses.command_done(principal, "alice", 1, CommandResult("Done."))


async def test_a_container_that_does_not_run_gets_no_commands(room: Room) -> None:
    await room.spawn("alice")
    await room.parts.runtime.pause("alice")
    with pytest.raises(Unavailable, match="hivectl resume alice"):
        await room.harnesses.command("alice", CommandVerb.COMPACT, CommandArguments())
    await room.parts.runtime.resume("alice")
    await room.order(JobVerb.STOP, "alice")
    with pytest.raises(Unavailable, match=r"alice is stopped.*hivectl start alice"):
        await room.harnesses.command("alice", CommandVerb.COMPACT, CommandArguments())
    with pytest.raises(NotFound):
        await room.harnesses.command("bob", CommandVerb.COMPACT, CommandArguments())


async def test_a_name_that_no_project_can_have_is_refused(room: Room) -> None:
    await room.spawn("alice")
    with pytest.raises(InvalidArgument, match="not a valid name of a project"):
        await room.harnesses.command(
            "alice", CommandVerb.RESET_PROJECT, CommandArguments(value="../x")
        )


async def test_a_new_agent_of_a_removed_name_has_no_harness_yet(room: Room) -> None:
    await room.spawn("alice")
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    issued: list[CommandIssued] = []
    room.harnesses.connected(agent("alice"), "alice", Peer(":1.7", issued.append, lambda: gone))
    assert await room.diary.end_of(room.orders.destroy("alice", True)) == DONE
    await room.spawn("alice")
    with pytest.raises(Unavailable, match="not connected"):
        await room.harnesses.command("alice", CommandVerb.COMPACT, CommandArguments())
    assert not issued
