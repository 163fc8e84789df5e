"""Systems of containers that run, which the garbage collector of Nix leaves alone."""

import shutil
from pathlib import Path

import pytest

from services.build.tests.nix_host import made, module
from services.lifecycle.backends import gc_roots
from services.lifecycle.backends.layout import Layout

pytestmark = pytest.mark.skipif(not shutil.which("nix"), reason="needs Nix")


async def test_nix_keeps_what_runs_although_its_build_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, layout = made(tmp_path, monkeypatch), Layout(tmp_path)
    (tmp_path / "nix/var").mkdir()
    (tmp_path / "nix/var/nix").symlink_to(tmp_path / "nix/state")
    layout.gc_roots.mkdir()

    def build(number: int) -> Path:
        return host.build(host.commit(module(f'"{number}"'))) / "system"

    running, never = build(0).resolve(), build(1).resolve()
    gc_roots.hold(layout, "alice", str(running))
    newest = [build(number) for number in (2, 3)][-1].resolve()  # the others are not kept
    gc_roots.hold(layout, "alice", str(newest))
    host.collect()
    assert [system.exists() for system in (running, never, newest)] == [True, False, True]
    gc_roots.hold(layout, "alice", str(newest), alone=True)
    shutil.rmtree(host.builds / "alice")
    host.collect()
    assert [system.exists() for system in (running, newest)] == [False, True]
    await gc_roots.release(layout, "alice")
    host.collect()
    assert not newest.exists()
