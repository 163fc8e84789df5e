"""The ports of the agents' pages, on a host where other programs listen."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import hivectl

pytestmark = pytest.mark.system

REGISTRY = "/var/lib/hyperhive/lifecycle/lifecycle.sqlite"
LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', {}));"
    "print(flush=True); sys.stdin.read()"
)
IMPORT = "import sqlite3; d = sqlite3.connect('{}'); d.execute('{}'); d.commit()"


@pytest.fixture
def carol(swarm: Hive) -> Iterator[Hive]:
    """Destroy carol afterwards."""
    yield swarm
    swarm.hivectl("destroy", "carol", "--purge", "--yes", check=False, timeout=120)


def port(hive: Hive, name: str) -> int:
    return int(hivectl(hive, "status", name)["port"])


@pytest.mark.long
def test_a_port_is_free_on_the_host_and_stays_with_the_name(carol: Hive) -> None:
    assert port(carol, "manager") == 8000
    assert len({port(carol, name) for name in ("manager", "alice", "bob")}) == 3
    carol.hivectl("spawn", "carol", timeout=120)
    own = port(carol, "carol")
    carol.hivectl("destroy", "carol", "--purge", "--yes", timeout=120)
    other = carol.popen("python3", "-c", LISTEN.format(own))
    assert other.stdout is not None
    other.stdout.readline()  # it listens
    carol.hivectl("spawn", "carol", timeout=120)
    next_one = port(carol, "carol")
    other.communicate(timeout=30)
    assert next_one != own
    carol.hivectl("destroy", "carol", "--yes", timeout=120)
    carol.hivectl("spawn", "carol", timeout=120)
    assert port(carol, "carol") == next_one


@pytest.mark.long
def test_an_imported_collision_is_shown_and_moves_nobody(carol: Hive) -> None:
    wanted = port(carol, "bob")
    carol.hivectl("spawn", "carol", timeout=120)
    carol.run("systemctl", "stop", "hive-lifecycle.service")
    change = f'update agent set port = {wanted} where name = "carol"'
    carol.run("python3", "-c", IMPORT.format(REGISTRY, change))
    carol.run("systemctl", "start", "hive-lifecycle.service")
    for name, other in (("bob", "carol"), ("carol", "bob")):
        shown = hivectl(carol, "status", name)
        assert (shown["port"], shown["port_shared_with"]) == (wanted, [other])
    changes = hivectl(carol, "rebuild", "carol")["changes"]
    # The socket of the port is a file of the container, which is put right, too.
    [change] = [one for one in changes if "/hive-port@" not in one]
    assert change.startswith(f"port changed from {wanted} (also used by bob) to ")
    assert hivectl(carol, "status", "bob")["port_shared_with"] == []
    assert port(carol, "carol") != wanted
