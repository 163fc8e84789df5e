"""The root directory of an earlier version: its files are moved, its links are not followed."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from services.lifecycle.backends import old_root
from services.lifecycle.tests.test_nspawn import ALICE, BASE, UNIT, Host, host

__all__ = ["host"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")

FILES = {
    "root/.gitconfig": "root/.gitconfig",
    "root/.claude.json": "root/.claude.json",
    "var/lib/tool/data": "var/lib/tool/data",
    "var/log/journal/x/system.journal": "var/log/journal/x/system.journal",
    "srv/page": "srv/page",
    "workspace/deep/er/file": "root/old-root/workspace/deep/er/file",
    "etc/passwd": "root/old-root/etc/passwd",
}
"""Files of the old root, and their places afterwards."""


@pytest.fixture
def old(host: Host) -> Path:
    """Return alice's root as an earlier version left it."""
    root = host.layout.machines / "h-alice"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name in ("dev", "usr", "state", "root/.claude", "root/empty"):
        (root / name).mkdir()
    (root / "bin").symlink_to("usr/bin")
    (root / "var/run").symlink_to("../run")
    os.mkfifo(root / "root/pipe")
    for path in (root, *root.rglob("*")):
        os.chown(path, BASE, BASE, follow_symlinks=False)
    os.chown(root / "srv/page", BASE + 7, BASE + 8)
    (root / "srv/page").chmod(0o4751)
    return root


def check(host: Host) -> None:
    own = host.layout.data / "alice"
    for before, after in FILES.items():
        assert (own / after).read_text() == before
        assert (own / after).stat().st_uid in range(BASE, BASE + 65536)
    page = (own / "srv/page").stat()
    assert (page.st_uid, page.st_gid, page.st_mode & 0o7777) == (BASE + 7, BASE + 8, 0o4751)
    assert (own / "root/empty").is_dir()
    assert [path.name for path in host.layout.machines.iterdir()] == ["h-alice"]
    assert (host.layout.machines / "h-alice").stat().st_uid == 0


async def test_an_agent_keeps_its_files(host: Host, old: Path) -> None:
    await host.backend.configure(ALICE)
    file = host.layout.units / f"{UNIT}.d" / host.layout.drop_in
    drop_in = file.read_text()
    command = f"-m services.lifecycle.backends.old_root alice {BASE}"
    assert f"ExecStartPre=+{host.root}/prefix/bin/python -BP {command}" in drop_in.splitlines()
    old_root.move(host.layout, "alice", BASE)
    check(host)
    assert (
        (await host.backend.reconcile(ALICE, running=False))
        .changes[-1]
        .endswith(f"{host.layout.drop_in} written")
    )
    assert old_root.__name__ not in file.read_text()


async def test_files_are_copied_between_file_systems(
    host: Host, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.backend.configure(ALICE)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename_within(os.rename))
        patched.setattr(shutil, "copyfileobj", fail_once(shutil.copyfileobj))
        with pytest.raises(OSError, match="full"):
            old_root.move(host.layout, "alice", BASE)
        old_root.move(host.layout, "alice", BASE)
    check(host)


def rename_within(rename: Any) -> Any:
    """Return a rename that cannot move a file: old and new files lie on two file systems."""

    def called(before: str, after: str, **folders: int) -> None:
        if before == after:
            raise OSError(errno.EXDEV, "two file systems")
        rename(before, after, **folders)

    return called


def fail_once(function: Any) -> Any:
    """Return the function, whose third call fails."""
    calls = iter(range(1000))

    def called(*arguments: Any) -> None:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, "the disk is full")
        function(*arguments)

    return called


async def test_a_running_container_gets_a_new_root_at_its_next_start(host: Host, old: Path) -> None:
    await host.backend.limit(ALICE)
    template = host.layout.machines / "h-alice"
    assert (template.stat().st_uid, (template / "etc/os-release").exists()) == (0, True)
    settings = (host.layout.settings / "h-alice.nspawn").read_text()
    assert "Volatile=yes" in settings
    old_root.move(host.layout, "alice", BASE)
    check(host)


@pytest.mark.parametrize("place", ["root", "var", "var/lib", "workspace", "etc"])
@pytest.mark.parametrize("copied", [False, True])
async def test_links_in_an_old_root_are_not_followed(
    host: Host, old: Path, place: str, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = host.root / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    shutil.rmtree(old / place)
    (old / place).symlink_to(outside)
    await host.backend.configure(ALICE)
    if copied:
        monkeypatch.setattr(os, "rename", rename_within(os.rename))
    old_root.move(host.layout, "alice", BASE)
    assert (outside.stat().st_uid, (outside / "precious").read_text()) == (0, "precious")
    assert (outside / "precious").stat().st_uid == 0
    moved = [p for p in (host.layout.data / "alice").rglob("precious") if not p.is_symlink()]
    assert [p for p in moved if outside not in p.resolve().parents] == []


async def test_an_old_root_is_destroyed_with_its_agent(host: Host, old: Path) -> None:
    await host.backend.configure(ALICE)
    await host.backend.destroy(ALICE, purge=False)
    assert list(host.layout.machines.iterdir()) == []
