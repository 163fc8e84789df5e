"""The history of an imported agent: hostile objects and references, taken as tags."""

import os
from pathlib import Path

import pytest

from services.approvals.git import histories
from services.approvals.git.repositories import Repositories
from services.approvals.tests.room import Room
from services.quarantine.tests.worktree import WorkTree
from wire.errors import InvalidArgument, LimitExceeded, NotFound


@pytest.fixture
def copied(tmp_path: Path, ours: Repositories) -> WorkTree:
    """Return the repository as an import has copied it."""
    return WorkTree(tmp_path / "imports/alice")


@pytest.mark.parametrize("packed", [False, True])
async def test_branches_and_tags_become_tags(
    ours: Repositories, copied: WorkTree, packed: bool
) -> None:
    first = copied.commit({"agent.nix": "{ }\n"})
    copied.git("tag", "deployed/1")
    second = copied.commit({"agent.nix": "{ x = 1; }\n"})
    copied.git("tag", "-a", "-m", "it does not build", "failed/2")
    if packed:
        copied.git("gc", "-q")
        assert (copied.path / ".git/packed-refs").exists()
    assert sorted(await ours.take_history("alice")) == [
        "heads/main",
        "tags/deployed/1",
        "tags/failed/2",
    ]
    copied.remove()
    assert await ours.tags("alice") == {
        "imported/heads/main": second,
        "imported/tags/deployed/1": first,
        "imported/tags/failed/2": second,
    }
    assert await ours.read("alice", first, "agent.nix") == "{ }\n"
    assert await ours.resolve("alice", "main") is None, "nothing is deployed by it"


async def test_an_import_that_is_repeated_takes_what_is_new(
    ours: Repositories, copied: WorkTree
) -> None:
    copied.commit({"agent.nix": ""})
    for _ in range(2):
        await ours.take_history("alice")
    newer = copied.commit({"agent.nix": "{ }"})
    await ours.take_history("alice")
    assert await ours.tags("alice") == {"imported/heads/main": newer}


async def test_other_references_are_left_out(ours: Repositories, copied: WorkTree) -> None:
    commit = copied.commit({"agent.nix": ""})
    refs = copied.path / ".git/refs"
    (refs / "tags/tree").write_text(copied.git("rev-parse", "HEAD^{tree}"))
    (refs / "tags/missing").write_text("1" * 40)
    (refs / "tags/link").symlink_to("../heads/main")
    (refs / "tags/symbolic").write_text("ref: refs/heads/main")
    (refs / "tags/x.lock").write_text(commit)
    (refs / "tags/a..b").write_text(commit)
    (refs / "tags" / ("x" * 201)).write_text(commit)
    (refs / "tags/\u202ename").write_text(commit)
    (refs / "notes").mkdir()
    (refs / "notes/x").write_text(commit)
    os.mkfifo(refs / "tags/pipe")
    (copied.path / ".git/packed-refs").write_text(f"{commit} refs/../escape\nnonsense\n")
    assert await ours.take_history("alice") == ["heads/main"]


async def test_a_history_without_commits_is_empty(ours: Repositories, copied: WorkTree) -> None:
    assert await ours.take_history("alice") == []


async def test_damaged_objects_are_refused(ours: Repositories, copied: WorkTree) -> None:
    commit = copied.commit({"agent.nix": "a"})
    blob = copied.git("rev-parse", f"{commit}:agent.nix")
    (copied.path / f".git/objects/{blob[:2]}/{blob[2:]}").unlink()
    with pytest.raises(InvalidArgument, match="whether an object is missing"):
        await ours.take_history("alice")
    assert await ours.tags("alice") == {}


async def test_names_that_exclude_each_other_are_refused(
    ours: Repositories, copied: WorkTree
) -> None:
    commit = copied.commit({"agent.nix": "a"})
    packed = f"{commit} refs/tags/a\n{commit} refs/tags/a/b\n"
    (copied.path / ".git/packed-refs").write_text(packed)
    with pytest.raises(InvalidArgument, match="The history cannot be fetched"):
        await ours.take_history("alice")
    assert await ours.tags("alice") == {}


async def test_a_link_in_the_place_of_the_references_is_refused(
    ours: Repositories, copied: WorkTree, tmp_path: Path
) -> None:
    copied.commit({"agent.nix": "a"})
    (copied.path / ".git/refs").rename(tmp_path / "away")
    (copied.path / ".git/refs").symlink_to(tmp_path / "away")
    with pytest.raises(InvalidArgument, match="The references of the history cannot be read"):
        await ours.take_history("alice")


async def test_too_many_references_are_refused(
    ours: Repositories, copied: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = copied.commit({"agent.nix": "a"})
    monkeypatch.setattr(histories, "MAX_REFERENCES", 2)
    for name in ("a", "b", "c"):
        (copied.path / f".git/refs/tags/{name}").write_text(commit)
    with pytest.raises(LimitExceeded, match="more than 2 branches and tags"):
        await ours.take_history("alice")
    monkeypatch.setattr(histories, "MAX_PACKED", 20)
    (copied.path / ".git/packed-refs").write_text("#" * 21)
    with pytest.raises(LimitExceeded, match="more than 20 bytes"):
        await ours.take_history("alice")


async def test_a_large_history_is_refused(ours: Repositories, copied: WorkTree) -> None:
    copied.commit({name: os.urandom(8_000_000) for name in ("a", "b", "c")})
    with pytest.raises(LimitExceeded, match="may be added at a time"):
        await ours.take_history("alice")
    assert await ours.tags("alice") == {}


async def test_without_a_copy_there_is_no_history(ours: Repositories) -> None:
    with pytest.raises(NotFound, match="There is no copied repository"):
        await ours.take_history("alice")


async def test_an_agent_that_has_just_come_gets_its_repository_first(room: Room) -> None:
    with pytest.raises(NotFound, match="There is no agent alice"):
        await room.approvals.import_history("alice")
    room.lifecycle.agents["alice"] = ""
    assert await room.approvals.import_history("alice") == ["heads/main"]
    assert room.git.applied["alice"].refs["main"]
