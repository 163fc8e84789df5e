"""The host deletes old events of agents, and no agent can use that against the host."""

import json
from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import inside, until_idle

pytestmark = pytest.mark.system

STATE = "/var/lib/hyperhive/agents/alice/state"
FILE = "hyperhive-events.sqlite"
PYTHON = "/usr/lib/hyperhive/bin/python"
FILL = f"""
import sqlite3
database = sqlite3.connect("/state/{FILE}", timeout=20)
last = database.execute("SELECT max(id) FROM events").fetchone()[0] or 0
rows = ((last + n, 1, "text", "{{}}") for n in range(1, 5001))
database.executemany("INSERT INTO events (id, at, type, data) VALUES (?, ?, ?, ?)", rows)
database.commit()
"""


@pytest.fixture
def alice(swarm: Hive) -> Iterator[Hive]:
    yield swarm
    inside(swarm, "alice", "sh", "-c", f"rm -rf /state/{FILE}* /state/victim*")
    swarm.hivectl("restart", "alice", timeout=120)
    until_idle(swarm)


def sweep(hive: Hive, agent: str = "alice") -> list[str]:
    """Run the sweep; return its lines about an agent's events."""
    unit = "hive-sweep.service"
    # Tests start the unit more often than systemd allows by default.
    hive.run("systemctl", "reset-failed", unit, check=False)
    hive.run("systemctl", "start", unit, timeout=120)
    run = hive.run("systemctl", "show", "-P", "InvocationID", unit).stdout.strip()
    hive.run("journalctl", "--sync")
    lines = hive.run("journalctl", "-o", "cat", f"_SYSTEMD_INVOCATION_ID={run}").stdout.splitlines()
    return [line for line in lines if line.startswith(f"{agent}: {FILE}")]


def events(hive: Hive) -> int:
    count = f"import sqlite3; d = sqlite3.connect('/state/{FILE}');"
    count += "print(d.execute('SELECT count(*) FROM events').fetchone()[0])"
    return int(inside(hive, "alice", PYTHON, "-c", count).stdout)


@pytest.mark.long
def test_old_events_of_a_running_agent_are_deleted(alice: Hive) -> None:
    inside(alice, "alice", PYTHON, "-c", FILL)
    before = events(alice)
    assert before >= 5000
    [line] = sweep(alice)
    assert "old rows were deleted" in line
    assert 2000 <= events(alice) < before - 2000
    state = read(alice, "/v1/state")
    assert state["stored"] is True


OLD = f"""
import os, sqlite3
folder = "/var/lib/hyperhive/agents/gone"
path = folder + "/state/{FILE}"
for end in ("", "-wal", "-shm"):
    if os.path.exists(path + end):
        os.unlink(path + end)
database = sqlite3.connect(path)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,"
                 " turn INTEGER, type TEXT NOT NULL, data TEXT NOT NULL)")
rows = ((1, "text", "x" * 1000) for _ in range(10000))
database.executemany("INSERT INTO events (at, type, data) VALUES (?, ?, ?)", rows)
database.commit()
database.close()
owner = os.stat(folder + "/state").st_uid
os.chown(path, owner, owner)
os.chown(folder, 0, 0)
os.chmod(folder, 0o700)
"""


@pytest.mark.long
def test_a_destroyed_agent_of_an_earlier_version_is_swept_and_its_file_shrinks(swarm: Hive) -> None:
    path = f"/var/lib/hyperhive/agents/gone/state/{FILE}"
    swarm.hivectl("spawn", "gone", timeout=120)
    try:
        swarm.hivectl("destroy", "gone", "--yes", timeout=120)
        swarm.run(PYTHON, "-c", OLD)
        before = int(swarm.run("stat", "-c", "%s", path).stdout)
        swarm.run("systemctl", "restart", "hive-lifecycle")
        [line] = sweep(swarm, "gone")
        assert "8000 old rows were deleted; the file of an earlier version was rewritten" in line
        assert int(swarm.run("stat", "-c", "%s", path).stdout) < before / 3
        assert swarm.run("stat", "-c", "%U:%a", path.rpartition("/state")[0]).stdout == "root:710\n"
    finally:
        swarm.hivectl("purge", "gone", "--yes", timeout=120)


def read(hive: Hive, path: str) -> dict[str, object]:
    socket = "/var/lib/hyperhive/web/alice/web.sock"
    found = hive.run("curl", "-sf", "--max-time", "20", "--unix-socket", socket, f"http://x{path}")
    answer: dict[str, object] = json.loads(found.stdout)
    return answer


@pytest.mark.parametrize(
    ("trap", "words"),
    [
        ("ln -s /etc/shadow {}", "a link"),
        pytest.param("mkfifo {}", "a pipe", marks=pytest.mark.long),
        pytest.param("mkdir {}", "a directory", marks=pytest.mark.long),
        ("head -c 100000 /dev/urandom > {}", "not a database"),
        pytest.param("ln -s /state/victim {}-wal; touch {}", "a link", marks=pytest.mark.long),
    ],
)
def test_a_trap_is_left_alone_and_said(alice: Hive, trap: str, words: str) -> None:
    shadow = alice.run("sha256sum", "/etc/shadow").stdout
    path = f"/state/{FILE}"
    inside(alice, "alice", "sh", "-c", f"rm -rf {path}*; {trap.replace('{}', path)}")
    [line] = sweep(alice)
    assert f"{FILE} is left alone" in line
    assert words in line
    assert alice.run("sha256sum", "/etc/shadow").stdout == shadow
    state = alice.run("systemctl", "show", "-P", "Result", "hive-sweep.service").stdout
    assert state == "success\n"


def test_the_container_keeps_its_journal_small(swarm: Hive) -> None:
    lines = inside(swarm, "alice", "journalctl", "-o", "cat", "_COMM=systemd-journal").stdout
    assert "System Journal" in lines
    [size] = {line.split("max ")[1].split(",")[0] for line in lines.splitlines() if "max " in line
              and "System Journal" in line}  # fmt: skip
    assert size == "64.0M"
