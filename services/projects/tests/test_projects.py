"""Projects from their addition to their removal, with a directory of the host as upstream."""

import asyncio
import random
from pathlib import Path

import pytest
from git import Repo

from services.projects import access, fetches, projects
from services.projects.model import Row
from services.projects.repositories import GIT
from services.projects.store import Store
from services.projects.tests.conftest import LIMIT, Room
from services.quarantine.tests.worktree import WorkTree
from wire.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from wire.records.projects import AddOptions, ProjectState, SetOptions

READY, FAILED = ProjectState.READY, ProjectState.FAILED


async def test_a_directory_is_fetched_with_branches_and_tags(
    room: Room, upstream: WorkTree
) -> None:
    upstream.git("branch", "release/2")
    upstream.git("tag", "-a", "-m", "first", "v1")
    tip = upstream.git("rev-parse", "main")
    found = await room.added("website", str(upstream.path))
    assert (found.state, found.message, found.branch, found.commit) == (READY, "", "main", tip)
    assert found.fetched >= found.added > 0
    assert found.size > 0
    shown = await room.projects.show("website")
    assert {branch.name: branch.commit for branch in shown.branches} == {
        "main": tip,
        "release/2": tip,
    }
    assert (shown.branch_count, shown.tag_count, shown.branches[0].subject) == (2, 1, "a change")
    # An independent reader sees the same.
    with Repo(room.root / "website" / GIT) as repo:
        assert repo.head.commit.hexsha == tip
        assert repo.tags["v1"].commit.hexsha == tip


async def test_a_fetch_follows_upstream(room: Room, upstream: WorkTree) -> None:
    first = (await room.added("website", str(upstream.path))).commit
    upstream.git("branch", "gone")
    await room.fetched("website")
    second = upstream.commit({"README": "two\n"})
    upstream.git("branch", "-D", "gone")
    found = await room.fetched("website")
    assert found.commit == second != first
    assert [b.name for b in (await room.projects.show("website")).branches] == ["main"]


async def test_a_rewritten_branch_is_followed_and_no_object_is_lost(
    room: Room, upstream: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.projects.repositories.MAX_PACKS", 0)
    old = (await room.added("website", str(upstream.path))).commit
    upstream.git("commit", "-q", "--amend", "-m", "another")
    found = await room.fetched("website")
    assert found.commit == upstream.git("rev-parse", "main") != old
    home = room.root / "website" / GIT
    assert len(list(home.glob("objects/pack/*.pack"))) == 1, "it was packed anew"
    with Repo(home) as repo:
        assert repo.commit(old).message == "a change\n"


async def test_a_branch_takes_the_name_of_a_directory_of_branches(
    room: Room, upstream: WorkTree
) -> None:
    upstream.git("branch", "topic")
    await room.added("website", str(upstream.path))
    upstream.git("branch", "-m", "topic", "topic/one")
    assert (await room.fetched("website")).state is READY
    names = {branch.name for branch in (await room.projects.show("website")).branches}
    assert names == {"main", "topic/one"}


async def test_the_branch_is_that_of_upstream_or_the_named_one(
    room: Room, upstream: WorkTree
) -> None:
    upstream.git("branch", "-m", "main", "trunk")
    upstream.git("branch", "next")
    assert (await room.added("one", str(upstream.path))).branch == "trunk"
    assert (await room.added("two", str(upstream.path), branch="next")).branch == "next"
    with Repo(room.root / "two" / GIT) as repo:
        assert repo.head.reference.name == "next"
    found = await room.added("three", str(upstream.path), branch="none")
    assert found.state is FAILED
    assert "Upstream has no branch none; it has " in found.message
    await room.projects.set("three", SetOptions(branch="next"))
    assert (await room.settled("three")).state is READY
    with pytest.raises(Conflict, match="has no branch other; it has"):
        await room.projects.set("three", SetOptions(branch="other"))


async def test_an_empty_upstream_is_ready_and_says_so(room: Room, tmp_path: Path) -> None:
    empty = WorkTree(tmp_path / "empty")
    found = await room.added("website", str(empty.path))
    assert (found.state, found.commit, found.branch) == (READY, "", "main")
    assert found.notes == ["It has no commits yet."]
    commit = empty.commit({"README": "one\n"})
    assert (await room.fetched("website")).commit == commit
    assert (await room.fetched("website")).notes == []


async def test_a_project_without_upstream_lives_in_the_hive(room: Room) -> None:
    found = await room.added("own", "", branch="trunk")
    assert (found.state, found.branch, found.source) == (READY, "trunk", "")
    with pytest.raises(Conflict, match="has no upstream"):
        room.projects.fetch("own")
    with pytest.raises(Conflict, match="cannot change between"):
        await room.projects.set("own", SetOptions(source="https://forge.example/x.git"))
    await room.projects.set("own", SetOptions(branch="main"))
    with Repo(room.root / "own" / GIT) as repo:
        assert repo.head.reference.name == "main"


async def test_submodules_and_lfs_are_kept_as_they_are_and_said(
    room: Room, upstream: WorkTree
) -> None:
    modules = '[submodule "a"]\n\tpath = a\n\turl = --upload-pack=touch\n'
    modules += '[submodule "b"]\n\tpath = b\n\turl = https://b.example/\n'
    # git would not fetch the first one from a stranger; the names are counted, and nothing else.
    upstream.commit({".gitmodules": modules.replace("--upload-pack=touch", "https://a.example/")})
    upstream.commit({".gitattributes": "*.png filter=lfs diff=lfs merge=lfs -text\n"})
    found = await room.added("website", str(upstream.path))
    assert found.notes == [
        "It refers to 2 submodules, whose contents are not fetched.",
        "Files of Git LFS are kept as the pointers in their place; their contents are not fetched.",
    ]


async def test_a_removed_project_leaves_nothing(room: Room, upstream: WorkTree) -> None:
    await room.added("website", str(upstream.path))
    await room.projects.remove("website")
    assert {path.name for path in room.root.iterdir()} <= {
        "projects.sqlite",
        "projects.sqlite-wal",
        "projects.sqlite-shm",
    }
    assert room.changes[-2:] == [("website", "removing"), ("website", "gone")]
    with pytest.raises(NotFound, match="There is no project 'website'"):
        await room.projects.remove("website")
    assert (await room.added("website", str(upstream.path))).state is READY


async def test_a_failed_fetch_keeps_what_there_is_and_says_why(
    room: Room, upstream: WorkTree
) -> None:
    tip = (await room.added("website", str(upstream.path))).commit
    upstream.path.rename(upstream.path.with_name("away"))
    found = await room.fetched("website")
    assert (found.state, found.commit) == (FAILED, tip)
    assert f"there is no git repository at {upstream.path}" in found.message
    upstream.path.with_name("away").rename(upstream.path)
    assert (await room.fetched("website")).state is READY


async def test_a_second_fetch_during_one_is_done_after_it(
    room: Room, upstream: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.added("website", str(upstream.path))
    goes_on, may_end = asyncio.Event(), asyncio.Event()
    finishing = fetches.Fetches._finish

    async def slowly(self: fetches.Fetches, name: str, branch: str) -> None:
        goes_on.set()
        await may_end.wait()
        await finishing(self, name, branch)

    monkeypatch.setattr(fetches.Fetches, "_finish", slowly)
    room.projects.fetch("website")
    await asyncio.wait_for(goes_on.wait(), LIMIT)
    late = upstream.commit({"README": "after it was read\n"})
    room.projects.fetch("website")
    may_end.set()
    assert (await room.settled("website")).commit == late


async def test_the_operator_cancels_a_fetch(
    room: Room, upstream: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.added("website", str(upstream.path))
    goes_on = asyncio.Event()

    async def never(self: fetches.Fetches, name: str, branch: str) -> None:
        goes_on.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(fetches.Fetches, "_finish", never)
        room.projects.fetch("website")
        await asyncio.wait_for(goes_on.wait(), LIMIT)
        await room.projects.cancel_fetch("website")
    assert (await room.settled("website")).message == fetches.CANCELLED.format(name="website")
    with pytest.raises(Conflict, match="No fetch of website goes on"):
        await room.projects.cancel_fetch("website")
    assert (await room.fetched("website")).state is READY


async def test_all_are_fetched_by_the_timer(room: Room, upstream: WorkTree) -> None:
    for name in ("one", "two"):
        await room.added(name, str(upstream.path))
    await room.added("own", "")
    tip = upstream.commit({"README": "two\n"})
    room.projects.fetch_all()
    assert [(await room.settled(name)).commit for name in ("one", "two")] == [tip, tip]
    assert room.state("own") is READY


async def test_the_end_of_a_fetch_is_kept_when_the_disk_has_room_again(
    room: Room, upstream: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.added("website", str(upstream.path))
    monkeypatch.setattr(fetches, "PAUSE", 0.01)
    tried = asyncio.Semaphore(0)

    def full(self: Store, row: Row) -> None:
        tried.release()
        raise Unavailable("The disk is full.")

    room.projects.fetch("website")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", full)
        async with asyncio.timeout(LIMIT):
            for _ in range(5):
                await tried.acquire()
        assert room.state("website") is ProjectState.FETCHING
    found = await room.settled("website")
    assert (found.state, found.message) == (FAILED, "The disk is full.")
    assert (await room.fetched("website")).state is READY


async def test_a_fetch_that_fails_leaves_no_unfinished_pack(
    room: Room, upstream: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: git may not write as much as there is."""
    await room.added("website", str(upstream.path))
    upstream.commit({f"f{number}": random.Random(number).randbytes(5000) for number in range(120)})
    small = access.LIMITS._replace(file=100_000)
    with monkeypatch.context() as patched:
        patched.setattr(access, "LIMITS", small)
        found = await room.fetched("website")
    assert found.state is FAILED
    assert list((room.root / "website" / GIT).glob("objects/pack/tmp_*")) == []
    assert (await room.fetched("website")).state is READY


async def test_progress_is_told(room: Room, upstream: WorkTree) -> None:
    upstream.commit({f"f{number}": f"{number}\n" for number in range(50)})
    await room.added("website", str(upstream.path))
    told = {step.phase for name, step in room.steps if name == "website"}
    assert "Receiving objects" in told or "Unpacking objects" in told
    assert all(0 <= step.done <= step.total for _, step in room.steps)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "..", "a/b", "a" * 33, "a\n"])
async def test_a_name_that_is_not_valid_is_refused(room: Room, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid name of a project"):
        await room.projects.add(name, "", AddOptions())


@pytest.mark.parametrize(
    "branch", ["-x", "a..b", "a//b", "a.lock", "a/", ".a", "a b", "@{u}", "a\x07", "é"]
)
async def test_a_branch_that_is_not_valid_is_refused(room: Room, branch: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid name of a branch"):
        await room.projects.add("x", "", AddOptions(branch=branch))
    assert await room.projects.list() == []


async def test_what_cannot_be_added_is_refused_with_the_remedy(
    room: Room, upstream: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.added("own", "")
    with pytest.raises(AlreadyExists, match="There is a project own"):
        await room.projects.add("own", "", AddOptions())
    with pytest.raises(InvalidArgument, match="is not a valid filter"):
        await room.projects.add("x", str(upstream.path), AddOptions(filter="--upload-pack=x"))
    with pytest.raises(InvalidArgument, match="has no depth and no filter"):
        await room.projects.add("x", "", AddOptions(depth=1))
    with pytest.raises(InvalidArgument, match="Only an upstream of https or ssh"):
        await room.projects.add("x", str(upstream.path), AddOptions(credential="key"))
    with pytest.raises(NotFound, match=r"no credential key\. As root, store"):
        await room.projects.add("x", "https://h.example/x", AddOptions(credential="key"))
    (room.root / "left" / GIT).mkdir(parents=True)
    with pytest.raises(AlreadyExists, match="belongs to no project"):
        await room.projects.add("left", "", AddOptions())
    monkeypatch.setattr(projects, "MAX_PROJECTS", 1)
    with pytest.raises(LimitExceeded, match="There are 1 projects"):
        await room.projects.add("x", "", AddOptions())


async def test_history_can_be_cut(room: Room, upstream: WorkTree) -> None:
    for number in range(5):
        upstream.commit({"README": f"{number}\n"})
    tip = (await room.added("website", str(upstream.path), depth=2)).commit
    with Repo(room.root / "website" / GIT) as repo:
        assert len(list(repo.iter_commits(tip))) == 2
    upstream.commit({"README": "more\n"})
    assert (await room.fetched("website")).state is READY


async def test_only_the_files_of_the_branch_are_fetched_with_a_filter(
    room: Room, upstream: WorkTree
) -> None:
    upstream.git("config", "uploadpack.allowFilter", "true")
    upstream.git("config", "uploadpack.allowAnySHA1InWant", "true")
    old = upstream.git("rev-parse", "main:README")
    upstream.commit({"README": "two\n", "sub/other": "x\n"})
    new = upstream.git("rev-parse", "main:README")
    found = await room.added("website", str(upstream.path), filter="blob:none")
    assert (found.state, found.message) == (READY, "")
    home = room.root / "website" / GIT
    missing = Repo(home).git.rev_list("--objects", "--missing=print", "--all").splitlines()
    assert f"?{old}" in missing
    assert f"?{new}" not in missing
    upstream.commit({"README": "three\n"})
    assert (await room.fetched("website")).state is READY
    with Repo(home) as repo:
        assert repo.commit("main").tree["README"].data_stream.read() == b"three\n"


async def test_a_removal_waits_for_a_push_and_for_a_submission(
    room: Room, upstream: WorkTree
) -> None:
    await room.added("website", str(upstream.path))
    home = room.repositories.home("website")
    async with room.repositories.writing("website"):
        async with room.repositories.upstream("website"):
            removing = asyncio.ensure_future(room.projects.remove("website"))
            await _turns_of_the_loop()
            assert room.state("website") is ProjectState.REMOVING
            assert home.exists(), "a push goes on"
        await _turns_of_the_loop()
        assert home.exists(), "a submission goes on"
    await removing
    assert not home.exists()


async def _turns_of_the_loop() -> None:
    """Let all that is ready to run go on until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)
