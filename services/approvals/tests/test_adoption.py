"""Agents that come and go, and requests of a version without commits."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from services import agentfile
from services.approvals.tests.room import Room, apply, deployed, memory, spawn
from services.approvals.tests.version1 import version_1
from wire.records.approvals import ApprovalState


async def test_an_agent_spawned_without_a_request_is_adopted(room: Room) -> None:
    commit = await room.agent()
    assert room.git.applied["alice"].commits[commit].text == agentfile.TEMPLATE
    assert room.tags() == {"deployed/0"}
    assert room.meta.pins["alice"] == (0, commit)
    await room.check()


async def test_lifecycle_is_not_started_only_to_look(room: Room) -> None:
    room.lifecycle.here = False
    room.lifecycle.agents["alice"] = ""
    await room.rest()
    assert "before snapshot" not in room.faults.steps
    room.lifecycle.here = True
    room.controller.lifecycle_appeared()
    await room.rest()
    assert "alice" in room.git.applied


async def test_an_agent_is_adopted_after_the_end_of_its_spawn(room: Room) -> None:
    await room.rest()
    room.lifecycle.agents["alice"] = ""
    room.lifecycle.begin("spawn", "alice")
    room.controller.lifecycle_appeared()
    await room.rest()
    assert room.git.applied == {}
    room.lifecycle.end("alice")
    await room.rest()
    assert room.tags() == {"deployed/0"}


async def test_a_lost_repository_begins_anew(room: Room) -> None:
    await room.agent()
    await deployed(room)
    del room.git.applied["alice"]
    room.controller.lifecycle_appeared()
    await room.rest()
    assert room.tags() == {"deployed/0"}
    assert room.meta.pins["alice"].commit == room.git.applied["alice"].refs["main"]


async def test_requests_for_a_destroyed_agent_are_withdrawn(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    room.lifecycle.destroy("alice", purge=False)
    await room.rest()
    assert room.row(number).note == "alice was destroyed."
    assert "withdrawn/1" in room.tags()
    await room.check()


async def test_a_purged_agent_leaves_no_repository(room: Room) -> None:
    await room.agent()
    await deployed(room)
    number = await apply(room, "# more\n")
    room.lifecycle.destroy("alice", purge=True)
    await room.rest()
    assert room.git.applied == {}
    assert room.meta.pins == {}
    assert room.row(number).note == "alice was purged."
    log = await room.approvals.deploy_log("", 10)
    assert [(d.approval, d.kept) for d in log] == [(1, False), (0, False)]
    assert await spawn(room, "alice") == 3


@pytest.fixture
async def old_room(request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    """A room whose store is of the first version, with a request for a1 in the given state."""
    with TemporaryDirectory(dir=memory()) as directory:
        room = Room(Path(directory) / "approvals.sqlite")
        version_1(room.path, (request.param,))
        await room.start()
        yield room
        room.close()


@pytest.mark.parametrize("old_room", ["pending"], indirect=True)
async def test_an_old_request_gets_a_configuration(old_room: Room) -> None:
    await old_room.rest()
    commit = old_room.row(1).commit
    assert old_room.git.applied["a1"].commits[commit].text == agentfile.TEMPLATE
    assert old_room.tags("a1") == {"proposal/1"}


@pytest.mark.parametrize("old_room", ["approved"], indirect=True)
async def test_an_old_yes_is_carried_out(old_room: Room) -> None:
    await old_room.rest()
    assert old_room.lifecycle.orders == [("spawn", "a1", old_room.row(1).commit)]
    old_room.lifecycle.end("a1")
    await old_room.rest()
    assert old_room.state(1) is ApprovalState.DEPLOYED
    await old_room.check()


@pytest.mark.parametrize("old_room", ["approved"], indirect=True)
async def test_an_old_yes_that_was_carried_out_already_is_deployed(old_room: Room) -> None:
    old_room.lifecycle.agents["a1"] = ""
    await old_room.rest()
    assert old_room.state(1) is ApprovalState.DEPLOYED
    assert old_room.lifecycle.orders == []
    assert old_room.tags("a1") == {"deployed/0"}


async def test_a_start_puts_back_the_tags_of_what_is_open(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    del room.git.applied["alice"].refs[f"refs/tags/proposal/{number}"]
    await room.start()
    await room.rest()
    assert room.tags() == {"deployed/0", "proposal/1"}


async def test_a_lost_meta_is_made_again_from_what_is_deployed(room: Room) -> None:
    await room.agent()
    number = await deployed(room)
    room.meta.pins.clear()
    room.meta.deploys.clear()
    room.controller.lifecycle_appeared()
    await room.rest()
    assert room.meta.pins["alice"] == (number, room.row(number).commit)
    await room.check()
