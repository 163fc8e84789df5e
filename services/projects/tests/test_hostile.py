"""A directory of the host that somebody else has prepared runs nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from services.projects.tests.conftest import Room
from services.quarantine.tests.worktree import WorkTree
from wire.records.projects import ProjectState


class Trap:
    """A file that a program makes, if one of the directory's programs runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def sprung(self) -> bool:
        return self.path.exists()

    def clone(self, upstream: WorkTree, target: Path) -> None:
        """Clone as a git did before it was careful; set the trap again if that sprang it."""
        command = ["git", "clone", "-q", "--no-local", str(upstream.path), str(target)]
        variables = {"PATH": os.environ["PATH"], "GIT_NO_LAZY_FETCH": "0", "HOME": "/nonexistent"}
        subprocess.run(command, env=variables, capture_output=True, timeout=60)
        assert self.sprung
        self.path.unlink()


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "sprung")


async def test_programs_for_missing_objects(
    room: Room, upstream: WorkTree, trap: Trap, tmp_path: Path
) -> None:
    """git, asked for an object that a partial clone lacks, fetches it as its configuration says."""
    blob = upstream.git("rev-parse", "main:README")
    (upstream.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", f"file://{upstream.path}"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadpack", f"touch {trap}; false"),
        ("protocol.file.allow", "always"),
        ("protocol.allow", "always"),
    ):
        upstream.git("config", key, value)
    trap.clone(upstream, tmp_path / "naive")
    found = await room.added("website", str(upstream.path))
    assert found.state is ProjectState.FAILED
    assert not trap.sprung


async def test_programs_of_its_configuration(room: Room, upstream: WorkTree, trap: Trap) -> None:
    for key in (
        "uploadpack.packObjectsHook",
        "core.fsmonitor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "core.pager",
    ):
        upstream.git("config", key, f"touch {trap};")
    write_hooks(upstream, f"#!/bin/sh\ntouch {trap}\n")
    assert (await room.added("website", str(upstream.path))).state is ProjectState.READY
    assert not trap.sprung


def write_hooks(upstream: WorkTree, program: str) -> None:
    folder = upstream.path / ".git/hooks"
    folder.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-checkout", "pre-auto-gc"):
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)


async def test_references_with_odd_names_and_texts(room: Room, upstream: WorkTree) -> None:
    upstream.git("update-ref", "refs/heads/-d", "main")
    upstream.git("update-ref", "refs/heads/\u202eevil\u0085x", "main")
    upstream.git("update-ref", "refs/other/kept", "main")
    message = upstream.path / "message"
    message.write_bytes(b"\xff\xfe subject \x0b\x1b[2J\n\nbody\n")
    upstream.git("-c", "i18n.commitEncoding=UTF-8", "commit", "--allow-empty", "-qF", str(message))
    found = await room.added("website", str(upstream.path))
    assert found.state is ProjectState.READY
    shown = await room.projects.show("website")
    assert {branch.name for branch in shown.branches} == {"main", "-d", "\u202eevil\u0085x"}


async def test_a_commit_from_the_end_of_time(room: Room, upstream: WorkTree) -> None:
    tree = upstream.git("rev-parse", "main^{tree}")
    content = f"tree {tree}\nauthor a <a@b> 9{'0' * 17} +0000\ncommitter a <a@b> 9{'0' * 17} +0000"
    commit = upstream.git(
        "hash-object", "-w", "-t", "commit", "--stdin", stdin=f"{content}\n\nx\n".encode()
    )
    upstream.git("update-ref", "refs/heads/main", commit)
    await room.added("website", str(upstream.path))
    [branch] = (await room.projects.show("website")).branches
    assert 0 <= branch.committed < 2**63
