"""systemd-nspawn, as root of the host, follows no link of an agent while it starts a container."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest

from tests.system.hive import Hive
from tests.system.hosts_network import hosts_network
from tests.system.inside import PROBES, inside, leader, probe, until_active
from wire import names

pytestmark = pytest.mark.system

VICTIM = "/prey"
FLIPPER = (PROBES / "flipper.py").read_text()
FEW, MANY, REAL = 40, 2000, 50
UNIT = "systemd-nspawn@h-alice.service"
NO_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=10ms\n"
DROP_IN = f"/run/systemd/system/{UNIT}.d/70-test.conf"


NUMBERS = count(1)


class Flipper(NamedTuple):
    """A running exchange of links; `socket` is a name of its own: an earlier one may still end."""

    hive: Hive
    socket: str


@pytest.fixture(scope="module", autouse=True)
def network(swarm: Hive) -> Iterator[None]:
    """Let alice and bob meet at an abstract socket: with networks of their own they cannot."""
    with hosts_network(swarm, "alice", "bob"):
        yield


@pytest.fixture
def flipper(swarm: Hive) -> Iterator[Flipper]:
    """Exchange what alice passes on, in the container of bob; make a directory to point at."""
    swarm.hivectl("start", "alice", timeout=120)
    make = f"mkdir -p {VICTIM}/log/journal && touch {VICTIM}/resolv.conf {VICTIM}/localtime"
    swarm.run("sh", "-c", make)
    enter = ["nsenter", "--target", str(leader(swarm, "bob")), "--all", "--setuid=0", "--setgid=0"]
    socket = f"{swarm.name}-{next(NUMBERS)}"
    with swarm.popen(*enter, "python3", "-c", FLIPPER, socket, "flip") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Flipper(swarm, socket)
        process.kill()
    swarm.run("rm", "-r", VICTIM)
    swarm.hivectl("restart", "alice", timeout=120)


def state(hive: Hive) -> str:
    """Return owners and modes of the host's files, and sizes and times of those at risk."""
    around = "find /etc /root /var /var/log -maxdepth 1 -printf '%p %U:%G %m %y %l\\n'"
    risk = f"find {VICTIM} /etc/resolv.conf /etc/localtime -printf '%p %U:%G %m %s %T@\\n'"
    return hive.run("sh", "-c", f"{around} | sort; {risk} | sort").stdout


def give(flipper: Flipper) -> None:
    inside(flipper.hive, "alice", "python3", "-c", FLIPPER, flipper.socket, "give", VICTIM)


def attack(flipper: Flipper, starts: int) -> None:
    """Exchange links while a container with alice's settings, but /bin/false, starts again."""
    hive = flipper.hive
    before = state(hive)
    give(flipper)
    hive.hivectl("stop", "alice")
    done = probe(hive, "crash_loop", names.machine_name("alice"), str(starts), timeout=1600)
    assert state(hive) == before
    assert done["starts"] >= starts
    assert not done["refused"], "an agent can keep its container from being started"


@pytest.mark.long
def test_links_that_are_exchanged_during_starts_are_not_followed(flipper: Flipper) -> None:
    attack(flipper, FEW)


@pytest.mark.long
def test_no_link_is_followed_in_two_thousand_starts(flipper: Flipper) -> None:
    attack(flipper, MANY)


@pytest.mark.long
def test_no_link_is_followed_when_alice_crashes_herself(flipper: Flipper) -> None:
    hive = flipper.hive
    hive.run("install", "-D", "-m", "644", "/dev/stdin", DROP_IN, input=NO_LIMIT)
    hive.run("systemctl", "daemon-reload")
    before = state(hive)
    for _ in range(REAL):
        give(flipper)
        run = hive.run("systemctl", "show", "-P", "InvocationID", UNIT).stdout.strip()
        inside(hive, "alice", "systemctl", "--force", "exit", "1", check=False)
        until_active(hive, UNIT, run)
        assert state(hive) == before
    hive.run("rm", DROP_IN)
    hive.run("systemctl", "daemon-reload")
