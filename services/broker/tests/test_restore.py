"""A backup is put into the place of the store; killed anywhere, it is one of the two."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.broker import restore
from services.broker.maintenance.maintenance import Maintenance
from services.broker.messages.message import Draft
from services.broker.messages.store import MessageStore
from services.broker.storage import lock, schema
from services.broker.storage.database import Database
from wire.errors import Conflict, CorruptStore, NotFound

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def saved(path: Path) -> Path:
    """Make a store with the messages `then` and `now`; return a backup that has only `then`."""
    database = Database.open(path)
    store, maintenance = MessageStore(database), Maintenance(database, 30)
    await store.register("bob")
    await store.append(Draft("alice", "bob", "message", "then"))
    file = Path(await maintenance.backup("saved.sqlite"))
    await store.append(Draft("alice", "bob", "message", "now"))
    await maintenance.close()
    await database.close()
    return file


def texts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT text FROM body ORDER BY id")]


def test_a_backup_is_put_in_its_place(saved: Path, path: Path) -> None:
    kept = restore.restore(saved, path.parent)
    assert kept is not None
    assert kept.name.startswith("broker.sqlite.before-restore-")
    assert texts(path) == ["then"]
    assert texts(kept) == ["then", "now"]
    assert path.stat().st_mode & 0o777 == 0o600
    # And back again.
    assert restore.restore(kept, path.parent) is not None
    assert texts(path) == ["then", "now"]
    schema.connect(path).close()


def test_a_log_of_either_counts(saved: Path, path: Path) -> None:
    """The log of a killed broker is part of the store that is kept."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(
        "INSERT INTO message (id, sender, recipient, kind, queued, urgent, in_reply_to) "
        "VALUES (3, 'a', 'b', 'message', 1, 0, 0)"
    )
    db.execute("INSERT INTO body VALUES (3, 'log')")
    copy = path.with_name("copy")
    for suffix in ("", "-wal"):
        data = path.with_name(path.name + suffix).read_bytes()
        copy.with_name(copy.name + suffix).write_bytes(data)
    db.close()
    for suffix in ("", "-wal"):
        path.with_name(path.name + suffix).write_bytes(
            copy.with_name(copy.name + suffix).read_bytes()
        )
    kept = restore.restore(saved, path.parent)
    assert kept is not None
    assert texts(path) == ["then"]
    assert texts(kept) == ["then", "now", "log"]
    restore.restore(copy, path.parent)
    assert texts(path) == ["then", "now", "log"]


def forged_log(store: Path) -> bytes:
    """Return a log that replaces all texts of a store."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.write_bytes(store.read_bytes())
        with closing(sqlite3.connect(copy, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("UPDATE body SET text = 'forged'")
            return copy.with_name("copy-wal").read_bytes()


def test_a_log_beside_a_backup_that_needs_none_is_not_used(saved: Path, path: Path) -> None:
    saved.with_name(f"{saved.name}-wal").write_bytes(forged_log(saved))
    restore.restore(saved, path.parent)
    assert texts(path) == ["then"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_log_of_another_user_is_refused(saved: Path, path: Path) -> None:
    raw = saved.with_name("raw")
    raw.write_bytes(saved.read_bytes())
    with closing(sqlite3.connect(raw, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    log = raw.with_name("raw-wal")
    log.write_bytes(forged_log(raw))
    os.chown(log, 4343, -1)
    with pytest.raises(CorruptStore, match="belongs to another user"):
        restore.restore(raw, path.parent)
    assert texts(path) == ["then", "now"]


def test_a_store_that_is_a_link_is_kept_as_a_link(saved: Path, path: Path) -> None:
    elsewhere = path.rename(path.with_name("elsewhere.sqlite"))
    path.symlink_to(elsewhere)
    kept = restore.restore(saved, path.parent)
    assert kept is not None
    assert kept.readlink() == elsewhere
    assert texts(path) == ["then"]
    assert texts(elsewhere) == ["then", "now"]


def test_a_damaged_store_is_kept_as_it_was(saved: Path, path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xde\xad" * 5000)
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(b"its log")
    kept = restore.restore(saved, path.parent)
    assert kept is not None
    assert kept.read_bytes().startswith(b"SQLite format 3\0\xde\xad")
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == b"its log"
    assert not log.exists()
    assert texts(path) == ["then"]


def test_without_a_store_there_is_one_afterwards(saved: Path, path: Path) -> None:
    path.unlink()
    assert restore.restore(saved, path.parent) is None
    assert texts(path) == ["then"]


def test_not_while_a_broker_runs(
    saved: Path, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    held = lock.take(path.parent)
    with pytest.raises(Conflict, match="systemctl stop hive-broker"):
        restore.restore(saved, path.parent)
    with pytest.raises(CorruptStore, match="in use by a broker or by a restore"):
        lock.take(path.parent)
    assert texts(path) == ["then", "now"]
    os.close(held)
    os.close(lock.take(path.parent))


def header_only(file: Path) -> None:
    os.truncate(file, 4096)


def foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE x (y)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")


def spying(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(
            "CREATE TRIGGER spy AFTER INSERT ON body BEGIN "
            "UPDATE message SET sender = 'operator' WHERE id = new.id; END"
        )


def a_view(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("DROP TABLE agent")
        db.execute("CREATE VIEW agent AS SELECT 'bob' AS name, 0 AS registered")


def a_link(file: Path) -> None:
    file.rename(file.with_name("real"))
    file.symlink_to("real")


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (header_only, CorruptStore, "cannot be restored: .*malformed"),
        (foreign, CorruptStore, "is not a message store"),
        (newer, CorruptStore, "newer Hyperhive .*The store is unchanged"),
        (
            spying,
            CorruptStore,
            "its schema differs at 'spy'.*The store is unchanged",
        ),
        (a_view, CorruptStore, "its schema differs at 'agent'"),
        (a_link, CorruptStore, "name the file itself, not a link"),
        (a_pipe, CorruptStore, "is not a regular file"),
        (Path.unlink, NotFound, "does not exist"),
        (lambda file: file.write_text("root:x:0:0"), CorruptStore, "is not a message store"),
    ],
)
def test_a_file_that_is_not_a_backup_changes_nothing(
    saved: Path, path: Path, spoil: Any, error: type[Exception], reason: str
) -> None:
    spoil(saved)
    with pytest.raises(error, match=reason):
        restore.restore(saved, path.parent)
    assert texts(path) == ["then", "now"]
    assert not list(path.parent.glob("**/*.part*"))
    assert not list(path.parent.glob("*before*"))


STEPS = ["link", "rename", "fsync", "unlink"]


@pytest.mark.parametrize("kill_at", range(1, 9))
def test_a_killed_restore_leaves_the_old_or_the_new_store(
    saved: Path, path: Path, kill_at: int
) -> None:
    """The process ends before its n-th step that changes a directory."""
    source = f"""
import os, sys
steps = 0
def ending(real):
    def step(*args, **options):
        global steps
        steps += 1
        if steps == {kill_at}:
            os._exit(9)
        return real(*args, **options)
    return step
for name in {STEPS}:
    setattr(os, name, ending(getattr(os, name)))
from services.broker.restore import main
sys.exit(main([{str(saved)!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=os.environ | {"STATE_DIRECTORY": str(path.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 9), done.stderr
    assert texts(path) in (["then", "now"], ["then"])
    schema.connect(path).close()
    if done.returncode == 0:
        assert "systemctl start hive-broker" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another uid: needs root")
def test_root_restores_as_the_owner_of_the_directory(
    saved: Path, path: Path, tmp_path: Path
) -> None:
    mine = saved.rename(tmp_path / "mine.sqlite")
    mine.chmod(0o600)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 4711, 4712)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if Path(tempfile.gettempdir()) in parent.parents:
            parent.chmod(0o711)
    tool = [sys.executable, "-m", "services.broker.restore", str(mine)]
    environment = os.environ | {"STATE_DIRECTORY": str(state)}
    done = subprocess.run(tool, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    made = state / "broker.sqlite"
    assert (made.stat().st_uid, made.stat().st_gid, made.stat().st_mode & 0o777) == (
        4711,
        4712,
        0o600,
    )
    assert "there was no store before" in done.stdout
