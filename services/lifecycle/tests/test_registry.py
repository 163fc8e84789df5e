"""What is remembered, and what happens when it cannot be read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services import migration
from services.lifecycle.jobs import Verb
from services.lifecycle.registry import _STEPS, PHASES, Notice, Phase, Record, Registry
from wire.errors import Conflict, CorruptStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lifecycle.sqlite"


def test_records_survive(file: Path) -> None:
    record = Record("alice", 0x1000_0000, enabled=False, seen="abc", boot="b")
    registry = Registry(file)
    registry.save(record, Notice("spawned", "hello", "key"))
    registry.close()
    registry = Registry(file)
    assert registry.records() == [record]
    assert [(n.kind, n.body, n.dedupe_key) for n in registry.notices()] == [
        ("spawned", "hello", "key")
    ]
    registry.close()


def test_a_notice_is_kept_once_until_it_is_dropped(file: Path) -> None:
    registry = Registry(file)
    for body in ("one", "two"):
        registry.add_notice(Notice("k", body, "key"))
    [notice] = registry.notices()
    assert notice.body == "one"
    registry.drop_notice(notice)
    assert not registry.notices()
    registry.close()


def test_a_uid_range_has_one_owner(file: Path) -> None:
    registry = Registry(file)
    registry.save(Record("alice", 0x1000_0000))
    registry.save(Record("bob", 0x1001_0000))
    assert len({r.uid_base for r in registry.records()}) == 2
    registry.remove("alice")
    assert [r.name for r in registry.records()] == ["bob"]
    registry.close()


@pytest.mark.parametrize("content", [b"this is no database, but long enough" * 40, b"\0" * 4096])
def test_a_damaged_file_is_left_alone_with_a_sentence(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    if content.strip(b"\0"):
        with pytest.raises(CorruptStore, match="Nothing was changed"):
            Registry(file)
        assert file.read_bytes() == content


def test_a_broken_page_is_noticed(file: Path) -> None:
    registry = Registry(file)
    registry.save(Record("alice", 0x1000_0000))
    registry._db.execute("pragma wal_checkpoint(truncate)")
    registry.close()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(CorruptStore):
        Registry(file)
    assert file.read_bytes() == bytes(content)


def test_a_newer_format_is_refused(file: Path) -> None:
    registry = Registry(file)
    registry._db.execute("pragma user_version = 99")
    registry.close()
    with pytest.raises(CorruptStore, match="newer"):
        Registry(file)


@pytest.mark.parametrize("version", range(1, len(_STEPS)))
def test_an_older_file_is_migrated_and_kept(file: Path, version: int) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as old:
        migration.migrate(old, file, _STEPS[:version])
        old.execute(
            "insert into agent (name, uid_base, machine_id, phase, model, enabled, seen, excused, "
            "boot) values ('alice', 268435456, '5', 'present', 'm', 1, 'abc', '', 'b')"
        )
        old.execute("insert into notice (kind, body, dedupe_key) values ('k', 'hello', 'key')")
        if version > 1:
            old.execute("update agent set port = 8123, settings = '{\"resources\": {}}'")
            old.execute(
                "insert into job (agent, verb, wanted, arguments, state) "
                "values ('alice', 'spawn', '[\"m\"]', '{\"model\": \"m\"}', 'running')"
            )
    for _again in range(2):
        registry = Registry(file)
        [record] = registry.records()
        assert (record.name, record.machine_id, record.seen) == ("alice", "5", "abc")
        assert (record.deployed, record.port) == ("", 8123 if version > 1 else 0)
        assert [notice.body for notice in registry.notices()] == ["hello"]
        assert [job.verb for job in registry.jobs()] == [Verb.SPAWN] * (version > 1)
        registry.close()
    with closing(sqlite3.connect(file.with_name(f"{file.name}.v{version}"))) as kept:
        assert migration.version_of(kept) == version
        assert kept.execute("select name from agent").fetchall() == [("alice",)]


def test_a_directory_in_its_place_is_refused(file: Path) -> None:
    file.mkdir()
    with pytest.raises(CorruptStore):
        Registry(file)


@pytest.mark.parametrize("before", Phase)
@pytest.mark.parametrize("after", Phase)
def test_phases_follow_their_table(before: Phase, after: Phase) -> None:
    record = Record("alice", 0x1000_0000, phase=before)
    if after in PHASES[before]:
        record.enter(after)
        assert record.phase is after
    else:
        with pytest.raises(Conflict):
            record.enter(after)
