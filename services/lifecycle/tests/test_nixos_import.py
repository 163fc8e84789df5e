"""Containers of the original system are taken over whole, and their links are not followed."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.config import Config
from services.lifecycle.agents import uid_ranges
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory
from services.lifecycle.nixos_import import __main__ as tool
from services.lifecycle.nixos_import import api_key, conf, tree_copy
from services.lifecycle.nixos_import.sources import Containers, Options
from services.lifecycle.nixos_import.staging import Staging, Status
from services.lifecycle.nixos_import.takeover import Takeover
from services.lifecycle.nixos_import.tree_copy import Limits, TreeCopy, directory
from services.lifecycle.tests.test_nspawn import Host, host
from wire.errors import Conflict, InvalidArgument, LimitExceeded, NotFound

__all__ = ["host"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")

FLAGS = "EXTRA_NSPAWN_FLAGS"
KEY = "sk-ant-" + "k" * 20


class Original:
    """A host with containers of the original system, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.files = root / "srv/original"
        for folder in (self.layout.data, self.layout.git, root / "etc/nixos-containers"):
            folder.mkdir(parents=True)
        self.write("agents/alice/state/notes.md", "remember")
        self.write("agents/alice/state/deep/er/file", "x" * 5000)
        self.write("agents/alice/state/hyperhive-events.sqlite", "not ours")
        self.write("agents/alice/claude/.credentials.json", '{"claudeAiOauth": {}}')
        self.write("agents/alice/claude/projects/-state/1.jsonl", "{}")
        self.container = root / "var/lib/nixos-containers/h-alice"
        self.write("root/.gitconfig", "[user]", self.container)
        self.write("root/.claude/mount-point", "", self.container)
        self.write("home/agent/page", "page", self.container)
        self.write("var/lib/nixos/uid-map", "", self.container)
        os.chown(self.container / "home/agent/page", 1000, 100)
        self.configure(
            "h-alice",
            "--bind=/srv/original/agents/alice/claude:/root/.claude",
            "--bind=/srv/original/agents/alice/state:/state",
            "--bind-ro=/nix/store --bind /srv/original/sockets:/run/hive",
            "--bind=/srv/shared:/shared",
        )

    def configure(self, machine: str, *flags: str) -> None:
        text = f'PRIVATE_NETWORK=0\nAUTO_START=0\nEXTRA_NSPAWN_FLAGS="{" ".join(flags)}"\n'
        (self.root / f"etc/nixos-containers/{machine}.conf").write_text(text)

    def write(self, path: str, content: str, below: Path | None = None) -> Path:
        file = (below or self.files) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def takeover(self, limits: Limits | None = None, **options: Any) -> Takeover:
        sources = Containers(self.layout).sources("alice", Options(**options))
        return Takeover(self.layout, sources, Config().lifecycle, limits)

    def run(self, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any, str]:
        """Run the tool; return its status, its result, and what it says."""
        status = tool.main(arguments, self.layout)
        said = capsys.readouterr()
        lines = [json.loads(line) for line in said.out.splitlines()]
        return status, lines[-1]["result"] if lines else None, said.err.strip()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Do not write the whole machine's files to the disk; note each call."""
    calls: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: calls.append(True))
    return calls


@pytest.fixture
def original(tmp_path: Path, synced: list[bool]) -> Original:
    return Original(tmp_path / "original")


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def below(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


# The file of nixos-container


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", []),
        ("--bind=/a:/b", [("/a", "/b", True)]),
        ("--bind /a:/b --bind-ro /c", [("/a", "/b", True), ("/c", "/c", False)]),
        ("--bind=/a:/b/:rbind,noidmap", [("/a", "/b", True)]),
        (r"--bind=/a\\:1:/b", [("/a:1", "/b", True)]),
        ("--bind=+/x:/y", [("/root-of/x", "/y", True)]),
        ("--bind=:/tmpfs --network-veth -U", []),
    ],
)
def test_bind_mounts_are_read_as_the_start_script_reads_them(
    flags: str, expected: list[tuple[str, str, bool]]
) -> None:
    lines = ["# --bind=/no:/no", "FLAKE=x", f'{FLAGS}="--bind=/old"', f'{FLAGS}="{flags}"', ""]
    text = "\n".join(lines)
    assert [tuple(bind) for bind in conf.binds(text, "f", Path("/root-of"))] == expected


def test_a_line_may_be_continued_and_need_no_quotes() -> None:
    text = "EXTRA_NSPAWN_FLAGS=--bind=/a:/b\\\n--bind-ro=/c:/d\n"
    assert [bind.target for bind in conf.binds(text, "f", Path("/"))] == ["/b", "/d"]


@pytest.mark.parametrize("flags", ["--bind=a:/b", "--bind=/a:b", "--bind", "--bind="])
def test_a_bind_mount_that_is_not_valid_is_named(flags: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^h-x\.conf: --bind=.* is not a valid bind mount"):
        conf.binds(f"EXTRA_NSPAWN_FLAGS={flags}", "h-x.conf", Path("/"))


def test_an_open_quote_is_named_with_its_line() -> None:
    with pytest.raises(InvalidArgument, match="line 2: the value of EXTRA_NSPAWN_FLAGS is not"):
        conf.binds('A=1\nEXTRA_NSPAWN_FLAGS="--bind=/a', "f", Path("/"))


# The places


def test_the_places_come_from_the_bind_mounts_and_the_root(original: Original) -> None:
    found = Containers(original.layout).sources("alice", Options())
    assert found.parts == {
        "claude": original.files / "agents/alice/claude",
        "state": original.files / "agents/alice/state",
        "root": original.container / "root",
        "home": original.container / "home",
    }
    assert [bind.target for bind in found.unused] == ["/shared"]
    assert found.history is None


def test_without_bind_mounts_all_is_in_the_root(original: Original) -> None:
    original.configure("h-alice")
    original.write("agents/alice/state/x", "", original.container)
    found = Containers(original.layout).sources("alice", Options())
    assert found.parts["state"] == original.container / "agents/alice/state"
    assert found.parts["claude"] == original.container / "root/.claude"


def test_the_last_of_two_bind_mounts_counts(original: Original) -> None:
    later = original.write("later/x", "").parent
    original.configure("h-alice", "--bind=/srv/original:/state --bind=/srv/original/later:/state")
    assert Containers(original.layout).sources("alice", Options()).parts["state"] == later


def test_the_places_can_be_given(original: Original) -> None:
    given = original.write("elsewhere/x", "").parent
    found = Containers(original.layout).sources(
        "alice", Options(state=given, claude=given, history=given)
    )
    assert (found.parts["state"], found.parts["claude"], found.history) == (given, given, given)


def test_files_that_were_moved_are_found(original: Original) -> None:
    original.files.rename(original.root / "srv/kept")
    with pytest.raises(NotFound, match="say so with --moved OLD NEW"):
        Containers(original.layout).sources("alice", Options())
    moved = [("/srv/original/agents", "/nowhere"), ("/srv/original", "/srv/kept")]
    found = Containers(original.layout).sources("alice", Options(moved=moved[1:]))
    assert found.parts["state"] == original.root / "srv/kept/agents/alice/state"


def test_the_history_is_where_the_manager_has_it(original: Original) -> None:
    original.configure("hm1nd", "--bind-ro=/srv/original/applied:/applied")
    original.write("applied/alice/HEAD", "")
    found = Containers(original.layout).sources("alice", Options())
    assert found.history == original.files / "applied/alice"
    assert Containers(original.layout).agents() == ["alice", "manager"]


def test_a_container_that_is_missing_is_named_with_the_others(original: Original) -> None:
    with pytest.raises(NotFound, match=r"no container h-bob in .*have one: alice\.$"):
        Containers(original.layout).sources("bob", Options())


@pytest.mark.parametrize("level", ["agents", "agents/alice", "agents/alice/state"])
def test_a_link_on_the_way_to_a_place_is_not_followed(original: Original, level: str) -> None:
    # The manager of the original could write to all directories of agents.
    away = original.root / "away"
    (original.files / level).rename(away)
    (original.files / level).symlink_to(away)
    with pytest.raises(InvalidArgument, match="no part of its path may be a link"):
        Containers(original.layout).sources("alice", Options())


# The copy


def test_everything_is_copied_and_belongs_to_the_agent(
    original: Original, synced: list[bool]
) -> None:
    takeover = original.takeover()
    assert takeover.look().parts.keys() == {"claude", "state", "root", "home"}
    assert takeover.copy(lambda _tally: None) == ""
    assert synced == [True], "all of it is on the disk before it is put in place"
    Staging(original.layout, "alice").publish()
    own = original.layout.data / "alice"
    assert files(own) == {
        "claude/.credentials.json": '{"claudeAiOauth": {}}',
        "claude/projects/-state/1.jsonl": "{}",
        "home/agent/page": "page",
        "import.json": '{"finished": false}\n',
        "root/.gitconfig": "[user]",
        "state/before-import/hyperhive-events.sqlite": "not ours",
        "state/deep/er/file": "x" * 5000,
        "state/notes.md": "remember",
    }
    base = uid_ranges.choose("alice", [])
    page = (own / "home/agent/page").stat()
    assert (page.st_uid, page.st_gid) == (base + 1000, base + 100)
    for path in below(own / "state"):
        assert (path.stat().st_uid, path.stat().st_gid) == (base, base)
    assert (own / "state").stat().st_mode & 0o7777 == 0o700
    assert (own.stat().st_uid, (own / "import.json").stat().st_uid) == (0, 0)
    assert files(original.files)["agents/alice/state/notes.md"] == "remember", "it is a copy"


async def test_the_agent_is_spawned_with_the_files(original: Original, host: Host) -> None:
    """Lifecycle takes the directory for the kept data of an earlier agent, with its range."""
    original.takeover().copy(lambda _tally: None)
    Staging(original.layout, "alice").publish()
    (original.layout.data / "alice").rename(host.layout.data / "alice")
    assert host.backend.kept_uid("alice") == uid_ranges.choose("alice", [])


def test_a_range_of_uids_in_use_is_left_alone(original: Original) -> None:
    first = uid_ranges.choose("alice", [])
    (original.layout.data / "bob/state").mkdir(parents=True)
    os.chown(original.layout.data / "bob/state", first, first)
    (original.root / "etc/passwd").write_text(f"x:x:{first + 65536}:0::/:\n")
    assert Staging(original.layout, "alice").choose_base() == first + 2 * 65536


def test_a_shifted_container_keeps_its_users(original: Original) -> None:
    """A container of the original may have had a user namespace."""
    shifted = 0x7000_0000
    for path in below(original.files / "agents/alice/state"):
        os.chown(path, shifted + 5, shifted)
    original.takeover().copy(lambda _tally: None)
    base = uid_ranges.choose("alice", [])
    notes = original.layout.data / ".import-alice/state/notes.md"
    assert (notes.stat().st_uid, notes.stat().st_gid) == (base + 5, base)


def test_nothing_that_the_agent_has_planted_is_followed(original: Original) -> None:
    secret = original.write("secret", "root's own", original.root / "etc")
    state = original.files / "agents/alice/state"
    (state / "file").symlink_to(secret)
    (state / "folder").symlink_to(secret.parent)
    (state / "before-import").symlink_to(secret.parent)
    os.mkfifo(bytes(state) + b"/pipe\xff\n")
    os.mknod(state / "device", 0o600 | 0o020000, os.makedev(1, 5))
    with directory(state) as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{folder}/socket")  # a short path
    (state / "notes.md").chmod(0o6755)
    (state / "deep").chmod(0o3777)
    found = original.takeover().look()
    original.takeover().copy(lambda _tally: None)
    copy = original.layout.data / ".import-alice/state"
    assert found.left_out_count == 3
    assert sorted(line.removeprefix(f"{state}/") for line in found.left_out) == [
        "device: a device",
        "pipe<U+DCFF><U+000A>: a pipe",
        "socket: a socket",
    ]
    assert (copy / "file").readlink() == secret
    assert (copy / "file").lstat().st_uid == uid_ranges.choose("alice", [])
    assert (copy / "before-import/before-import").readlink() == secret.parent
    assert sorted(path.name for path in copy.iterdir()) == [
        *("before-import", "deep", "file", "folder", "notes.md"),
    ]
    assert "root's own" not in files(copy).values()
    assert (copy / "notes.md").stat().st_mode & 0o7777 == 0o755
    assert (copy / "deep").stat().st_mode & 0o7777 == 0o1777
    assert secret.stat().st_uid == 0


def exchange(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], None]) -> None:
    """Exchange an entry for something else at the moment when it is about to be opened."""
    real, left = os.stat, [name]

    def stat(path: Any, **options: Any) -> os.stat_result:
        found = real(path, **options)
        if path in left:
            left.remove(path)
            change()
        return found

    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.parametrize("name", ["notes.md", "deep"])
def test_an_entry_that_is_exchanged_for_a_link_is_left_out(
    original: Original, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    secret = original.write("secret", "root's own", original.root / "etc")
    entry = original.files / "agents/alice/state" / name

    def change() -> None:
        entry.rename(original.root / "gone")
        entry.symlink_to(secret if name == "notes.md" else secret.parent)

    exchange(monkeypatch, name, change)
    original.takeover().copy(lambda _tally: None)
    copy = original.layout.data / ".import-alice/state"
    assert "root's own" not in files(copy).values()
    assert not (copy / name).is_symlink()


def test_a_file_that_is_exchanged_for_a_pipe_is_not_waited_for(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = original.files / "agents/alice/state/notes.md"

    def change() -> None:
        entry.unlink()
        os.mkfifo(entry)

    exchange(monkeypatch, "notes.md", change)
    original.takeover().copy(lambda _tally: None)
    assert not (original.layout.data / ".import-alice/state/notes.md").exists()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(bytes=8192), "an import takes at most 0 MiB"),
        (Limits(entries=5), "an import takes at most 5 files"),
        (Limits(depth=1), "an import takes at most 1 directories within each other"),
    ],
)
def test_limits_end_the_copy_and_leave_nothing(
    original: Original, limits: Limits, words: str
) -> None:
    for step in (
        lambda: original.takeover(limits).look(),
        lambda: original.takeover(limits).copy(lambda _tally: None),
    ):
        with pytest.raises(LimitExceeded, match=words):
            step()
    assert list(original.layout.data.iterdir()) == []


def test_holes_count(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with (source / "file").open("wb") as file:
        file.truncate(2**40)
    copying = TreeCopy(Limits(bytes=2**30), None)
    with directory(source) as at, directory(target) as to, pytest.raises(LimitExceeded):
        copying.copy(at, to, "x")
    assert not (target / "file").exists()


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a file system in another")
def test_other_file_systems_are_not_entered() -> None:
    copying = TreeCopy(Limits(), None)
    with directory(Path("/dev")) as source:
        copying.copy(source, None, "/dev", lambda name: name == "shm")
    assert copying.tally.left_out == ["/dev/shm: on another file system"]


def test_files_for_which_the_disk_has_no_room_are_refused(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs_result((4096, 4096, 100, 1, 1, 100, 50, 50, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(LimitExceeded, match=r"has room for 0 MiB\.$"):
        original.takeover().look()


def test_files_beyond_the_limit_of_the_agent_are_refused(original: Original) -> None:
    sources = Containers(original.layout).sources("alice", Options())
    config = Config.model_validate(
        {"lifecycle": {"agents": {"alice": {"resources": {"disk_max": "16M"}}}}}
    )
    original.write("agents/alice/state/large", "x" * 17 * 2**20)
    with pytest.raises(LimitExceeded, match=r"17 MiB, and disk_max allows 16 MiB\. Set disk_max"):
        Takeover(original.layout, sources, config.lifecycle).look()


def test_files_that_grow_before_they_are_copied_are_refused(original: Original) -> None:
    sources = Containers(original.layout).sources("alice", Options())
    config = Config.model_validate(
        {"lifecycle": {"agents": {"alice": {"resources": {"disk_max": "16M"}}}}}
    )
    takeover = Takeover(original.layout, sources, config.lifecycle)
    takeover.look()
    original.write("agents/alice/state/large", "x" * 17 * 2**20)
    with pytest.raises(LimitExceeded, match=r"17 MiB, and disk_max allows 16 MiB\. Set disk_max"):
        takeover.copy(lambda _tally: None)
    assert list(original.layout.data.iterdir()) == []


def test_files_that_grow_do_not_fill_the_disk(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs_result((4096, 4096, 100, 1, 1, 100, 50, 50, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(LimitExceeded, match=r"has room for 0 MiB\.$"):
        original.takeover().copy(lambda _tally: None)
    assert list(original.layout.data.iterdir()) == []


def test_progress_is_told(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_copy, "STEP", 4096)
    told: list[int] = []
    original.takeover().copy(lambda tally: told.append(tally.bytes))
    assert len(told) > 5
    assert told == sorted(told)


# Credentials


@pytest.mark.parametrize("place", ["claude", "root"])
def test_an_api_key_leaves_the_copy(original: Original, place: str) -> None:
    folder = original.files / "agents/alice/claude"
    if place == "root":
        folder = original.container / "root"
    text = json.dumps({"primaryApiKey": KEY, "theme": "dark"})
    original.write(".claude.json", text, folder)
    assert original.takeover().look().key
    assert original.takeover().copy(lambda _tally: None) == KEY
    copy = original.layout.data / ".import-alice" / place / ".claude.json"
    assert json.loads(copy.read_text()) == {"theme": "dark"}
    base = uid_ranges.choose("alice", [])
    assert (copy.stat().st_uid, copy.stat().st_gid, copy.stat().st_mode & 0o777) == (
        *(base, base),
        0o600,
    )
    for path in below(original.layout.data):
        assert not path.is_file() or KEY not in path.read_text()


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"primaryApiKey": 1}', '{"primaryApiKey": "a b c d e"}']
)
def test_what_is_no_api_key_is_not_taken(original: Original, text: str) -> None:
    original.write(".claude.json", text, original.files / "agents/alice/claude")
    assert not original.takeover().look().key
    assert original.takeover().copy(lambda _tally: None) == ""


def test_brackets_that_can_only_be_read_stop_no_import(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_deep(*_args: object, **_options: object) -> str:
        raise RecursionError  # how deep that is depends on the version of Python

    text = json.dumps({"primaryApiKey": KEY, "a": [[]]})
    original.write(".claude.json", text, original.files / "agents/alice/claude")
    with monkeypatch.context() as patch:
        patch.setattr("services.lifecycle.nixos_import.api_key.json.dumps", too_deep)
        folder = original.files / "agents/alice/claude"
        with Directory.open(folder) as opened:
            assert api_key.take(opened) == KEY
    assert not (folder / ".claude.json").exists()


def test_a_login_behind_a_link_is_no_login(original: Original) -> None:
    assert original.takeover().look().login
    login = original.files / "agents/alice/claude/.credentials.json"
    login.rename(original.root / "away.json")
    login.symlink_to(original.root / "away.json")
    assert not original.takeover().look().login


# The history


def repository(path: Path, *, bare: bool) -> None:
    subprocess.run(["git", "init", "-q", *(["--bare"] if bare else []), str(path)], check=True)


@pytest.mark.parametrize("bare", [True, False])
def test_objects_and_references_of_the_history_are_copied(original: Original, bare: bool) -> None:
    source = original.files / "repository"
    repository(source, bare=bare)
    inside = source if bare else source / ".git"
    (inside / "refs/tags/x").write_text("1" * 40)
    (inside / "refs").chmod(0o700)
    (inside / "config").write_text("[core]\n\tfsmonitor = /bin/false\n")
    original.takeover(history=source).copy(lambda _tally: None)
    copy = original.layout.git / "imports/alice/.git"
    assert {path.name for path in copy.iterdir()} == {"objects", "refs", "HEAD"}
    assert (copy / "refs/tags/x").read_text() == "1" * 40
    for path in below(copy):
        assert path.stat().st_uid == 0
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_a_directory_without_a_repository_is_refused(original: Original) -> None:
    source = original.write("repository/.git/config", "").parents[1]
    with pytest.raises(InvalidArgument, match="is not a git repository"):
        original.takeover(history=source).look()


def test_a_history_is_copied_anew_without_the_container(
    original: Original, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = original.files / "first", original.files / "second"
    for source in (first, second):
        repository(source, bare=True)
        (source / "refs/tags" / source.name).write_text("1" * 40)
    original.run("copy", "alice", f"--history={first}", capsys=capsys)
    original.run("publish", "alice", capsys=capsys)
    original.run("finish", "alice", capsys=capsys)
    shutil.rmtree(original.root / "etc/nixos-containers")
    status, result, _ = original.run("history", "alice", f"--history={second}", capsys=capsys)
    assert (status, result["status"], result["history"]) == (0, "finished", True)
    tags = original.layout.git / "imports/alice/.git/refs/tags"
    assert [tag.name for tag in tags.iterdir()] == ["second"]
    # A directory that cannot be used leaves the earlier copy.
    status, _, said = original.run("history", "alice", f"--history={tags}", capsys=capsys)
    assert (status, "is not a git repository" in said) == (2, True)
    assert [tag.name for tag in tags.iterdir()] == ["second"]
    original.run("finish", "alice", capsys=capsys)
    assert not (original.layout.git / "imports/alice").exists()


def test_a_history_that_cannot_be_copied_leaves_nothing(
    original: Original, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    source = original.files / "repository"
    repository(source, bare=True)
    original.run("copy", "alice", capsys=capsys)
    original.run("publish", "alice", capsys=capsys)
    monkeypatch.setattr(tree_copy, "_write", full)
    assert original.run("history", "alice", f"--history={source}", capsys=capsys)[0] == 1
    assert not Staging(original.layout, "alice").has_history()


def test_an_agent_that_was_not_imported_gets_no_history(
    original: Original, capsys: pytest.CaptureFixture[str]
) -> None:
    source = original.files / "repository"
    repository(source, bare=True)
    original.write("bob/state/mine", "mine", original.layout.data)
    for name in ("alice", "bob"):
        status, _, said = original.run("history", name, f"--history={source}", capsys=capsys)
        assert (status, f"{name} was not imported" in said) == (6, True)
    assert original.run("history", "alice", capsys=capsys)[0] == 2
    assert list(original.layout.git.iterdir()) == []


# The steps


def test_the_steps_of_an_import(original: Original, capsys: pytest.CaptureFixture[str]) -> None:
    status, result, _ = original.run("list", capsys=capsys)
    assert result == [{"agent": "alice", "container": "h-alice", "status": "missing"}]
    status, look, _ = original.run("look", "alice", capsys=capsys)
    assert status == 0
    assert look["login"]
    assert look["unused"] == [{"source": str(original.root / "srv/shared"), "target": "/shared"}]
    assert list(original.layout.data.iterdir()) == [], "it has only looked"
    status, _, said = original.run("publish", "alice", capsys=capsys)
    assert (status, said) == (6, "No files of alice were copied; begin again.")
    assert original.run("copy", "alice", capsys=capsys)[1] == {"key": ""}
    assert original.run("status", "alice", capsys=capsys)[1]["status"] == "missing"
    base = uid_ranges.choose("alice", [])
    assert original.run("publish", "alice", capsys=capsys)[1] == {
        "status": "unfinished",
        "base": base,
        "history": False,
    }
    assert original.run("finish", "alice", capsys=capsys)[1]["status"] == "finished"
    assert original.run("copy", "bob", capsys=capsys)[0] == 3


def test_an_interrupted_import_begins_again(
    original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tree_copy, "_write", full)
        with pytest.raises(OSError, match="No space left"):
            original.takeover().copy(lambda _tally: None)
    assert list(original.layout.data.iterdir()) == []
    # Killed in the middle of it: the directory is there, without the mark.
    (original.layout.data / ".import-alice/state/half").mkdir(parents=True)
    with pytest.raises(Conflict, match="No files of alice were copied"):
        Staging(original.layout, "alice").publish()
    original.takeover().copy(lambda _tally: None)
    Staging(original.layout, "alice").publish()
    assert not (original.layout.data / "alice/state/half").exists()
    # Put in place, and not spawned: the next import replaces it.
    original.write("agents/alice/state/new", "new")
    original.takeover().copy(lambda _tally: None)
    Staging(original.layout, "alice").publish()
    assert (original.layout.data / "alice/state/new").exists()


@pytest.mark.parametrize("finished", [True, False])
def test_files_that_no_import_has_left_are_never_replaced(
    original: Original, finished: bool
) -> None:
    own = original.write("alice/state/mine", "mine", original.layout.data)
    if finished:
        original.write("alice/import.json", '{"finished": true}', original.layout.data)
    expected = Status.FINISHED if finished else Status.OTHER
    assert Staging(original.layout, "alice").status() is expected
    original.takeover().copy(lambda _tally: None)
    with pytest.raises(Conflict, match="exists already"):
        Staging(original.layout, "alice").publish()
    assert own.read_text() == "mine"


def test_an_error_of_the_disk_is_a_sentence(
    original: Original, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tree_copy, "_write", full)
    expected = (
        "The files of alice could not be copied: No space left on device. Correct that, and run "
        "the command again."
    )
    assert original.run("copy", "alice", capsys=capsys)[::2] == (1, expected)


def test_ctrl_c_leaves_no_copy(
    original: Original, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_descriptor: int, _data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tree_copy, "_write", interrupted)
    assert original.run("copy", "alice", capsys=capsys) == (130, None, "")
    assert list(original.layout.data.iterdir()) == []


def test_the_tool_is_a_module() -> None:
    command = [sys.executable, "-m", "services.lifecycle.nixos_import", "status", "Alice"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("'Alice' is not a valid agent name")
