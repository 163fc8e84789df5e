"""A hostile repository runs nothing, leads nowhere, and shows nothing that is not its own.

Where plain git is vulnerable, the test first shows that it is.
"""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.quarantine import object_copy
from services.quarantine.tests.ours import Ours, refused
from services.quarantine.tests.worktree import WorkTree
from wire.errors import InvalidArgument


@pytest.fixture
def secret(tmp_path: Path) -> WorkTree:
    """A repository of the host that the manager must not read."""
    return WorkTree(tmp_path / "secret")


class TestNothingIsRun:
    @pytest.fixture
    def trap(self, tmp_path: Path) -> Path:
        return tmp_path / "sprung"

    @pytest.fixture(autouse=True)
    def not_sprung(self, theirs: WorkTree, trap: Path) -> Iterator[None]:
        yield
        assert not trap.exists()

    @staticmethod
    def naively(theirs: WorkTree, trap: Path, *arguments: str) -> None:
        """Run git in the hostile repository, which springs the trap."""
        subprocess.run(["git", "-C", theirs.path, *arguments], capture_output=True, timeout=30)
        assert trap.exists()
        trap.unlink()

    async def test_fsmonitor(self, ours: Ours, theirs: WorkTree, good: str, trap: Path) -> None:
        theirs.git("config", "core.fsmonitor", f"touch {trap}")
        self.naively(theirs, trap, "status")
        assert await ours.fetch(good) == good
        await ours.show(good)

    async def test_hooks(
        self, ours: Ours, theirs: WorkTree, good: str, trap: Path, dot_git: Path
    ) -> None:
        names = "pre-commit post-checkout reference-transaction post-index-change pre-auto-gc"
        for name in (*names.split(), "update", "post-update", "pre-receive", "proc-receive"):
            (dot_git / "hooks").mkdir(exist_ok=True)
            hook = dot_git / "hooks" / name
            hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
            hook.chmod(0o755)
        self.naively(theirs, trap, "checkout", "-q", "-b", "other")
        assert await ours.fetch(good) == good

    async def test_programs_that_its_configuration_names(
        self, ours: Ours, theirs: WorkTree, good: str, trap: Path
    ) -> None:
        for key in (
            "uploadpack.packObjectsHook",
            "core.sshCommand",
            "core.alternateRefsCommand",
            "core.pager",
            "core.editor",
            "diff.external",
            "diff.evil.textconv",
            "filter.evil.smudge",
            "filter.evil.clean",
            "gpg.program",
            "credential.helper",
            "alias.fetch",
        ):
            theirs.git("config", key, f"!touch {trap}" if "alias" in key else f"touch {trap}")
        theirs.git("config", "uploadpack.allowAnySHA1InWant", "true")
        theirs.git("config", "diff.external", f"touch {trap}; true")
        (theirs.path / "agent.toml").write_text("a = 3\n")
        self.naively(theirs, trap, "diff")
        assert await ours.fetch(good) == good
        assert "+a = 1\n" in await ours.show(good)

    async def test_configuration_that_includes_more(
        self, ours: Ours, theirs: WorkTree, good: str, trap: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "more").write_text(f"[core]\n\tfsmonitor = touch {trap}\n")
        theirs.git("config", "include.path", str(tmp_path / "more"))
        theirs.git("config", "core.worktree", str(tmp_path))
        self.naively(theirs, trap, "status")
        assert await ours.fetch(good) == good

    async def test_the_environment_of_approvals_is_not_read(
        self,
        ours: Ours,
        theirs: WorkTree,
        good: str,
        trap: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / ".gitconfig").write_text(f"[core]\n\tfsmonitor = touch {trap}\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        self.naively(theirs, trap, "status")
        monkeypatch.setenv("GIT_DIR", str(theirs.path / ".git"))
        monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {trap}; true")
        monkeypatch.setenv("GIT_TRACE", str(trap))
        assert await ours.fetch(good) == good
        assert "+a = 1\n" in await ours.show(good)

    @pytest.mark.parametrize(
        "name",
        ["--upload-pack=touch", "HEAD", "-1234567", "abcdefg", "a" * 41, "ABCDEF1", "", "\n"],
    )
    async def test_a_commit_that_is_no_commit(self, ours: Ours, name: str) -> None:
        assert "is not a valid commit: use 7 to 40 digits" in await refused(ours, name)


class TestNothingLeadsElsewhere:
    async def test_alternates(
        self, ours: Ours, theirs: WorkTree, good: str, secret: WorkTree, dot_git: Path
    ) -> None:
        hidden = secret.commit({"agent.toml": "password\n"})
        (dot_git / "objects/info/alternates").write_text(f"{secret.path}/.git/objects\n")
        assert theirs.git("cat-file", "-t", hidden) == "commit"  # git follows it
        assert "There is no commit" in await refused(ours, hidden)
        assert await ours.fetch(good) == good

    @pytest.mark.parametrize("what", ["", ".git", ".git/objects", ".git/objects/pack"])
    async def test_links_to_directories(
        self, ours: Ours, theirs: WorkTree, secret: WorkTree, good: str, what: str
    ) -> None:
        hidden = secret.commit({"agent.toml": "password\n"})
        secret.git("gc", "-q")
        replaced = theirs.path / what
        replaced.rename(theirs.path.parent / "away")
        replaced.symlink_to(secret.path / what)
        assert theirs.git("cat-file", "-t", hidden) == "commit"
        assert "not a valid git repository" in await refused(ours, hidden)

    async def test_links_to_single_objects(
        self, ours: Ours, secret: WorkTree, good: str, dot_git: Path
    ) -> None:
        hidden = secret.commit({"agent.toml": "password\n"})
        folder = dot_git / "objects" / hidden[:2]
        source = secret.path / ".git/objects" / hidden[:2] / hidden[2:]
        folder.mkdir(exist_ok=True)
        (folder / hidden[2:]).symlink_to(source)
        assert "There is no commit" in await refused(ours, hidden)
        (folder / hidden[2:]).unlink()
        if not list(folder.iterdir()):
            folder.rmdir()
            folder.symlink_to(source.parent)
            assert "not a valid git repository" in await refused(ours, hidden)

    async def test_a_file_in_the_place_of_the_directory(
        self, ours: Ours, theirs: WorkTree, secret: WorkTree, good: str, dot_git: Path
    ) -> None:
        hidden = secret.commit({"agent.toml": "password\n"})
        theirs.point_to(secret)
        assert theirs.git("cat-file", "-t", hidden) == "commit"
        assert "not a valid git repository" in await refused(ours, hidden)

    async def test_the_directory_of_another_repository(
        self, ours: Ours, theirs: WorkTree, secret: WorkTree, good: str, dot_git: Path
    ) -> None:
        hidden = secret.commit({"agent.toml": "password\n"})
        (dot_git / "commondir").write_text(f"{secret.path}/.git\n")
        assert theirs.git("cat-file", "-t", hidden) == "commit"
        assert "There is no commit" in await refused(ours, hidden)

    async def test_special_files_are_not_opened(self, ours: Ours, good: str, dot_git: Path) -> None:
        """Opening a pipe waits for a writer, for ever."""
        folder = dot_git / "objects/ab"
        folder.mkdir(exist_ok=True)
        os.mkfifo(folder / ("1" * 38))
        (folder / ("2" * 38)).mkdir()
        # Its whole path is longer than the name of a socket may be.
        with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(folder):
            listener.bind("3" * 38)
        if os.geteuid() == 0:
            os.mknod(folder / ("4" * 38), 0o600 | 0o020000, os.makedev(1, 5))  # endless zeros
        os.mkfifo(dot_git / f"objects/pack/pack-{'5' * 40}.idx")
        assert await ours.fetch(good) == good
        os.mkfifo(dot_git / f"objects/pack/pack-{'6' * 40}.pack")
        assert "is repacking the repository" in await refused(ours, good[:8])

    async def test_pipes_in_the_place_of_directories(
        self, ours: Ours, good: str, dot_git: Path
    ) -> None:
        (dot_git / "objects").rename(dot_git / "away")
        os.mkfifo(dot_git / "objects")
        assert "not a valid git repository" in await refused(ours, good)

    async def test_a_file_that_somebody_holds(self, ours: Ours, good: str, dot_git: Path) -> None:
        """Opening a leased file waits until the lease is broken, 45 seconds."""
        name = dot_git / "objects" / good[:2] / good[2:]
        name.chmod(0o644)
        with leased(name):
            assert "end programs that hold leases" in await refused(ours, good)

    def test_an_unreadable_repository_is_refused(self) -> None:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            Path(folder).chmod(0o755)
            theirs = WorkTree(Path(folder) / "proposed/alice")
            theirs.commit({"agent.toml": ""})
            (theirs.path / ".git/objects").chmod(0)
            target = Path(folder) / "target"
            target.mkdir(mode=0o777)
            if os.geteuid() == 0:
                os.seteuid(65534)
            try:
                with pytest.raises(InvalidArgument, match="cannot be read: Permission denied"):
                    object_copy.ObjectCopy(theirs.path, target).run()
            finally:
                os.seteuid(os.getuid())
                (theirs.path / ".git/objects").chmod(0o755)


@contextlib.contextmanager
def leased(name: Path) -> Iterator[None]:
    command = [sys.executable, "-c", _LEASE, str(name)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.stdin.close()


_LEASE = f"""
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, {fcntl.F_SETLEASE}, {fcntl.F_WRLCK})
print("held", flush=True)
sys.stdin.read()
"""
