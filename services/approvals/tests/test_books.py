"""Agents that come and go, and requests of the time before there was git."""

from services import agentfile
from services.approvals.model import Kind, State
from services.approvals.tests.room import MANAGER, Room, apply, deployed, spawn


async def test_who_was_spawned_without_us_is_adopted(room: Room) -> None:
    commit = await room.agent()
    assert room.git.applied["alice"].commits[commit].text == agentfile.TEMPLATE
    assert room.tags() == {"deployed/0"}
    assert room.meta.pins["alice"] == (0, commit)
    await room.check()


async def test_lifecycle_is_not_started_only_to_look(room: Room) -> None:
    room.lifecycle.here = False
    room.lifecycle.agents["alice"] = ""
    await room.rest()
    assert "before swarm" not in room.faults.steps
    room.lifecycle.here = True
    room.carrier.neighbour_changed(lifecycle=True)
    await room.rest()
    assert "alice" in room.git.applied


async def test_who_is_being_spawned_is_adopted_when_that_is_over(room: Room) -> None:
    await room.rest()
    room.lifecycle.agents["alice"] = ""
    room.lifecycle.begin("spawn", "alice")
    room.carrier.neighbour_changed(lifecycle=True)
    await room.rest()
    assert room.git.applied == {}
    room.lifecycle.end("alice")
    await room.rest()
    assert room.tags() == {"deployed/0"}


async def test_a_lost_repository_begins_anew(room: Room) -> None:
    await room.agent()
    await deployed(room)
    del room.git.applied["alice"]
    room.carrier.neighbour_changed(lifecycle=True)
    await room.rest()
    assert room.tags() == {"deployed/0"}
    assert room.meta.pins["alice"].commit == room.git.applied["alice"].refs["main"]


async def test_what_is_asked_of_a_destroyed_agent_is_withdrawn(room: Room) -> None:
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
    assert [d.approval for d in await room.approvals.deploy_log("", 10)] == [1, 0]
    assert await spawn(room, "alice") == 3


async def _version_1(room: Room, state: str) -> None:
    """A request of the time when there were no configurations."""
    room.store.add(Kind.SPAWN, "bob", "", "docs", MANAGER, 1)
    room.store._db.execute("UPDATE approval SET state = ?", (state,))
    room.store._db.commit()
    await room.start()
    await room.rest()


async def test_an_old_request_gets_a_configuration(room: Room) -> None:
    await _version_1(room, "pending")
    assert room.git.applied["bob"].commits[room.row(1).commit].text == agentfile.TEMPLATE
    assert room.tags("bob") == {"proposal/1"}


async def test_an_old_yes_is_carried_out(room: Room) -> None:
    await _version_1(room, "approved")
    assert room.lifecycle.orders == [("spawn", "bob", room.row(1).commit)]
    room.lifecycle.end("bob")
    await room.rest()
    assert room.state(1) is State.DEPLOYED
    await room.check()


async def test_an_old_yes_that_was_carried_out_already_isdeployed(room: Room) -> None:
    room.lifecycle.agents["bob"] = ""
    await _version_1(room, "approved")
    assert room.state(1) is State.DEPLOYED
    assert room.lifecycle.orders == []
    assert room.tags("bob") == {"deployed/0"}


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
    room.carrier.neighbour_changed(lifecycle=True)
    await room.rest()
    assert room.meta.pins["alice"] == (number, room.row(number).commit)
    await room.check()
