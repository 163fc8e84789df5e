"""A store that cannot be used stops the service with a sentence, and is not touched."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive

pytestmark = pytest.mark.system

STORES = {
    "hive-broker": "/var/lib/hyperhive/broker",
    "hive-approvals": "/var/lib/hyperhive/approvals",
    "hive-ledger": "/var/lib/hyperhive/ledger",
    "hive-projects": "/var/lib/hyperhive/projects",
}
FIRST = "hive-broker"
"""The service whose store is tried with each change."""


@pytest.fixture(
    params=[
        service if service == FIRST else pytest.param(service, marks=pytest.mark.long)
        for service in STORES
    ]
)
def stopped(request: pytest.FixtureRequest, swarm: Hive) -> Iterator[str]:
    """Stop a service and save its state; restore both afterwards."""
    service, directory = request.param, STORES[request.param]
    swarm.run("systemctl", "stop", service)
    swarm.run("cp", "-a", directory, "/root/saved")
    yield service
    swarm.run("systemctl", "stop", service)
    swarm.run("rm", "-rf", directory)
    swarm.run("cp", "-a", "/root/saved", directory)
    swarm.run("rm", "-rf", "/root/saved")
    swarm.run("systemctl", "reset-failed", service, check=False)
    swarm.run("systemctl", "restart", service, "hive.target")


def store(hive: Hive, service: str) -> str:
    find = f"ls {STORES[service]}/*.sqlite"
    return hive.run("sh", "-c", find).stdout.split()[0]


@pytest.mark.parametrize("damage", ["corrupt", pytest.param("unreadable", marks=pytest.mark.long)])
def test_a_damaged_store_is_left_alone(swarm: Hive, stopped: str, damage: str) -> None:
    path = store(swarm, stopped)
    swarm.run("sh", "-c", f"rm -f {path}-wal {path}-shm")
    if damage == "corrupt":
        swarm.run("sh", "-c", f"head -c 65536 /dev/urandom > {path}")
    else:
        swarm.run("sh", "-c", f"chown root:root {path} && chmod 000 {path}")
    before = swarm.run("sh", "-c", f"sha256sum {path}; stat -c '%U %a %Y' {path}").stdout
    swarm.run("systemctl", "start", stopped, check=False, timeout=120)
    assert swarm.run("systemctl", "is-active", stopped, check=False).stdout.strip() != "active"
    said = swarm.run("journalctl", "-u", stopped, "-n", "20", "-o", "cat").stdout
    assert path in said, said
    assert "Traceback" not in said
    after = swarm.run("sh", "-c", f"sha256sum {path}; stat -c '%U %a %Y' {path}").stdout
    assert after == before, "the damaged store was touched"
