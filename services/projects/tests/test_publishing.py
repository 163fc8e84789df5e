"""Approved changes get into their branches, and into those of upstream, once."""

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from git import Commit, Repo

from services.projects.changes import bundles, merges
from services.projects.changes.changes import REMOVED
from services.projects.changes.model import merged_reference, reference
from services.projects.repositories import GIT
from services.projects.tests.conftest import LIMIT
from services.projects.tests.room_of_changes import ChangesRoom
from services.projects.tests.test_changes_crashes import STRIDES, killed_at
from services.projects.tests.test_crashes import Steps
from services.quarantine.tests.worktree import WorkTree
from wire import names
from wire.connection import MAX_MESSAGE
from wire.errors import Conflict, InvalidArgument, LimitExceeded
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeState,
    LineComment,
    PublishMode,
    SubmitOptions,
)
from wire.records.projects import SetOptions

MERGED, CONFLICT = ChangeState.MERGED, ChangeState.CONFLICT


@pytest.fixture
def upstream(upstream: WorkTree) -> WorkTree:
    # A directory with files: pushes to the branch of its files are refused otherwise.
    upstream.git("config", "receive.denyCurrentBranch", "ignore")
    return upstream


@pytest.fixture
async def room(tmp_path: Path, upstream: WorkTree) -> AsyncIterator[ChangesRoom]:
    room = ChangesRoom(tmp_path / "projects")
    await room.start()
    await room.added("website", str(upstream.path))
    yield room
    await room.stop()


async def approve(room: ChangesRoom, number: int) -> None:
    """Approve a change, or try it again, and let that begin."""
    shown = await room.diffed(number)
    options = ApproveChangeOptions()
    await room.review.approve(names.OPERATOR, number, shown.commit, shown.base, options)
    await turns_of_the_loop()


async def turns_of_the_loop() -> None:
    """Let all that is ready to run go on until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ended(room: ChangesRoom) -> None:
    """Wait until nothing is being published."""
    async with asyncio.timeout(LIMIT):
        await room.publishing._tasks.wait()


@pytest.fixture
def alice(room: ChangesRoom) -> WorkTree:
    return room.copy("alice", "website")


def tip(upstream: WorkTree, branch: str = "main") -> Commit:
    with Repo(upstream.path) as repo:
        return repo.commit(branch)


def trailers(commit: Commit) -> dict[str, str]:
    """Return the trailers of a commit, as git reads them."""
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse"],
        input=str(commit.message),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.partition(": ") for line in done.stdout.splitlines())
    return {name: value for name, _, value in lines}


async def test_a_merge_has_both_parents_and_says_who_approved_what(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    base = upstream.git("rev-parse", "main")
    commit = alice.commit({"page": "one\n"})
    number = await room.submitted("alice", commit)
    row = await room.approved(number)
    made = tip(upstream)
    assert (row.state, row.published, row.note) == (MERGED, made.hexsha, "")
    assert [parent.hexsha for parent in made.parents] == [base, commit]
    assert (made.author.name, made.committer.name) == ("alice", "hyperhive")
    assert str(made.message).startswith("Merge c1: A better page\n\nIt says more.\n\n")
    assert trailers(made) == {
        "Hive-Change": "c1/1",
        "Hive-Agent": "alice",
        "Hive-Commit": commit,
        "Approved-by": "operator",
    }
    assert upstream.git("show", "main:page") == "one"
    assert room.told[-2:] == [(number, "approved"), (number, "merged")]
    [(to, body)] = await room.delivered()
    assert (to, f"is in the branch main as {made.hexsha[:12]}" in body) == ("alice", True)
    # The agents have it at once.
    alice.git("fetch", "-q", "origin")
    assert alice.git("rev-parse", "origin/main") == made.hexsha


async def test_a_squash_is_one_commit_on_the_base(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    base = upstream.git("rev-parse", "main")
    alice.commit({"page": "one\n"})
    number = await room.submitted("alice", alice.commit({"page": "two\n"}))
    await room.approved(number, PublishMode.SQUASH)
    made = tip(upstream)
    assert [parent.hexsha for parent in made.parents] == [base]
    assert str(made.message).startswith("A better page\n\nIt says more.\n\nHive-Change: c1/1\n")


async def test_a_rebase_has_each_commit_on_what_the_branch_is_now(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    alice.commit({"page": "one\n"})
    alice.git("config", "i18n.commitEncoding", "ISO-8859-1")
    alice.git("commit", "-q", "--allow-empty", "--author=Zoë <z@x>", "-F", "-", stdin=b"caf\xe9\n")
    number = await room.submitted("alice", alice.git("rev-parse", "HEAD"))
    base = upstream.commit({"README": "two\n"})
    await room.fetched("website")
    await room.approved(number, PublishMode.REBASE)
    last = tip(upstream)
    [first] = last.parents
    assert [parent.hexsha for parent in first.parents] == [base]
    assert last.author.name == "Zoë"
    shown = upstream.git("log", "-1", "--format=%e %B", "main")
    assert shown.startswith("ISO-8859-1 café\n\nHive-Change: c1/1")
    assert upstream.git("show", "main:page") == "one"
    assert upstream.git("show", "main:README") == "two"


async def test_a_branch_of_its_own_is_published(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    before = upstream.git("rev-parse", "main")
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    row = await room.approved(number, PublishMode.BRANCH)
    assert row.state is ChangeState.PUBLISHED
    assert tip(upstream, "hive/c1").hexsha == row.published
    assert upstream.git("rev-parse", "main") == before


@pytest.mark.parametrize("how", [PublishMode.MERGE, PublishMode.SQUASH, PublishMode.REBASE])
async def test_a_project_without_upstream_is_moved_itself(
    room: ChangesRoom, how: PublishMode
) -> None:
    await room.added("notes", "")
    copy = room.copy("alice", "notes")
    number = await room.submitted("alice", copy.commit({"todo": "all\n"}), project="notes")
    assert (await room.approved(number, how)).state is MERGED
    copy.git("fetch", "-q", "origin")
    copy.git("reset", "-q", "--hard", "origin/main")
    number = await room.submitted("alice", copy.commit({"todo": "more\n"}), project="notes")
    row = await room.approved(number, how)
    with Repo(room.root / "notes" / GIT) as repo:
        assert repo.commit("main").hexsha == row.published
        assert repo.commit("main").tree["todo"].data_stream.read() == b"more\n"


async def test_the_project_says_how_a_change_gets_into_its_branch(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    assert room.store.get("website").how is PublishMode.MERGE
    fetches = len(room.changes)
    await room.projects.set("website", SetOptions(how=PublishMode.SQUASH))
    assert room.changes[fetches:] == [("website", "ready")], "nothing is to be fetched for that"
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    await room.approved(number)
    assert len(tip(upstream).parents) == 1
    assert str(tip(upstream).message).startswith("A better page\n")


async def test_a_change_is_brought_into_a_clone(
    room: ChangesRoom,
    alice: WorkTree,
    upstream: WorkTree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clone = WorkTree(tmp_path / "clone")
    clone.git("pull", "-q", str(upstream.path), "main")
    first, second = alice.commit({"page": "one\n"}), alice.commit({"page": "two\n"})
    number = await room.submitted("alice", first)
    await room.rules.update("alice", number, second, "")
    for revision, commit in ((None, second), (1, first)):
        file = tmp_path / "bundle"
        file.write_bytes(await room.review.bundle(number, revision))
        name = reference(number, revision or 2)
        clone.git("fetch", "-q", str(file), f"{name}:refs/hive/{revision}")
        assert clone.git("rev-parse", f"hive/{revision}") == commit
    assert bundles.MAX_BUNDLE + 2**16 <= MAX_MESSAGE, "the bus takes it in one message"
    monkeypatch.setattr(bundles, "MAX_BUNDLE", 100)
    with pytest.raises(LimitExceeded, match=r"has more than 0 MiB. As root, fetch it from"):
        await room.review.bundle(number, None)


async def test_no_text_of_an_agent_is_a_trailer(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    forged = "Fine.\n\nHive-Agent: bob\nApproved-By : everybody\n\u202ehidden"
    alice.git("commit", "-q", "--allow-empty", "-m", forged)
    commit = alice.git("rev-parse", "HEAD")
    number = await room.rules.submit("alice", "website", commit, "A page", forged, SubmitOptions())
    await room.approved(number, PublishMode.SQUASH)
    said = str(tip(upstream).message)
    assert "> Hive-Agent: bob\n> Approved-By : everybody\n\ufffdhidden\n\nHive-Change:" in said
    assert trailers(tip(upstream))["Approved-by"] == "operator"


class TestApprovals:
    async def test_another_commit_or_base_than_shown(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        shown = await room.diffed(number)
        second = alice.commit({"page": "two\n"})
        await room.rules.update("alice", number, second, "")
        options = ApproveChangeOptions()
        with pytest.raises(Conflict, match="c1 is at revision 2, commit"):
            await room.review.approve("operator", number, shown.commit, shown.base, options)
        moved = upstream.commit({"README": "two\n"})
        await room.fetched("website")
        with pytest.raises(Conflict, match=f"main of website is {moved[:12]} now, and not the ba"):
            await room.review.approve("operator", number, second, shown.base, options)
        assert room.change_store.get(number).state is ChangeState.OPEN
        assert tip(upstream).hexsha == moved

    async def test_merges_are_not_rebased(self, room: ChangesRoom, alice: WorkTree) -> None:
        alice.git("checkout", "-q", "-b", "side")
        alice.commit({"x": "y"})
        alice.git("checkout", "-q", "main")
        alice.git("merge", "-q", "--no-ff", "-m", "both", "side")
        number = await room.submitted("alice", alice.git("rev-parse", "HEAD"))
        with pytest.raises(Conflict, match="c1 has merges of its own, and cannot be rebased"):
            await room.approved(number, PublishMode.REBASE)
        assert (await room.approved(number, PublishMode.SQUASH)).state is MERGED

    async def test_what_is_decided_is_decided(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        await room.approved(number)
        before = tip(upstream).hexsha
        options = ApproveChangeOptions()
        with pytest.raises(Conflict, match="c1 is merged, which is final"):
            await room.review.approve("operator", number, commit, before, options)
        with pytest.raises(Conflict, match="c1 is merged, which is final"):
            await room.review.deny(number, commit, "")
        with pytest.raises(Conflict, match="c1 is merged, and cannot be changed any more"):
            await room.rules.withdraw("alice", number)
        assert tip(upstream).hexsha == before


class TestConflicts:
    async def test_a_change_that_does_not_merge_goes_back_to_its_agent(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        number = await room.submitted("alice", alice.commit({"README": "hers\n"}))
        moved = upstream.commit({"README": "ours\n"})
        await room.fetched("website")
        row = await room.approved(number)
        assert (row.state, row.note) == (
            CONFLICT,
            "It does not merge with main any more: README.",
        )
        assert tip(upstream).hexsha == moved
        [(_, body)] = await room.delivered()
        assert "was approved, but it does not merge with main any more: README. In /work" in body
        # The agent rebases and updates, and the change is merged.
        alice.git("fetch", "-q", "origin")
        alice.git("reset", "-q", "--hard", "origin/main")
        await room.rules.update("alice", number, alice.commit({"README": "both\n"}), "rebased")
        assert (await room.approved(number)).state is MERGED
        assert upstream.git("show", "main:README") == "both"
        home = room.root / "website" / GIT
        with Repo(home) as repo:
            assert repo.commit(merged_reference(number, 2)).hexsha == tip(upstream).hexsha

    async def test_upstream_that_has_moved_unseen_is_never_overwritten(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        moved = upstream.commit({"README": "two\n"})
        row = await room.approved(number)
        assert row.state is CONFLICT
        assert row.note == f"Main of upstream has moved to {moved[:12]}."
        assert tip(upstream).hexsha == moved

    async def test_upstream_that_was_taken_back_is_not_restored(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        upstream.commit({"secret": "x\n"})
        await room.fetched("website")
        alice.git("fetch", "-q", "origin")
        alice.git("reset", "-q", "--hard", "origin/main")
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        upstream.git("reset", "-q", "--hard", "HEAD~1")
        back = upstream.git("rev-parse", "main")
        assert (await room.approved(number)).state is CONFLICT
        assert tip(upstream).hexsha == back


class TestUpstreamRefuses:
    async def test_a_refusal_is_told_and_tried_again_with_the_next_fetch(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        upstream.git("config", "receive.denyCurrentBranch", "refuse")
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        row = await room.approved(number)
        assert row.state is ChangeState.APPROVED
        assert row.note.startswith(f"The push failed: {upstream.path} refuses it: branch is cur")
        assert await room.delivered() == []
        # hivectl learns from the time that another try has failed: the note may be the same.
        await room.fetched("website")
        again = await room.until(number, noted=True, after=row.changed)
        assert again.note == row.note
        upstream.git("config", "receive.denyCurrentBranch", "ignore")
        await room.fetched("website")
        row = await room.until(number, "merged")
        assert tip(upstream).hexsha == row.published

    async def test_upstream_that_is_away(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree, tmp_path: Path
    ) -> None:
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        upstream.path.rename(tmp_path / "away")
        row = await room.approved(number)
        assert row.state is ChangeState.APPROVED
        assert "The push failed: there is no git repository at" in row.note
        (tmp_path / "away").rename(upstream.path)
        await room.stop()
        await room.start()
        assert (await room.until(number, "merged")).state is MERGED

    async def test_an_approval_is_taken_back(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        upstream.git("config", "receive.denyCurrentBranch", "refuse")
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        await room.approved(number)
        await room.review.deny(number, commit, "After all, no.")
        row = room.change_store.get(number)
        assert (row.state, row.note) == (ChangeState.DENIED, "After all, no.")
        [(_, body)] = await room.delivered()
        assert body.endswith("(A better page) was denied: After all, no.")

    async def test_an_approval_that_upstream_has_is_not_taken_back(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        upstream.git("config", "receive.denyCurrentBranch", "refuse")
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        await room.approved(number)
        # The push did succeed, and somebody went on from there.
        home = room.root / "website" / GIT
        upstream.git("pull", "-q", "--ff-only", str(home), merged_reference(number, 1))
        upstream.commit({"README": "more\n"})
        with pytest.raises(Conflict, match="The branch has c1 already"):
            await room.review.deny(number, commit, "")
        assert room.change_store.get(number).state is MERGED


class TestWaiting:
    """An approved change that waits until a fetch of its project ends."""

    async def test_it_is_denied_at_once(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        base = tip(upstream).hexsha
        async with room.repositories.upstream("website"), asyncio.timeout(LIMIT):
            await approve(room, number)
            await room.review.deny(number, commit, "After all, no.")
        await ended(room)
        row = room.change_store.get(number)
        assert (row.state, row.note) == (ChangeState.DENIED, "After all, no.")
        assert tip(upstream).hexsha == base

    async def test_it_is_denied_at_once_after_a_push_that_failed(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        upstream.git("config", "receive.denyCurrentBranch", "refuse")
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        await room.approved(number)
        upstream.git("config", "receive.denyCurrentBranch", "ignore")
        base = tip(upstream).hexsha
        async with room.repositories.upstream("website"), asyncio.timeout(LIMIT):
            await approve(room, number)
            await room.review.deny(number, commit, "")
        await ended(room)
        assert room.change_store.get(number).state is ChangeState.DENIED
        assert tip(upstream).hexsha == base

    async def test_a_revision_that_nobody_was_shown_is_not_denied(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        async with room.repositories.upstream("website"):
            await approve(room, number)
            async with room.publishing._locks[number]:
                denying = asyncio.ensure_future(room.review.deny(number, commit, ""))
                await turns_of_the_loop()
                room.change_store.move(number, CONFLICT, 1)
                await room.rules.update("alice", number, alice.commit({"page": "two\n"}), "")
            with pytest.raises(Conflict, match="c1 is at revision 2"):
                await denying
        assert room.change_store.get(number).state is ChangeState.OPEN

    async def test_its_project_is_removed(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        base = tip(upstream).hexsha
        async with room.repositories.upstream("website"):
            await approve(room, number)
            removing = asyncio.ensure_future(room.projects.remove("website"))
            await turns_of_the_loop()
        await removing
        await ended(room)
        row = room.change_store.get(number)
        assert (row.state, row.note) == (ChangeState.WITHDRAWN, REMOVED)
        assert tip(upstream).hexsha == base


async def test_no_fetch_tidies_up_beside_a_merge(
    room: ChangesRoom, alice: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    merge, held = merges.merge, []

    async def merging(*arguments: Any) -> Any:
        held.append(room.repositories.writing("website").locked())
        return await merge(*arguments)

    monkeypatch.setattr(merges, "merge", merging)
    assert (await room.approved(number)).state is MERGED
    assert held == [True]


class TestRequests:
    async def test_all_comments_are_one_message(self, room: ChangesRoom, alice: WorkTree) -> None:
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        comments = [LineComment("page", 1, "Why one?"), LineComment("page", 0, "Rename it.")]
        room.review.request_changes(names.OPERATOR, number, commit, "Nearly.", comments)
        row = room.change_store.get(number)
        assert row.state is ChangeState.CHANGES_REQUESTED
        [(to, body)] = await room.delivered()
        assert to == "alice"
        assert body.split("\n\n")[:3] == [
            "The operator wants changes to c1 of website (A better page): Nearly.",
            "page, line 1 (revision 1):\nWhy one?",
            "page (revision 1):\nRename it.",
        ]
        found = await room.rules.get("alice", number)
        assert [(one.path, one.line) for one in found.comments] == [
            ("", 0),
            ("page", 1),
            ("page", 0),
        ]

    async def test_nothing_said(self, room: ChangesRoom, alice: WorkTree) -> None:
        commit = alice.commit({"page": "one\n"})
        number = await room.submitted("alice", commit)
        with pytest.raises(InvalidArgument, match="The note has 0 characters; it must have 1"):
            room.review.request_changes(names.OPERATOR, number, commit, "", [])
        with pytest.raises(Conflict, match="c1 is at revision 1"):
            room.review.request_changes(names.OPERATOR, number, "a" * 40, "x", [])


@STRIDES
async def test_a_kill_at_any_step_of_a_merge_pushes_it_once(tmp_path: Path, stride: int) -> None:
    for fatal in itertools.count(stride // 2, stride):
        folder = tmp_path / f"run{fatal}"
        folder.mkdir()
        upstream = WorkTree(folder / "upstream")
        upstream.commit({"README": "one\n"})
        upstream.git("config", "receive.denyCurrentBranch", "ignore")
        room = ChangesRoom(folder / "projects")
        await room.start()
        await room.added("website", str(upstream.path))
        alice = room.copy("alice", "website")
        number = await room.submitted("alice", alice.commit({"page": "one\n"}))
        shown = await room.diffed(number)
        steps = Steps(fatal)
        with killed_at(steps):
            await _approve_until_killed(room, steps, number, shown.commit, shown.base)
        await room.start()
        try:
            if room.change_store.get(number).state is ChangeState.OPEN:
                await room.approved(number)
            row = await room.until(number, "merged")
            assert row.state is MERGED, (fatal, row.note)
            log = upstream.git("log", "--first-parent", "--format=%H", "main").splitlines()
            assert log == [row.published, shown.base], fatal
            assert len(await room.delivered()) == 1
        finally:
            await room.stop()
        if not steps.struck.is_set():
            break
    assert fatal > 2 * stride, "several steps were tried"


async def _approve_until_killed(
    room: ChangesRoom, steps: Steps, number: int, commit: str, base: str
) -> None:
    from services.projects.tests.test_changes_crashes import run

    async def story() -> None:
        options = ApproveChangeOptions()
        await room.review.approve(names.OPERATOR, number, commit, base, options)
        await room.until(number, "merged", "conflict")

    with suppress(BaseExceptionGroup):
        await run(room, steps, story)
