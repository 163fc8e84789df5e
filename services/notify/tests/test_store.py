"""Known items and pending posts, across restarts."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.notify import store as under_test
from services.notify.store import Store
from services.notify.tests.conftest import asks
from wire.errors import CorruptStore


def test_a_source_is_unknown_until_it_was_looked_at(store: Store) -> None:
    assert store.known("questions") is None
    store.record("questions", [], [], complete=True)
    assert store.known("questions") == {0}
    store.record("questions", [3, 4], [], complete=False)
    store.record("questions", [4, 5], [], complete=False)
    assert store.known("questions") == {0, 3, 4, 5}
    store.record("questions", [4], [], complete=True)
    assert store.known("questions") == {0, 3, 4}
    store.record("questions", [], [], complete=True)
    assert store.known("questions") == {0}
    assert store.known("pending") is None


def test_posts_come_in_order_and_for_their_webhook_only(store: Store) -> None:
    store.record(
        "q", [1, 2], [("phone", asks(1)), ("log", asks(1)), ("phone", asks(2))], complete=False
    )
    first = store.first("phone")
    assert first is not None
    assert (first.notification, store.count("phone"), store.count("log")) == (asks(1), 2, 1)
    store.remove(first)
    second = store.first("phone")
    assert second is not None
    assert second.notification == asks(2)
    assert store.first("nobody") is None


def test_known_items_and_posts_survive_a_restart(store: Store, tmp_path: Path) -> None:
    store.record("q", [1], [("phone", asks(1)), ("old", asks(1))], complete=False)
    store.close()
    again = Store(tmp_path / "notify.sqlite")
    again.keep_only(["phone"])
    post = again.first("phone")
    assert post is not None
    assert post.notification == asks(1)
    assert again.first("old") is None
    assert again.known("q") == {0, 1}
    again.close()


def test_a_dead_webhook_does_not_fill_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_POSTS", 3)
    store.record("q", [1], [("other", asks(1))], complete=False)
    for number in range(5):
        store.record("q", [number], [("phone", asks(number))], complete=False)
    post = store.first("phone")
    assert post is not None
    assert (store.count("phone"), post.notification.number, store.count("other")) == (3, 2, 1)


def test_known_items_and_posts_change_together(store: Store) -> None:
    store.record("q", [1], [], complete=False)

    def broken() -> str:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        store.record("q", [2], ((broken(), asks(2)) for _ in "x"), complete=True)
    assert store.known("q") == {0, 1}
    store.record("q", [2], [("phone", asks(2))], complete=False)
    assert store.count("phone") == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from services.notify.store import Store
from services.notify.tests.conftest import asks
store = Store(Path(sys.argv[1]))
def posts():
    yield "phone", asks(2)
    os.kill(os.getpid(), signal.SIGKILL)
store.record("q", [1], [("phone", asks(1))], complete=False)
store.record("q", [2], posts(), complete=False)
"""


def test_a_kill_in_the_middle_leaves_neither_the_item_nor_its_posts(tmp_path: Path) -> None:
    path = tmp_path / "notify.sqlite"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    store = Store(path)
    assert (store.known("q"), store.count("phone")) == ({0, 1}, 1)
    store.close()


def test_a_foreign_or_newer_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notify.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(CorruptStore, match="move it"):
        Store(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(CorruptStore, match="newer Hyperhive"):
        Store(path)


def test_its_directory_must_exist(tmp_path: Path) -> None:
    with pytest.raises(CorruptStore):
        Store(tmp_path / "nowhere" / "notify.sqlite")
    assert not list(tmp_path.iterdir())
