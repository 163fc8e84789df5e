"""Ports of the agents' pages: the choice, and two agents with the same port."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.lifecycle.agents import ports
from services.lifecycle.agents.record import Record
from services.lifecycle.host import in_use
from services.lifecycle.store import Store
from services.lifecycle.tests.house import DONE, House
from services.lifecycle.tests.test_nspawn import Host, host
from wire.errors import CorruptStore, LimitExceeded
from wire.records.lifecycle import JobResult, JobVerb, SpawnOptions

__all__ = ["host"]

ALL = frozenset(range(ports.FIRST, ports.FIRST + ports.COUNT))
ALICE = ports.choose("alice", ())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.open()
    yield house
    await house.close()


def shown(house: House, name: str) -> tuple[int, tuple[str, ...]]:
    agent = next(agent for agent in house.lifecycle.agents if agent.name == name)
    return agent.port, agent.port_shared


async def imported(house: House, **given: int) -> None:
    """Restart with a changed store."""
    for name, port in given.items():
        record = house.record(name)
        record.port = port
        house.store.save(record)
    await house.close()
    await house.open()


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


async def test_a_port_is_kept_over_restarts_and_as_a_tombstone(house: House) -> None:
    await house.spawn("manager")
    house.backend.bound = frozenset({ALICE})
    await house.spawn("alice")
    house.backend.bound = frozenset()
    assert shown(house, "manager") == (8000, ())
    assert shown(house, "alice") == (ALICE + 1, ())
    await house.close()
    await house.open()
    assert shown(house, "alice") == (ALICE + 1, ())
    assert await house.diary.end_of(house.lifecycle.destroy("alice", False)) == DONE
    house.backend.bound = ALL - {ALICE + 1, ALICE + 2}
    await house.spawn("bob")
    assert shown(house, "bob") == (ALICE + 2, ())
    house.backend.bound = ALL
    await house.spawn("alice")
    assert shown(house, "alice") == (ALICE + 1, ())


async def test_none_left_is_said_at_spawn_and_leaves_nothing(house: House) -> None:
    house.backend.bound = ALL
    result, note = await house.diary.end_of(house.lifecycle.spawn("alice", SpawnOptions()))
    assert (result, note[:13]) == (JobResult.FAILED, "All 900 ports")
    assert house.store.records() == []
    house.backend.bound = frozenset()
    await house.spawn("alice")


async def test_the_same_port_twice_is_shown_and_moves_nobody(house: House) -> None:
    for name in ("alice", "bob", "carol"):
        await house.spawn(name)
    await imported(house, bob=ALICE)
    assert shown(house, "alice") == (ALICE, ("bob",))
    assert shown(house, "bob") == (ALICE, ("alice",))
    assert shown(house, "carol")[1] == ()
    for verb in (JobVerb.RESTART, JobVerb.UPDATE):
        await house.order(verb, "bob")
        assert shown(house, "bob") == (ALICE, ("alice",))


async def test_a_rebuild_parts_them_and_says_so(house: House) -> None:
    await house.spawn("alice")
    await house.spawn("bob")
    await imported(house, bob=ALICE)
    moved = ports.choose("bob", ())
    job = house.lifecycle.order(JobVerb.REBUILD, "bob")
    note = f"port changed from {ALICE}, which alice has, too, to {moved}"
    assert await house.diary.end_of(job) == (JobResult.DONE, note)
    assert (shown(house, "alice"), shown(house, "bob")) == ((ALICE, ()), (moved, ()))
    assert house.record("bob").port == moved
    await house.order(JobVerb.REBUILD, "bob")


async def test_a_tombstone_has_its_port_until_it_is_purged(house: House) -> None:
    await house.spawn("alice")
    await house.spawn("bob")
    await house.diary.end_of(house.lifecycle.destroy("alice", False))
    await imported(house, bob=ALICE)
    assert shown(house, "bob") == (ALICE, ("alice",))
    await house.diary.end_of(house.lifecycle.purge("alice"))
    assert shown(house, "bob") == (ALICE, ())


async def test_agents_of_before_there_were_ports_get_one(house: House) -> None:
    await house.spawn("alice")
    await house.spawn("bob")
    house.backend.bound = frozenset({ALICE})
    await imported(house, alice=0)
    assert shown(house, "alice") == (ALICE + 1, ())
    house.backend.bound = ALL
    await imported(house, alice=0, bob=0)  # none is left: they go on without
    assert (shown(house, "alice"), shown(house, "bob")) == ((0, ()), (0, ()))


def test_a_number_that_is_no_port_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path / "lifecycle.sqlite")
    store.save(Record("alice", 0x1000_0000, port=70_000))
    store.close()
    with pytest.raises(CorruptStore, match="alice has the port 70000"):
        Store(tmp_path / "lifecycle.sqlite")


def test_the_unit_shows_the_tables_and_keeps_its_own_network() -> None:
    room = Path(__file__).parents[1]
    lines = (room / "hive-lifecycle.service").read_text().splitlines()
    shown = [line.rpartition(":")[2] for line in lines if line.startswith("BindReadOnlyPaths=")]
    assert shown == ["/run/hyperhive/host/tcp", "/run/hyperhive/host/tcp6"]
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(lines)
