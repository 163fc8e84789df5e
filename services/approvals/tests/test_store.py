"""The file on disk: durable, and never touched when it is not ours or not whole."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.approvals.model import Kind, State
from services.approvals.store import Store
from wire.errors import CorruptStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "approvals.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Store]]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(Store(path)))


def _filled(path: Path) -> None:
    store = Store(path)
    for at in range(200):
        store.add(Kind.SPAWN, f"a{at}", "reason " * 50, "manager", 1)
    store.close()


def _files(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.parent.iterdir()}


def test_what_was_written_is_there_after_a_crash(opened: Callable[[], Store]) -> None:
    store = opened()
    number = store.add(Kind.SPAWN, "alice", "docs", "manager", 5)
    store.move(number, State.PENDING, State.DENIED, "no", 6)
    # Not closed: what a kill -9 leaves behind.
    other = opened()
    approval = other.get(number)
    assert approval is not None
    assert (approval.agent, approval.state, approval.note) == ("alice", State.DENIED, "no")
    assert (approval.requested, approval.resolved) == (5, 6)


def test_writes_go_through_to_the_disk(opened: Callable[[], Store]) -> None:
    store = opened()
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_move_from_a_state_that_is_gone_changes_nothing(opened: Callable[[], Store]) -> None:
    store = opened()
    number = store.add(Kind.SPAWN, "alice", "docs", "manager", 5)
    assert store.move(number, State.PENDING, State.DENIED, "", 6)
    assert not store.move(number, State.PENDING, State.APPROVED, "", 7)


def test_find_answers_the_newest_in_their_order(opened: Callable[[], Store]) -> None:
    store = opened()
    for name in "abcd":
        store.add(Kind.SPAWN, name, "docs", "manager", 5)
    store.move(3, State.PENDING, State.DENIED, "", 6)
    assert [a.agent for a in store.find(state=State.PENDING, limit=2)] == ["b", "d"]
    assert [a.agent for a in store.find(agent="c")] == ["c"]


@pytest.mark.parametrize("damage", ["text", "middle", "cut"])
def test_a_damaged_file_is_refused_and_left_alone(path: Path, damage: str) -> None:
    _filled(path)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "text": b"this is no database " * 100,
            "middle": whole[:4096] + b"\xff" * 8192 + whole[12288:],
            "cut": whole[: len(whole) // 2],
        }[damage]
    )
    before = _files(path)
    with pytest.raises(CorruptStore, match="nothing was changed"):
        Store(path)
    assert _files(path) == before


def test_a_newer_or_foreign_file_is_refused_and_left_alone(path: Path) -> None:
    for statement in ("PRAGMA user_version = 99", "CREATE TABLE other (x)"):
        path.unlink(missing_ok=True)
        db = sqlite3.connect(path)
        db.execute(statement)
        db.commit()
        db.close()
        before = _files(path)
        with pytest.raises(CorruptStore):
            Store(path)
        assert _files(path) == before


def test_a_path_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorruptStore):
        Store(tmp_path / "missing" / "approvals.sqlite")
    (tmp_path / "directory").mkdir()
    with pytest.raises(CorruptStore):
        Store(tmp_path / "directory")
