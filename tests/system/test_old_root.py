"""An agent that an earlier version created keeps its files, however its container starts next."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import hivectl, inside, leader, until_active

pytestmark = pytest.mark.system

UNIT = "systemd-nspawn@h-bob.service"
ROOT = "/var/lib/machines/h-bob"
MAKE = f"""
rm -rf {ROOT}
mkdir -p {ROOT}/root/.config {ROOT}/var/lib/tool {ROOT}/etc {ROOT}/usr {ROOT}/workspace
for file in root/.config/x var/lib/tool/x etc/x workspace/x; do echo $file > {ROOT}/$file; done
ln -s usr/bin {ROOT}/bin
chown -hR BASE:BASE {ROOT}
"""
PLACES = {
    "/root/.config/x": "root/.config/x",
    "/var/lib/tool/x": "var/lib/tool/x",
    "/root/old-root/etc/x": "etc/x",
    "/root/old-root/workspace/x": "workspace/x",
}


@pytest.fixture
def bob(swarm: Hive) -> Iterator[Hive]:
    """Start bob, and remove what the test leaves."""
    swarm.hivectl("start", "bob", timeout=120)
    yield swarm
    swarm.hivectl("start", "bob", timeout=120)
    paths = "/root/.config /var/lib/tool /root/old-root"
    inside(swarm, "bob", "sh", "-c", f"rm -rf {paths}")


def make_old_root(hive: Hive) -> None:
    base = hivectl(hive, "status", "bob")["uid_base"]
    hive.run("sh", "-euc", MAKE.replace("BASE", str(base)))


def check(hive: Hive) -> None:
    for path, content in PLACES.items():
        assert inside(hive, "bob", "cat", path).stdout == f"{content}\n"
    assert ".old" not in hive.run("ls", "-A", "/var/lib/machines").stdout
    assert hive.run("stat", "-c", "%u", ROOT).stdout == "0\n"


@pytest.mark.long
def test_a_start_moves_the_files(bob: Hive) -> None:
    bob.hivectl("stop", "bob", timeout=120)
    make_old_root(bob)
    bob.hivectl("start", "bob", timeout=120)
    check(bob)


@pytest.mark.long
def test_a_crash_after_the_update_moves_the_files(bob: Hive) -> None:
    # The container runs, and its root is renamed: mounts do not mind.
    bob.run("mv", ROOT, "/var/lib/machines/running")
    make_old_root(bob)
    before = bob.run("systemctl", "show", "-P", "InvocationID", UNIT).stdout.strip()
    bob.run("systemctl", "restart", "hive-lifecycle.service")
    bob.hivectl("list")
    bob.run("kill", "-9", str(leader(bob, "bob")))
    until_active(bob, UNIT, before)
    bob.run("rm", "-r", "/var/lib/machines/running")
    check(bob)
