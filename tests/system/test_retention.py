"""The timer's service, as its own user and through the real bus policy, deletes what is old."""

import json
from collections.abc import Iterator

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import PYTHON, Hive
from tests.system.inside import hivectl

pytestmark = pytest.mark.system

STORE = "/var/lib/hyperhive/broker/broker.sqlite"
LONG_AGO = 40 * 24 * 3600

AGE = f"""
import sqlite3, sys, time
db = sqlite3.connect("{STORE}")
long_ago = (int(time.time()) - {LONG_AGO}) * 10**6
# All of them: ids and times grow together.
db.execute("UPDATE message SET queued = ?", (long_ago,))
db.execute("UPDATE message SET acknowledged = ? WHERE acknowledged IS NOT NULL", (long_ago,))
db.commit()
"""


@pytest.fixture
def stopped(hive: Hive) -> Iterator[Hive]:
    """Start the broker afterwards."""
    yield hive
    hive.run("systemctl", "start", "hive.target", "hive-broker")


def stop(hive: Hive) -> None:
    hive.run("systemctl", "stop", "hive-broker")


def start(hive: Hive) -> None:
    hive.run("systemctl", "start", "hive-broker")


def bodies(hive: Hive) -> list[str]:
    call = ["busctl", "--json=short", "call", "org.hyperhive.Broker1", "/org/hyperhive/Broker1"]
    arguments = ["org.hyperhive.Broker1", "ListMessages", "a{sv}u", "1", "kind", "s", "message"]
    answer = hive.run(*call, *arguments, "100").stdout
    return [row[4] for row in json.loads(answer)["data"][0]]


def ours(hive: Hive) -> list[str]:
    """Return the bodies of the messages of this test."""
    return [body for body in bodies(hive) if body.startswith(("old and ", "new and "))]


def send(hive: Hive, body: str) -> int:
    call = ["busctl", "--json=short", "call", "org.hyperhive.Broker1", "/org/hyperhive/Broker1"]
    arguments = ["org.hyperhive.Broker1", "Send", "ssa{sv}", "operator", body, "0"]
    return int(json.loads(hive.run(*call, *arguments).stdout)["data"][0])


def acknowledge(hive: Hive, number: int) -> None:
    call = ["busctl", "call", "org.hyperhive.Broker1", "/org/hyperhive/Broker1"]
    hive.run(*call, "org.hyperhive.Broker1", "Acknowledge", "at", "1", str(number))


def test_the_timer_deletes_what_is_done_and_old(stopped: Hive) -> None:
    acknowledge(stopped, send(stopped, "old and done"))
    send(stopped, "old and unread")
    stop(stopped)
    stopped.run("runuser", "-u", "hive-broker", "--", PYTHON, "-c", AGE)
    start(stopped)
    acknowledge(stopped, send(stopped, "new and done"))
    assert ours(stopped) == ["old and done", "old and unread", "new and done"]
    assert stopped.run("systemctl", "is-active", "hive-vacuum.timer").stdout == "active\n"
    stopped.run("systemctl", "start", "hive-vacuum.service")
    assert ours(stopped) == ["old and unread", "new and done"]
    # Nothing else is open to that user.
    send_as = ["busctl", "call", "org.hyperhive.Broker1", "/org/hyperhive/Broker1"]
    refused = stopped.run(
        *("runuser", "-u", "hive-vacuum", "--", *send_as),
        *("org.hyperhive.Broker1", "Send", "ssa{sv}", "operator", "x", "0"),
        check=False,
    )
    assert refused.returncode != 0


CLOCK = "/var/lib/hyperhive/clock/clock.json"
"""The memory of hive-clock.service."""
BACKWARDS = f"""
import json, pathlib
file = pathlib.Path("{CLOCK}")
kept = json.loads(file.read_text())
kept["trusted"]["wall"] -= {LONG_AGO}
file.write_text(json.dumps(kept))
"""


@pytest.fixture
def ahead(stopped: Hive) -> Iterator[Hive]:
    """Let the clock be 40 days ahead of its last check, and forget that afterwards."""
    stopped.run("systemctl", "start", "hive-clock.service")
    stopped.run("runuser", "-u", "hive-vacuum", "--", PYTHON, "-c", BACKWARDS)
    # It says whether the kernel's clock is synchronized, and the kernel is the machine's.
    stopped.run("systemctl", "mask", "--runtime", "--now", "systemd-timedated.service")
    yield stopped
    stopped.run("systemctl", "unmask", "--runtime", "systemd-timedated.service")
    stopped.run("rm", "-f", CLOCK)
    stopped.run("systemctl", "reset-failed", "hive-clock.service", check=False)


@pytest.mark.long
def test_nothing_is_deleted_while_the_clock_is_in_doubt(ahead: Hive) -> None:
    acknowledge(ahead, send(ahead, "old and done, but not yet"))
    stop(ahead)
    ahead.run("runuser", "-u", "hive-broker", "--", PYTHON, "-c", AGE)
    start(ahead)
    for unit in ("hive-vacuum.service", "hive-sweep.service"):
        refused = ahead.run("systemctl", "start", unit, check=False)
        assert refused.returncode != 0, unit
    assert "old and done, but not yet" in ours(ahead)
    lines = ahead.run("journalctl", "--unit=hive-clock.service", "--lines=20", "--output=cat")
    assert "The clock is 40 days ahead of the last check" in lines.stdout
    # The operator knows better.
    ahead.run("hivectl", "vacuum")
    assert "old and done, but not yet" not in ours(ahead)


@pytest.mark.long
def test_the_timer_goes_with_the_hive(hive: Hive) -> None:
    hive.run("systemctl", "stop", "hive.target")
    state = hive.run("systemctl", "is-active", "hive-vacuum.timer", check=False).stdout
    hive.run("systemctl", "start", "hive.target")
    assert state == "inactive\n"
    assert hive.run("systemctl", "is-active", "hive-vacuum.timer").stdout == "active\n"


@pytest.mark.long
def test_a_backup_comes_back_but_not_onto_a_running_broker(stopped: Hive) -> None:
    copy = "/root/saved.sqlite"
    send(stopped, "before the backup")
    stopped.run("rm", "-f", copy)
    saved = stopped.run("hivectl", "backup", copy, "--json")
    assert json.loads(saved.stdout) == {"file": copy}
    assert stopped.run("stat", "--format=%a %U", copy).stdout == "600 root\n"
    twice = stopped.run("hivectl", "backup", copy, check=False)
    assert twice.returncode == Exit.CONFLICT
    send(stopped, "after the backup")
    refused = stopped.run("hivectl", "restore", copy, check=False)
    assert refused.returncode == Exit.CONFLICT
    assert refused.stderr.startswith("hivectl: ")
    assert len(hivectl(stopped, "search", "after the backup")["messages"]) == 1
    assert "systemctl stop hive-broker" in refused.stderr
    stop(stopped)
    stopped.run("hivectl", "restore", copy)
    start(stopped)
    found = bodies(stopped)
    assert "before the backup" in found
    assert "after the backup" not in found
    assert "hive-broker 600" in stopped.run("stat", "-c", "%U %a", STORE).stdout
