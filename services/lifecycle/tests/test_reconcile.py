"""Rebuilding: everything on the host that belongs to an agent is corrected, nothing else."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from services.lifecycle.backends.backend import Reconciled
from services.lifecycle.files.measure import size_below
from services.lifecycle.files.nofollow import remove_below
from services.lifecycle.files.walk import chown_below
from services.lifecycle.tests.test_nspawn import ALICE, BASE, BOTH, UNIT, Host, host

__all__ = ["host"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")


def etc(host: Host) -> Path:
    return host.layout.data / "alice/etc"


def planted(host: Host) -> None:
    link = etc(host) / "passwd"
    link.unlink()
    link.symlink_to("/etc/shadow")


def foreign(host: Host) -> None:
    inner = host.layout.data / "alice/state/notes"
    inner.mkdir()
    (inner / "a").write_text("mine")
    os.chown(host.layout.data / "alice/state", BASE, BASE)


DAMAGE: dict[str, tuple[Callable[[Host], object], str]] = {
    "settings gone": (lambda h: (h.layout.settings / "h-alice.nspawn").unlink(), "written"),
    "settings edited": (
        lambda h: (h.layout.settings / "h-alice.nspawn").write_text("[Exec]\nPrivateUsers=no\n"),
        "h-alice.nspawn written",
    ),
    "drop-in gone": (
        lambda h: shutil.rmtree(h.layout.units / f"{UNIT}.d"),
        "hyperhive.conf written",
    ),
    "template gone": (lambda h: shutil.rmtree(h.layout.machines / "h-alice"), "h-alice made"),
    "a file of /etc gone": (lambda h: (etc(h) / "machine-id").unlink(), "machine-id written"),
    "a mask gone": (
        lambda h: (etc(h) / "systemd/system/systemd-sysusers.service").unlink(),
        "linked to /dev/null",
    ),
    "a link planted": (planted, "passwd written"),
    "its data gone": (lambda h: shutil.rmtree(h.layout.data / "alice"), "state made"),
    "the mode wrong": (lambda h: (h.layout.data / "alice/state").chmod(0o777), "corrected"),
    "the owner wrong": (lambda h: os.chown(h.layout.data / "alice/state", 0, 0), "corrected"),
    "files of somebody else": (foreign, "state: owner of 2 files corrected"),
}


USR_ONLY = {"a mask gone", "a link planted"}
"""Damage to files that NixOS makes itself."""


@pytest.mark.parametrize(
    ("host", "damage"),
    [
        *(("nspawn", damage) for damage in DAMAGE),
        *(("nixos", damage) for damage in DAMAGE if damage not in USR_ONLY),
    ],
    indirect=["host"],
)
async def test_damage_is_put_right_and_told(host: Host, damage: str) -> None:
    await host.backend.configure(ALICE)
    spoil, told = DAMAGE[damage]
    spoil(host)
    found = await host.backend.reconcile(ALICE, running=False)
    assert told in "\n".join(found.changes)
    assert await host.backend.reconcile(ALICE, running=False) == Reconciled()
    assert {path.lstat().st_uid for path in (host.layout.data / "alice/state").rglob("*")} <= {BASE}


@BOTH
async def test_a_healthy_agent_is_left_alone(host: Host) -> None:
    await host.backend.configure(ALICE)
    (host.layout.data / "alice/state/notes").write_text("mine")
    os.chown(host.layout.data / "alice/state/notes", BASE + 1000, BASE + 1000)
    before = [(p, p.lstat()) for p in sorted(host.root.rglob("*"))]
    assert await host.backend.reconcile(ALICE, running=False) == Reconciled()
    for path, status in before:
        now = path.lstat()
        assert (now.st_ino, now.st_mtime_ns, now.st_uid) == (
            status.st_ino,
            status.st_mtime_ns,
            status.st_uid,
        )


@BOTH
async def test_a_running_one_without_a_socket_is_restarted(host: Host) -> None:
    await host.backend.configure(ALICE)
    found = await host.backend.reconcile(ALICE, running=True)
    assert found == Reconciled(["hive-agent@alice.socket did not listen"], restart=True)


async def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x" * 100_000)
    inside = tmp_path / "agents/alice"
    inside.mkdir(parents=True)
    (inside / "way-out").symlink_to(outside)
    assert chown_below(tmp_path / "agents", "alice", range(BASE, BASE + 0x10000)) == 2
    assert (outside / "secret").lstat().st_uid == 0
    assert (inside / "way-out").lstat().st_uid == BASE
    assert size_below(tmp_path / "agents", "alice") < 100_000


async def test_a_tree_of_any_depth_is_survived() -> None:
    # Not below pytest's folder: a deep tree that a killed run left there would break later runs.
    parent = Path(tempfile.mkdtemp(prefix="hive-deep-"))
    top = os.open(parent, os.O_RDONLY)
    folder = top
    for _ in range(1500):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        if folder != top:
            os.close(folder)
        folder = inner
    with os.fdopen(os.open("file", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder), "w") as file:
        file.write("x" * 8192)
    os.close(folder)
    assert size_below(parent, "d") >= 8192
    os.close(top)
    assert size_below(parent, "nobody") == 0
    assert await remove_below(parent, "d")
    os.rmdir(parent)  # noqa: PTH106 - pathlib is not for async functions
