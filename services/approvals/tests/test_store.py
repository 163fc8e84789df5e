"""The file is durable, and is left alone when it is damaged or not ours."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.approvals.store import Store
from services.approvals.tests.room import WRITES
from services.approvals.tests.version1 import version_1
from wire.errors import CorruptStore, Unavailable
from wire.records.approvals import ApprovalKind, ApprovalState

SHA = "0123456789" * 4
FullDisk = Callable[[], contextlib.AbstractContextManager[None]]


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
        store.add(ApprovalKind.SPAWN, f"a{at}", SHA, "reason " * 50, "manager", 1)
    store.close()


def _files(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.parent.iterdir()}


def test_a_write_survives_a_crash(opened: Callable[[], Store]) -> None:
    store = opened()
    number = store.add(ApprovalKind.SPAWN, "alice", SHA, "docs", "manager", 5)
    store.move(number, ApprovalState.PENDING, ApprovalState.DENIED, "no", 6)
    # Not closed: what a kill -9 leaves behind.
    other = opened()
    approval = other.get(number)
    assert approval is not None
    assert (approval.agent, approval.state, approval.note) == ("alice", ApprovalState.DENIED, "no")
    assert approval.commit == SHA
    assert (approval.requested, approval.resolved) == (5, 6)


def test_writes_go_through_to_the_disk(
    opened: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect: Any = sqlite3.connect
    connections: list[Any] = []

    def remembered(*arguments: Any, **named: Any) -> Any:
        connections.append(connect(*arguments, **named))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", remembered)
    opened()
    assert tuple(connections[-1].execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    assert tuple(connections[-1].execute("PRAGMA synchronous").fetchone()) == (2,)


def test_a_move_from_a_state_that_is_gone_changes_nothing(opened: Callable[[], Store]) -> None:
    store = opened()
    number = store.add(ApprovalKind.SPAWN, "alice", SHA, "docs", "manager", 5)
    assert store.move(number, ApprovalState.PENDING, ApprovalState.DENIED, "", 6)
    assert not store.move(number, ApprovalState.PENDING, ApprovalState.APPROVED, "", 7)


def test_find_answers_the_newest_in_their_order(opened: Callable[[], Store]) -> None:
    store = opened()
    for name in "abcd":
        store.add(ApprovalKind.SPAWN, name, SHA, "docs", "manager", 5)
    store.move(3, ApprovalState.PENDING, ApprovalState.DENIED, "", 6)
    assert [a.agent for a in store.find(state=ApprovalState.PENDING, limit=2)] == ["b", "d"]
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


def test_a_store_of_the_first_version_is_migrated(path: Path, opened: Callable[[], Store]) -> None:
    version_1(path, ("pending", "approved", "spawned", "failed", "denied"))
    store = opened()
    found = store.find()
    assert [approval.state for approval in found] == [
        ApprovalState.PENDING,
        ApprovalState.APPROVED,
        ApprovalState.DEPLOYED,
        ApprovalState.FAILED,
        ApprovalState.DENIED,
    ]
    assert {(a.kind, a.commit, a.reason, a.requested) for a in found} == {
        (ApprovalKind.SPAWN, "", "docs", 5)
    }
    assert [approval.id for approval in store.unrecorded()] == [1, 2]
    assert [approval.id for approval in store.unnotified()] == [3, 4, 5]
    assert store.add(ApprovalKind.APPLY, "a3", SHA, "x", "manager", 7) == 6
    kept = sqlite3.connect(path.with_name(f"{path.name}.v1"))
    assert kept.execute("SELECT count(*) FROM approval WHERE state = 'spawned'").fetchone() == (1,)
    kept.close()


def test_a_migrated_store_is_not_migrated_again(path: Path, opened: Callable[[], Store]) -> None:
    version_1(path, ("pending", "approved", "spawned", "failed", "denied"))
    opened().set_commit(1, SHA)
    path.with_name(f"{path.name}.v1").unlink()
    approval = opened().get(1)
    assert approval is not None
    assert approval.commit == SHA
    assert not path.with_name(f"{path.name}.v1").exists()


def test_of_each_agent_one_request_is_pending_and_one_goes_on(
    opened: Callable[[], Store],
) -> None:
    store = opened()
    for _ in range(3):
        store.add(ApprovalKind.APPLY, "alice", SHA, "x", "manager", 5)
    assert [a.state for a in store.find()] == [
        ApprovalState.SUPERSEDED,
        ApprovalState.SUPERSEDED,
        ApprovalState.PENDING,
    ]
    assert store.approve(3, "", False, 6)
    store.add(ApprovalKind.APPLY, "alice", SHA, "x", "manager", 5)
    with pytest.raises(sqlite3.IntegrityError):
        store.approve(4, "", False, 6)


CALLS: dict[str, Callable[[Store], object]] = {
    "add": lambda store: store.add(ApprovalKind.APPLY, "alice", SHA, "x", "manager", 5),
    "approve": lambda store: store.approve(1, SHA, False, 6),
    "clear_recorded": lambda store: store.clear_recorded(),
    "move": lambda store: store.move(1, ApprovalState.PENDING, ApprovalState.DENIED, "no", 6),
    "set_commit": lambda store: store.set_commit(1, SHA),
    "set_recorded": lambda store: store.set_recorded(1, ApprovalState.PENDING),
    "set_now": lambda store: store.set_now(1),
    "set_notified": lambda store: store.set_notified(1),
}
"""A call of each method that writes."""


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_is_unavailable_and_changes_nothing(
    opened: Callable[[], Store], full_disk: FullDisk, write: str
) -> None:
    store = opened()
    store.add(ApprovalKind.APPLY, "alice", "", "x", "manager", 5)
    store.set_recorded(1, ApprovalState.DENIED)  # so that each write below changes something
    before = store.find(), store.unrecorded(), store.unnotified()
    with full_disk(), pytest.raises(Unavailable, match="nothing was changed"):
        CALLS[write](store)
    assert (store.find(), store.unrecorded(), store.unnotified()) == before
    CALLS[write](store)
