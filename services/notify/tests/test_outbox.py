"""What is known and what waits, across restarts."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.notify import outbox as under_test
from services.notify.outbox import Outbox
from services.notify.tests.conftest import asks
from wire.errors import CorruptStore


def test_a_source_is_unknown_until_it_was_looked_at(outbox: Outbox) -> None:
    assert outbox.known("questions") is None
    outbox.note("questions", [], [], whole=True)
    assert outbox.known("questions") == {0}
    outbox.note("questions", [3, 4], [], whole=False)
    outbox.note("questions", [4, 5], [], whole=False)
    assert outbox.known("questions") == {0, 3, 4, 5}
    outbox.note("questions", [4], [], whole=True)
    assert outbox.known("questions") == {0, 3, 4}
    outbox.note("questions", [], [], whole=True)
    assert outbox.known("questions") == {0}
    assert outbox.known("pending") is None


def test_posts_come_in_order_and_for_their_webhook_only(outbox: Outbox) -> None:
    outbox.note(
        "q", [1, 2], [("phone", asks(1)), ("log", asks(1)), ("phone", asks(2))], whole=False
    )
    first = outbox.first("phone")
    assert first is not None
    assert (first.news, outbox.count("phone"), outbox.count("log")) == (asks(1), 2, 1)
    outbox.remove(first)
    second = outbox.first("phone")
    assert second is not None
    assert second.news == asks(2)
    assert outbox.first("nobody") is None


def test_it_survives(outbox: Outbox, tmp_path: Path) -> None:
    outbox.note("q", [1], [("phone", asks(1)), ("old", asks(1))], whole=False)
    outbox.close()
    again = Outbox(tmp_path / "notify.sqlite")
    again.keep_only(["phone"])
    post = again.first("phone")
    assert post is not None
    assert post.news == asks(1)
    assert again.first("old") is None
    assert again.known("q") == {0, 1}
    again.close()


def test_a_dead_webhook_fills_no_disk(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "MAX_POSTS", 3)
    outbox.note("q", [1], [("other", asks(1))], whole=False)
    for number in range(5):
        outbox.note("q", [number], [("phone", asks(number))], whole=False)
    post = outbox.first("phone")
    assert post is not None
    assert (outbox.count("phone"), post.news.number, outbox.count("other")) == (3, 2, 1)


def test_what_is_known_and_what_waits_change_together(outbox: Outbox) -> None:
    outbox.note("q", [1], [], whole=False)

    def broken() -> str:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        outbox.note("q", [2], ((broken(), asks(2)) for _ in "x"), whole=True)
    assert outbox.known("q") == {0, 1}
    outbox.note("q", [2], [("phone", asks(2))], whole=False)
    assert outbox.count("phone") == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from services.notify.outbox import Outbox
from services.notify.tests.conftest import asks
outbox = Outbox(Path(sys.argv[1]))
def posts():
    yield "phone", asks(2)
    os.kill(os.getpid(), signal.SIGKILL)
outbox.note("q", [1], [("phone", asks(1))], whole=False)
outbox.note("q", [2], posts(), whole=False)
"""


def test_killed_in_the_middle_it_knows_nothing_of_what_it_did_not_keep(tmp_path: Path) -> None:
    path = tmp_path / "notify.sqlite"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    outbox = Outbox(path)
    assert (outbox.known("q"), outbox.count("phone")) == ({0, 1}, 1)
    outbox.close()


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notify.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(CorruptStore, match="move it"):
        Outbox(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(CorruptStore, match="newer Hyperhive"):
        Outbox(path)


def test_its_directory_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CorruptStore):
        Outbox(tmp_path / "nowhere" / "notify.sqlite")
    assert not list(tmp_path.iterdir())
