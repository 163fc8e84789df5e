"""A hive that starts with the stores of its first version keeps their contents."""

from collections.abc import Iterator

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.inside import hivectl

pytestmark = pytest.mark.system

STATE = "/var/lib/hyperhive"
STORES = {"broker": "hive-broker", "lifecycle": "root", "approvals": "hive-approvals"}

DOWNGRADE = """
import os, pathlib, shutil, sqlite3
from services import migration
from services.approvals import store
from services.broker.storage import schema
from services.lifecycle.store import MIGRATIONS as LIFECYCLE_MIGRATIONS

ROOMS = {
    "broker": (schema.FORMAT.steps, schema.FORMAT.application),
    "lifecycle": (LIFECYCLE_MIGRATIONS, 0),
    "approvals": (store.MIGRATIONS, 0),
}

def columns(db, place, table):
    return [row[1] for row in db.execute(f"PRAGMA {place}.table_info({table})")]

for room, (steps, application) in ROOMS.items():
    path = pathlib.Path(f"/var/lib/hyperhive/{room}/{room}.sqlite")
    status = path.stat()
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    path.rename(path.with_name("today"))
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    migration.migrate(db, path, steps[:1], application=application)
    db.execute("ATTACH ? AS today", (str(path.with_name("today")),))
    tables = db.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    for (table,) in tables:
        names = ", ".join(set(columns(db, "main", table)) & set(columns(db, "today", table)))
        into = f"INSERT OR IGNORE INTO main.{table} ({names})"
        db.execute(f"{into} SELECT {names} FROM today.{table}")
    if room == "approvals":
        db.execute(
            "INSERT INTO main.approval (kind, agent, reason, requested_by, requested, state) "
            "VALUES ('spawn', 'older', 'long ago', 'manager', 1, 'spawned')"
        )
    db.close()
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    os.chown(path, status.st_uid, status.st_gid)
"""


def stop(hive: Hive) -> None:
    services = [f"hive-{room}" for room in STORES]
    hive.run("systemctl", "stop", "hive.target", *services, timeout=120)


def start(hive: Hive) -> None:
    hive.run("systemctl", "start", "hive.target", timeout=120)


@pytest.fixture
def old(swarm: Hive) -> Iterator[Hive]:
    """Stop the hive, and turn its stores into stores of the first version; undo afterwards."""
    swarm.hivectl("send", "operator", "said before")
    stop(swarm)
    swarm.run(PYTHON, "-c", DOWNGRADE)
    yield swarm
    stop(swarm)
    for room in STORES:
        names = " ".join(f"{room}.sqlite{suffix}" for suffix in ("-wal", "-shm", ".v1"))
        script = f"cd {STATE}/{room} && rm -f {names} && mv today {room}.sqlite"
        swarm.run("sh", "-c", script)
    start(swarm)
    swarm.hivectl("start", "alice", timeout=120)


def kept(hive: Hive, room: str) -> str:
    """Return owner, mode and time of the copy that a migration left."""
    return hive.run("stat", "-c", "%U %a %Y", f"{STATE}/{room}/{room}.sqlite.v1").stdout


@pytest.mark.long
def test_stores_of_the_first_version(old: Hive) -> None:
    start(old)
    old.hivectl("start", "alice", timeout=120)
    found = {agent["name"]: agent["state"] for agent in hivectl(old, "list")}
    assert set(found) >= {"manager", "alice", "bob"}
    assert found["alice"] == "running"
    assert "said before" in old.hivectl("history", "--limit", "200").stdout
    [older] = [r for r in hivectl(old, "pending", "--all") if r["agent"] == "older"]
    assert older["state"] == "deployed"
    first = {room: kept(old, room) for room in STORES}
    for room, owner in STORES.items():
        assert first[room].startswith(f"{owner} 600 ")
        assert old.run("systemctl", "is-active", f"hive-{room}").stdout == "active\n"
    old.run("systemctl", "restart", *(f"hive-{room}" for room in STORES), timeout=120)
    assert {room: kept(old, room) for room in STORES} == first
