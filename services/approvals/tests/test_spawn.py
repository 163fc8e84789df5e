"""Requests for a new agent."""

import asyncio

import pytest

from services import agentfile
from services.approvals.bounds import MAX_TEXT
from services.approvals.tests.room import MANAGER, OPERATOR, Room, deployed, spawn
from wire.errors import AlreadyExists, Conflict, InvalidArgument, LimitExceeded
from wire.records.approvals import ApprovalKind, ApprovalState


async def test_a_yes_spawns_with_the_configuration_that_was_asked_for(room: Room) -> None:
    number = await spawn(room, config='model = "small"\n')
    row = room.row(number)
    assert (row.state, row.kind) == (ApprovalState.PENDING, ApprovalKind.SPAWN)
    assert room.git.applied["bob"].commits[row.commit].text == 'model = "small"\n'
    assert room.tags("bob") == {"proposal/1"}
    job = await room.do(room.yes(number))
    assert room.lifecycle.jobs[job].agent == "bob"
    assert room.state(number) is ApprovalState.BUILDING
    assert room.meta.prepared["bob"].approval == number
    assert "main" not in room.git.applied["bob"].refs
    room.lifecycle.end("bob")
    await room.rest()
    assert room.lifecycle.orders == [("spawn", "bob", row.commit)]
    assert room.git.applied["bob"].refs["main"] == row.commit
    assert room.meta.pins["bob"] == (number, row.commit)
    assert room.changes == [
        (1, ApprovalState.PENDING),
        (1, ApprovalState.APPROVED),
        (1, ApprovalState.BUILDING),
        (1, ApprovalState.DEPLOYED),
    ]
    assert room.broker.told == {
        "approval-1": "The request 1 to spawn bob was approved, and bob is running."
    }
    await room.check()


async def test_without_a_configuration_it_begins_with_the_template(room: Room) -> None:
    number = await spawn(room)
    assert room.git.applied["bob"].commits[room.row(number).commit].text == agentfile.TEMPLATE


async def test_a_kept_agent_comes_back_with_what_it_had(room: Room) -> None:
    await room.agent()
    await deployed(room, "# mine\n")
    room.lifecycle.destroy("alice", purge=False)
    await room.rest()
    number = await spawn(room, "alice")
    assert room.row(number).commit == room.row(1).commit
    await room.do(room.yes(number))
    room.lifecycle.end("alice")
    await room.rest()
    await room.check()


async def test_a_failed_job_fails_the_request_with_its_reason(room: Room) -> None:
    number = await spawn(room)
    await room.do(room.yes(number))
    room.lifecycle.end("bob", "failed", "No room on the disk.")
    await room.rest()
    row = room.row(number)
    assert (row.state, row.note) == (ApprovalState.FAILED, "No room on the disk.")
    assert room.git.applied["bob"].notes["failed/1"] == "No room on the disk."
    assert "No room on the disk." in room.broker.told["approval-1"]
    await room.check()


async def test_a_no_is_kept_and_told_with_its_note(room: Room) -> None:
    number = await spawn(room)
    await room.do(room.no(number, "ask alice instead"))
    assert room.state(number) is ApprovalState.DENIED
    assert room.git.applied["bob"].notes["denied/1"] == "ask alice instead"
    assert room.broker.told == {
        "approval-1": "The request 1 to spawn bob was denied: ask alice instead"
    }
    assert room.lifecycle.orders == []
    await room.check()


@pytest.mark.parametrize(
    "name", ["", "Alice", "../x", "a" * 10, "1a", "-a", "a b", "a\n", "ä", "operator", "system"]
)
async def test_names_that_are_none_are_refused(room: Room, name: str) -> None:
    for asked in (
        room.approvals.request_spawn(MANAGER, name, "docs"),
        room.approvals.request_apply(MANAGER, name, "0" * 40, "docs"),
        room.approvals.revert(MANAGER, name, "deployed/0"),
    ):
        with pytest.raises(InvalidArgument):
            await room.do(asked)
    assert room.store.find() == []


@pytest.mark.parametrize("reason", ["", "  \n", "x" * (MAX_TEXT + 1)])
async def test_reasons_have_bounds(room: Room, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=f"1 to {MAX_TEXT}"):
        await room.do(room.approvals.request_spawn(MANAGER, "alice", reason))
    with pytest.raises(InvalidArgument, match=f"1 to {MAX_TEXT}"):
        await room.do(room.approvals.request_apply(MANAGER, "alice", "0" * 40, reason))


async def test_a_note_has_bounds_and_a_bad_one_changes_nothing(room: Room) -> None:
    number = await spawn(room)
    with pytest.raises(InvalidArgument):
        await room.do(room.no(number, "x" * (MAX_TEXT + 1)))
    assert room.state(number) is ApprovalState.PENDING


async def test_a_configuration_that_does_not_fit_leaves_nothing(room: Room) -> None:
    with pytest.raises(InvalidArgument, match=r"agent\.toml, line 2: resources\.memory_max"):
        await spawn(room, config="[resources]\nmemory_max = 'lots'\n")
    assert room.store.find() == []
    assert room.git.applied == {}


async def test_packages_of_debian_are_refused_where_agents_have_nixos(room: Room) -> None:
    config = 'packages = ["jq"]\n'
    room.git.flakes = True
    with pytest.raises(InvalidArgument, match=r"name them in agent\.nix"):
        await spawn(room, config=config)
    assert room.store.find() == []
    assert room.git.applied == {}
    await room.agent()
    await deployed(room, config)
    room.lifecycle.destroy("alice", purge=False)
    await room.rest()
    with pytest.raises(Conflict, match=r"kept of an earlier alice .* Request the agent with"):
        await spawn(room, "alice")
    assert len(room.store.find()) == 1
    await spawn(room, "alice", "# without\n")
    room.git.flakes = False
    await spawn(room, "bob", config)


async def test_a_taken_name_is_refused(room: Room) -> None:
    await room.agent()
    with pytest.raises(AlreadyExists):
        await spawn(room, "alice")


async def test_one_open_request_holds_a_name(room: Room) -> None:
    first = await spawn(room)
    with pytest.raises(Conflict, match="Request 1 for bob is pending"):
        await spawn(room)
    await room.do(room.no(first, ""))
    assert await spawn(room) == 2


async def test_two_requests_at_once_do_not_both_get_the_name(room: Room) -> None:
    answers = await room.do(
        asyncio.gather(
            *(room.approvals.request_spawn(MANAGER, "bob", "docs") for _ in range(5)),
            return_exceptions=True,
        )
    )
    assert [a for a in answers if isinstance(a, int)] == [1]
    assert all(isinstance(a, int | Conflict) for a in answers)


async def test_the_queue_is_bounded(room: Room) -> None:
    for name in "abc":
        await spawn(room, name)
    with pytest.raises(LimitExceeded, match="3 requests are pending"):
        await spawn(room, "d")
    await room.do(room.no(1, ""))
    await spawn(room, "d")


async def test_the_manager_asks_only_so_often(room: Room) -> None:
    for _ in range(20):
        number = await spawn(room)
        await room.do(room.approvals.withdraw(MANAGER, number))
    with pytest.raises(LimitExceeded, match="within an hour"):
        await spawn(room)
    await room.do(room.approvals.request_spawn(OPERATOR, "bob", "I may"))
