"""Ports of the agents' pages: the choice, and two agents with the same port."""

import socket
from pathlib import Path

import pytest

from services.lifecycle.agents import ports
from services.lifecycle.agents.record import Record
from services.lifecycle.host import in_use
from services.lifecycle.store import Store
from services.lifecycle.tests.room import DONE, Room
from services.lifecycle.tests.test_nspawn import Host, host
from wire.errors import CorruptStore, LimitExceeded
from wire.records.lifecycle import JobResult, JobVerb, SpawnOptions

__all__ = ["host"]

ALL = frozenset(range(ports.FIRST, ports.FIRST + ports.COUNT))
ALICE = ports.choose("alice", ())


def shown(room: Room, name: str) -> tuple[int, tuple[str, ...]]:
    agent = next(agent for agent in room.agents if agent.name == name)
    return agent.port, agent.port_shared


async def imported(room: Room, **given: int) -> None:
    """Restart with a changed store."""
    for name, port in given.items():
        record = room.record(name)
        record.port = port
        room.store.save(record)
    await room.close()
    await room.open()


def test_the_name_decides_and_what_is_taken_is_passed_by() -> None:
    assert ports.choose("manager", {8000}) == 8000
    assert ALICE == ports.choose("alice", {ALICE + 1}) == 8701
    assert ports.choose("alice", {ALICE, ALICE + 1}) == ALICE + 2
    assert ports.choose("alice", ALL - {8100}) == 8100
    assert {ports.choose(f"a{n}", ()) in ALL for n in range(2000)} == {True}


def test_all_taken_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(LimitExceeded, match=r"All 900 ports .* are taken by .*hivectl purge"):
        ports.choose("alice", ALL)


def test_only_listeners_of_the_host_count(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as four, socket.socket() as client:
        number = four.getsockname()[1]
        client.connect(four.getsockname())
        found = in_use.parse_listening(Path("/proc/self/net/tcp").read_text())
        assert number in found
        assert client.getsockname()[1] not in found
    assert number not in in_use.parse_listening(Path("/proc/self/net/tcp").read_text())
    assert in_use.parse_listening("  sl  local_address rem_address   st\n\n") == frozenset()


async def test_the_backend_reads_both_tables_or_the_one_there_is(host: Host) -> None:
    line = "   0: {}:1FA4 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0\n"
    assert await host.backend.listening_ports() == frozenset()
    four, six = host.layout.socket_tables
    four.parent.mkdir(parents=True)
    four.write_text(line.format("0100007F", "01"))
    six.write_text(line.format("0" * 32, "0A"))
    assert await host.backend.listening_ports() == {8100}


async def test_a_port_is_kept_over_restarts_and_as_a_tombstone(room: Room) -> None:
    await room.spawn("manager")
    room.backend.bound = frozenset({ALICE})
    await room.spawn("alice")
    room.backend.bound = frozenset()
    assert shown(room, "manager") == (8000, ())
    assert shown(room, "alice") == (ALICE + 1, ())
    await room.close()
    await room.open()
    assert shown(room, "alice") == (ALICE + 1, ())
    assert await room.diary.end_of(room.orders.destroy("alice", False)) == DONE
    room.backend.bound = ALL - {ALICE + 1, ALICE + 2}
    await room.spawn("bob")
    assert shown(room, "bob") == (ALICE + 2, ())
    room.backend.bound = ALL
    await room.spawn("alice")
    assert shown(room, "alice") == (ALICE + 1, ())


async def test_none_left_is_said_at_spawn_and_leaves_nothing(room: Room) -> None:
    room.backend.bound = ALL
    result, note = await room.diary.end_of(room.orders.spawn("alice", SpawnOptions()))
    assert (result, note[:13]) == (JobResult.FAILED, "All 900 ports")
    assert room.store.records() == []
    room.backend.bound = frozenset()
    await room.spawn("alice")


async def test_the_same_port_twice_is_shown_and_moves_nobody(room: Room) -> None:
    for name in ("alice", "bob", "carol"):
        await room.spawn(name)
    await imported(room, bob=ALICE)
    assert shown(room, "alice") == (ALICE, ("bob",))
    assert shown(room, "bob") == (ALICE, ("alice",))
    assert shown(room, "carol")[1] == ()
    for verb in (JobVerb.RESTART, JobVerb.UPDATE):
        await room.order(verb, "bob")
        assert shown(room, "bob") == (ALICE, ("alice",))


async def test_a_rebuild_parts_them_and_says_so(room: Room) -> None:
    await room.spawn("alice")
    await room.spawn("bob")
    await imported(room, bob=ALICE)
    moved = ports.choose("bob", ())
    job = room.orders.order(JobVerb.REBUILD, "bob")
    note = f"port changed from {ALICE} (also used by alice) to {moved}"
    assert await room.diary.end_of(job) == (JobResult.DONE, note)
    assert (shown(room, "alice"), shown(room, "bob")) == ((ALICE, ()), (moved, ()))
    assert room.record("bob").port == moved
    assert room.record("bob").spec.port == room.parts.roster.agent("bob").spec.port == moved
    await room.order(JobVerb.REBUILD, "bob")


async def test_a_tombstone_has_its_port_until_it_is_purged(room: Room) -> None:
    await room.spawn("alice")
    await room.spawn("bob")
    await room.diary.end_of(room.orders.destroy("alice", False))
    await imported(room, bob=ALICE)
    assert shown(room, "bob") == (ALICE, ("alice",))
    await room.diary.end_of(room.orders.purge("alice"))
    assert shown(room, "bob") == (ALICE, ())


async def test_agents_of_before_there_were_ports_get_one(room: Room) -> None:
    await room.spawn("alice")
    await room.spawn("bob")
    room.backend.bound = frozenset({ALICE})
    await imported(room, alice=0)
    assert shown(room, "alice") == (ALICE + 1, ())
    room.backend.bound = ALL
    await imported(room, alice=0, bob=0)  # none is left: they go on without
    assert (shown(room, "alice"), shown(room, "bob")) == ((0, ()), (0, ()))


def test_a_number_that_is_no_port_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path / "lifecycle.sqlite")
    store.save(Record("alice", 0x1000_0000, port=70_000))
    store.close()
    with pytest.raises(CorruptStore, match="alice has the port 70000"):
        Store(tmp_path / "lifecycle.sqlite")


def test_the_unit_shows_the_tables_and_keeps_its_own_network() -> None:
    room = Path(__file__).parents[1]
    lines = (room / "hive-lifecycle.service").read_text().splitlines()
    shown = [line.rpartition(":")[2] for line in lines if "/net/tcp" in line]
    assert shown == ["/run/hyperhive/host/tcp", "/run/hyperhive/host/tcp6"]
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(lines)
