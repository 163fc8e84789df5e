"""systemd-nspawn, as root of the host, follows no link of an agent while it starts a container."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import PROBES, inside, leader, probe, until_active
from wire import names

pytestmark = pytest.mark.system

VICTIM = "/prey"
FLIPPER = (PROBES / "flipper.py").read_text()
FEW, MANY, REAL = 40, 2000, 50
UNIT = "systemd-nspawn@h-alice.service"
NO_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=10ms\n"
DROP_IN = f"/run/systemd/system/{UNIT}.d/70-test.conf"


@pytest.fixture
def flipper(swarm: Hive) -> Iterator[Hive]:
    """Exchange what alice passes on, in the container of bob; make a directory to point at."""
    swarm.hivectl("start", "alice", timeout=120)
    make = f"mkdir -p {VICTIM}/log/journal && touch {VICTIM}/resolv.conf {VICTIM}/localtime"
    swarm.run("sh", "-c", make)
    enter = ["nsenter", "--target", str(leader(swarm, "bob")), "--all", "--setuid=0", "--setgid=0"]
    with swarm.popen(*enter, "python3", "-c", FLIPPER, swarm.name, "flip") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield swarm
        process.kill()
    swarm.run("rm", "-r", VICTIM)
    swarm.hivectl("restart", "alice", timeout=120)


def state(hive: Hive) -> str:
    """Return owners and modes of the host's files, and sizes and times of those at risk."""
    around = "find /etc /root /var /var/log -maxdepth 1 -printf '%p %U:%G %m %y %l\\n'"
    risk = f"find {VICTIM} /etc/resolv.conf /etc/localtime -printf '%p %U:%G %m %s %T@\\n'"
    return hive.run("sh", "-c", f"{around} | sort; {risk} | sort").stdout


def give(hive: Hive) -> None:
    inside(hive, "alice", "python3", "-c", FLIPPER, hive.name, "give", VICTIM)


def attack(hive: Hive, starts: int) -> None:
    """Exchange links while a container with alice's settings, but /bin/false, starts again."""
    before = state(hive)
    give(hive)
    hive.hivectl("kill", "alice")
    done = probe(hive, "crash_loop", names.machine_name("alice"), str(starts), timeout=1600)
    assert state(hive) == before
    assert done["starts"] >= starts
    assert not done["refused"], "an agent can keep its container from being started"


def test_links_that_are_exchanged_during_starts_are_not_followed(flipper: Hive) -> None:
    attack(flipper, FEW)


@pytest.mark.long
def test_no_link_is_followed_in_two_thousand_starts(flipper: Hive) -> None:
    attack(flipper, MANY)


@pytest.mark.long
def test_no_link_is_followed_when_alice_crashes_herself(flipper: Hive) -> None:
    flipper.run("install", "-D", "-m", "644", "/dev/stdin", DROP_IN, input=NO_LIMIT)
    flipper.run("systemctl", "daemon-reload")
    before = state(flipper)
    for _ in range(REAL):
        give(flipper)
        run = flipper.run("systemctl", "show", "-P", "InvocationID", UNIT).stdout.strip()
        inside(flipper, "alice", "systemctl", "--force", "exit", "1", check=False)
        until_active(flipper, UNIT, run)
        assert state(flipper) == before
    flipper.run("rm", DROP_IN)
    flipper.run("systemctl", "daemon-reload")
