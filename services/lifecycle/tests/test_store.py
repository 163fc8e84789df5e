"""The store: contents, migrations and damaged files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services import migration, sqlite
from services.lifecycle.agents.provider_limit import LimitReport
from services.lifecycle.agents.record import PHASES, Phase, Record
from services.lifecycle.notices.notice import Notice
from services.lifecycle.store import MIGRATIONS, Store
from wire.errors import Conflict, CorruptStore
from wire.records.lifecycle import JobVerb


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lifecycle.sqlite"


def test_records_survive(file: Path) -> None:
    record = Record("alice", 0x1000_0000, enabled=False, seen="abc", boot="b")
    store = Store(file)
    store.save(record, Notice("spawned", "hello", "key"))
    store.close()
    store = Store(file)
    assert store.records() == [record]
    assert [(n.kind, n.body, n.dedupe_key) for n in store.notices()] == [
        ("spawned", "hello", "key")
    ]
    store.close()


def test_a_notice_is_kept_once_until_it_is_dropped(file: Path) -> None:
    store = Store(file)
    for body in ("one", "two"):
        store.add_notice(Notice("k", body, "key"))
    [notice] = store.notices()
    assert notice.body == "one"
    store.drop_notice(notice)
    assert not store.notices()
    store.close()


def test_a_uid_range_has_one_owner(file: Path) -> None:
    store = Store(file)
    store.save(Record("alice", 0x1000_0000))
    store.save(Record("bob", 0x1001_0000))
    assert len({r.uid_base for r in store.records()}) == 2
    store.remove("alice")
    assert [r.name for r in store.records()] == ["bob"]
    store.close()


def test_the_report_of_a_limit_does_not_wait_for_the_disk(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    open_store = sqlite.open_store

    def opening(path: Path, format: sqlite.StoreFormat) -> sqlite3.Connection:
        opened.append(open_store(path, format))
        return opened[-1]

    monkeypatch.setattr(sqlite, "open_store", opening)
    store = Store(file)
    statements: list[str] = []
    opened[0].set_trace_callback(lambda text: statements.append(text.lower()))
    store.save_limit(LimitReport("key", "alice", 7, 5))
    assert statements[0] == "pragma synchronous = normal"
    assert statements[-1] == "pragma synchronous = full"
    assert store.limits() == [LimitReport("key", "alice", 7, 5)]
    store.close()


@pytest.mark.parametrize("content", [b"this is no database, but long enough" * 40, b"\0" * 4096])
def test_a_damaged_file_is_left_alone_with_a_sentence(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(CorruptStore, match="nothing was changed"):
        Store(file)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        "update agent set phase = 'gone'",
        "update agent set port = 70000",
        "update agent set settings = '{'",
        "insert into job (agent, verb, wanted, arguments, state) "
        "values ('alice', 'dance', '[]', '{}', 'running')",
    ],
)
def test_a_row_that_cannot_be_read_is_refused_and_the_file_is_closed(
    file: Path, change: str
) -> None:
    store = Store(file)
    store.save(Record("alice", 0x1000_0000))
    store.close()
    assert not descriptors_of(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(change)
    with pytest.raises(CorruptStore, match="is damaged"):
        Store(file)
    assert not descriptors_of(file)


def descriptors_of(file: Path) -> list[Path]:
    """Return the descriptors of this process for `file`."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link for link in links if link.readlink() == file.resolve()]


def test_a_broken_page_is_noticed(file: Path) -> None:
    store = Store(file)
    store.save(Record("alice", 0x1000_0000))
    store.close()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(CorruptStore):
        Store(file)
    assert file.read_bytes() == bytes(content)


def test_a_newer_format_is_refused(file: Path) -> None:
    store = Store(file)
    store.close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(CorruptStore, match="newer"):
        Store(file)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_an_older_file_is_migrated_and_kept(file: Path, version: int) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as old:
        migration.migrate(old, file, MIGRATIONS[:version])
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
        if version > 3:
            old.execute(
                "insert into turn (agent, state, since, reason, until, invocation, away, model, "
                "effort, session, context_tokens, context_limit, logged_in, credential) "
                "values ('alice', 'idle', 7, '', 0, 'abc', 0, 'm', '', '', 5, 9, 1, 'key')"
            )
        if version > 4:
            old.execute("update turn set model_setting = 'opus'")
    for _again in range(2):
        store = Store(file)
        [record] = store.records()
        assert (record.name, record.machine_id, record.seen) == ("alice", "5", "abc")
        assert (record.deployed, record.port) == ("", 8123 if version > 1 else 0)
        assert [notice.body for notice in store.notices()] == ["hello"]
        assert [job.verb for job in store.jobs()] == [JobVerb.SPAWN] * (version > 1)
        turns = [(turn.agent, turn.context_tokens, turn.model_setting) for turn in store.turns()]
        assert turns == [("alice", 5, "opus" if version > 4 else "")] * (version > 3)
        assert store.limits() == []
        store.close()
    with closing(sqlite3.connect(file.with_name(f"{file.name}.v{version}"))) as kept:
        assert migration.version_of(kept) == version
        assert kept.execute("select name from agent").fetchall() == [("alice",)]


def test_a_directory_in_its_place_is_refused(file: Path) -> None:
    file.mkdir()
    with pytest.raises(CorruptStore):
        Store(file)


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
