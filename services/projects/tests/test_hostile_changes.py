"""Working copies of hostile agents: nothing of theirs runs, hangs, or shows what is not theirs."""

import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.projects.repositories import GIT
from services.projects.tests.room_of_changes import ChangesRoom, changes_room
from services.projects.tests.test_hostile import Trap, write_hooks
from services.quarantine.tests import objects
from services.quarantine.tests.worktree import WorkTree
from wire.errors import HiveError, LimitExceeded, NotFound
from wire.records.changes import PublishMode

ATTRIBUTES = "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n"
LFS = "[lfs]\n\turl = http://127.0.0.1:1/evil\n"


@pytest.fixture
async def room(tmp_path: Path, upstream: WorkTree) -> AsyncIterator[ChangesRoom]:
    upstream.git("config", "receive.denyCurrentBranch", "ignore")
    async with changes_room(tmp_path / "projects", upstream) as room:
        yield room


@pytest.fixture
def alice(room: ChangesRoom) -> WorkTree:
    return room.copy("alice", "website")


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    trap = Trap(tmp_path / "sprung")
    yield trap
    assert not trap.sprung


def set_traps(copy: WorkTree, trap: Trap) -> None:
    """Let each program that a repository can name spring the trap."""
    for key in (
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
        "filter.lfs.smudge",
        "filter.lfs.process",
        "diff.evil.textconv",
        "diff.evil.command",
        "diff.external",
        "merge.evil.driver",
        "core.fsmonitor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "core.gitProxy",
        "uploadpack.packObjectsHook",
        "remote.origin.uploadpack",
        "gpg.program",
        "submodule.lib.update",
    ):
        copy.git("config", key, f"{'!' if key.startswith('submodule') else ''}touch {trap};")
    write_hooks(copy, f"#!/bin/sh\ntouch {trap}\n")


def naively(copy: WorkTree, trap: Trap, *arguments: str) -> None:
    """Run git in the working copy, which springs the trap."""
    subprocess.run(["git", "-C", copy.path, *arguments], capture_output=True, timeout=60)
    assert trap.sprung
    trap.path.unlink()


@pytest.mark.parametrize("how", [PublishMode.MERGE, PublishMode.REBASE])
async def test_no_program_runs_from_the_submission_to_the_push(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree, trap: Trap, how: PublishMode
) -> None:
    one = alice.commit({".gitattributes": ATTRIBUTES, ".lfsconfig": LFS, "a.bin": "x\n"})
    two = alice.commit({"a.bin": "y\n"})
    set_traps(alice, trap)
    naively(alice, trap, "diff", one, two)
    number = await room.submitted("alice", one)
    await room.rules.update("alice", number, two, "")
    [finding] = [
        one
        for one in (await room.rules.get("alice", number)).revisions[-1].findings
        if "Git LFS" in one
    ]
    assert ".lfsconfig" in finding
    assert "-x\n+y\n" in (await room.diffed(number, since=1)).diff
    upstream.commit({"b": "c\n"})
    await room.fetched("website")
    assert (await room.approved(number, how)).state == "merged"
    assert upstream.git("show", "main:a.bin") == "y"


async def test_another_history_by_replacement_grafts_and_a_shallow_end(
    room: ChangesRoom, alice: WorkTree
) -> None:
    """They are of the agent's repository alone: the operator sees the commit that is merged."""
    good = alice.commit({"page": "good\n"})
    alice.git("reset", "-q", "--hard", "origin/main")
    evil = alice.commit({"page": "evil\n"})
    alice.git("replace", evil, good)
    alice.git("config", "advice.graftFileDeprecated", "false")
    (alice.path / ".git/info/grafts").write_text(f"{evil}\n")
    (alice.path / ".git/shallow").write_text(f"{evil}\n")
    shown = await room.diffed(await room.submitted("alice", evil))
    assert "+evil\n" in shown.diff
    assert [one.commit for one in shown.commits] == [evil]


async def test_very_many_references_with_odd_names(room: ChangesRoom, alice: WorkTree) -> None:
    commit = alice.commit({"x": "y\n"})
    odd = ["refs/heads/--upload-pack=x", "refs/heads/a..b", "refs/heads/\u202e", "../../x", "HEAD"]
    lines = [f"{commit} refs/heads/{n:06}\n" for n in range(100_000)]
    lines += [f"{commit} {name}\n" for name in odd]
    (alice.path / ".git/packed-refs").write_text("".join(lines))
    (alice.path / ".git/HEAD").write_text("ref: refs/heads/\x1b[2J\n")
    number = await room.submitted("alice", commit)
    listed = (room.root / "website" / GIT / "refs/heads").iterdir()
    assert {path.name for path in listed} <= {"main"}
    assert (await room.diffed(number)).commit == commit


@pytest.mark.long
async def test_a_history_of_very_many_commits(room: ChangesRoom, alice: WorkTree) -> None:
    head = alice.git("rev-parse", "HEAD")
    commit = "commit refs/heads/long\ncommitter a <a@hive.invalid> 1 +0000\ndata 1\nx\n"
    history = f"{commit}from {head}\n\n" + f"{commit}\n" * 49_999
    alice.git("fast-import", "--quiet", stdin=history.encode())
    with pytest.raises(LimitExceeded, match=r"The change has 50000 commits|add \d+ objects"):
        await room.submitted("alice", alice.git("rev-parse", "long"))


@pytest.mark.long
async def test_trees_without_end(room: ChangesRoom, alice: WorkTree) -> None:
    """Twenty objects describe a file for each of 10 ** 20 paths."""
    dot_git = alice.path / ".git"
    inner, mode = objects.write_loose(dot_git, "blob", b"x\n"), "100644"
    for _ in range(20):
        content = objects.tree(*((mode, f"d{n}", inner) for n in range(10)))
        inner, mode = objects.write_loose(dot_git, "tree", content), "40000"
    found = objects.write_loose(
        dot_git, "commit", objects.commit(inner, alice.git("rev-parse", "HEAD"))
    )
    with pytest.raises(LimitExceeded, match=r"too many files|out of memory"):
        await room.submitted("alice", found)


async def test_the_objects_of_another_project_are_not_guessed(
    room: ChangesRoom, alice: WorkTree, tmp_path: Path
) -> None:
    """Neither by their names, nor through references, nor as what a delta begins with."""
    secret = WorkTree(tmp_path / "secret")
    hidden = secret.commit({"key": "a secret\n" * 50})
    await room.added("other", str(secret.path))
    blob = secret.git("rev-parse", f"{hidden}:key")
    for name in (hidden, hidden[:7], hidden[:12].upper().lower()):
        with pytest.raises(NotFound):
            await room.submitted("alice", name)
    dot_git = alice.path / ".git"
    (dot_git / "refs/heads/theirs").write_text(f"{hidden}\n")
    parent = alice.git("rev-parse", "HEAD")
    for content in (
        objects.commit(alice.git("rev-parse", "HEAD^{tree}"), parent, hidden),
        objects.commit(
            objects.write_loose(dot_git, "tree", objects.tree(("100644", "stolen", blob))), parent
        ),
    ):
        forged = objects.write_loose(dot_git, "commit", content)
        with pytest.raises(HiveError) as caught:
            await room.submitted("alice", forged)
        assert not re.search("a secret", str(caught.value))
    assert room.change_store.find() == []


async def test_a_submission_to_the_copy_of_another_agent(
    room: ChangesRoom, alice: WorkTree
) -> None:
    """The working copy of bob is a link to that of alice."""
    commit = alice.commit({"x": "y\n"})
    bob = room.copy("bob", "website")
    bob.remove()
    bob.path.symlink_to(alice.path)
    with pytest.raises(HiveError, match="must be directories, not links or files"):
        await room.submitted("bob", commit)
    bob.path.unlink()
    bob.path.mkdir()
    (bob.path / ".git").symlink_to(alice.path / ".git")
    with pytest.raises(HiveError, match="must be directories, not links or files"):
        await room.submitted("bob", commit)
