"""The review of a change: its lines, files, commits, revisions, and the merge."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.projects.changes import comparisons
from services.projects.repositories import GIT
from services.projects.tests.room_of_changes import ChangesRoom
from services.quarantine import runner
from services.quarantine.runner import GitFailed, git
from services.quarantine.tests.worktree import WorkTree
from wire.errors import NotFound

PAGE = "".join(f"line {n}\n" for n in range(40))
PROGRAM = "def one():\n" + "    x = 1\n" * 30 + "\n\ndef two():\n" + "    y = 2\n" * 30


@pytest.fixture
async def room(tmp_path: Path, upstream: WorkTree) -> AsyncIterator[ChangesRoom]:
    upstream.commit({"page": PAGE, "program.py": PROGRAM, "logo": bytes(range(256))})
    room = ChangesRoom(tmp_path / "projects")
    await room.start()
    await room.added("website", str(upstream.path))
    yield room
    await room.stop()
    assert not list(room.scratch.iterdir()), "the tried merges are gone"


@pytest.fixture
def alice(room: ChangesRoom) -> WorkTree:
    return room.copy("alice", "website")


async def test_a_diff_begins_with_the_merge_base(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    start = alice.git("rev-parse", "HEAD")
    number = await room.submitted("alice", alice.commit({"page": PAGE.replace("line 3\n", "3\n")}))
    tip = upstream.commit({"README": "two\n"})
    await room.fetched("website")
    shown = await room.diffed(number)
    assert (shown.base, shown.merge_base, shown.revision) == (tip, start, 1)
    assert "-line 3\n+3\n" in shown.diff
    assert "README" not in shown.diff
    assert [(one.subject, one.author) for one in shown.commits] == [("a change", "agent")]
    assert shown.conflicts == []
    assert not shown.cut


async def test_a_conflict_is_seen_before_anything_is_merged(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    number = await room.submitted("alice", alice.commit({"README": "hers\n", "x": "y\n"}))
    upstream.commit({"README": "ours\n"})
    await room.fetched("website")
    home = room.root / "website" / GIT
    before = sorted(home.rglob("objects/*/*"))
    assert (await room.diffed(number)).conflicts == ["README"]
    assert sorted(home.rglob("objects/*/*")) == before, "the tried merge left objects"


async def test_files_with_modes_renames_and_sizes(room: ChangesRoom, alice: WorkTree) -> None:
    alice.git("mv", "page", "moved")
    (alice.path / "program.py").chmod(0o755)
    alice.git("add", "program.py")
    number = await room.submitted("alice", alice.commit({"logo": bytes(range(128)) * 3}))
    shown = {one.path: one for one in (await room.diffed(number)).files}
    assert set(shown) == {"moved", "program.py", "logo"}
    logo, moved, program = shown["logo"], shown["moved"], shown["program.py"]
    assert (logo.binary, logo.old_size, logo.new_size, logo.status) == (True, 256, 384, "M")
    assert (moved.old_path, moved.status, moved.added, moved.removed) == ("page", "R", 0, 0)
    assert (program.old_mode, program.new_mode) == ("100644", "100755")


async def test_no_attribute_hides_a_change(
    room: ChangesRoom, alice: WorkTree, tmp_path: Path
) -> None:
    commit = alice.commit({"page": "x\n", ".gitattributes": "* -diff\n"})
    number = await room.submitted("alice", commit)
    # Later versions of git read the attributes of HEAD in a bare repository; this one is told to.
    (tmp_path / "attributes").write_text("* -diff\n")
    home = room.repositories.home("website")
    await git(home, "config", "core.attributesFile", str(tmp_path / "attributes"))
    shown = await room.diffed(number)
    assert "+x\n" in shown.diff
    assert not any(one.binary for one in shown.files)


async def test_line_ends_are_in_the_diff(room: ChangesRoom, alice: WorkTree) -> None:
    number = await room.submitted("alice", alice.commit({"README": "one\r\n"}))
    assert "-one\n+one\r\n" in (await room.diffed(number)).diff


async def test_a_file_a_commit_and_whole_functions(room: ChangesRoom, alice: WorkTree) -> None:
    first = alice.commit({"page": "x\n"})
    changed = PROGRAM.replace("    x = 1\n\n", "    x = 3\n\n")
    number = await room.submitted("alice", alice.commit({"program.py": changed}))
    assert "program.py" not in (await room.diffed(number, path="page")).diff
    alone = await room.diffed(number, commit=first[:12])
    assert ("+x\n" in alone.diff, "program.py" in alone.diff) == (True, False)
    assert (
        "def one()"
        not in (await room.diffed(number, path="program.py", context=0))
        .diff.split("@@")[2]
        .partition("\n")[2]
    )
    whole = (await room.diffed(number, path="program.py", functions=True)).diff
    assert "\n def one():\n" in whole
    with pytest.raises(NotFound, match="c1 has no commit '1234567'"):
        await room.diffed(number, commit="1234567")


async def test_revisions_are_compared(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    await room.rules.update("alice", number, alice.commit({"page": "two\n"}), "")
    assert "-one\n+two\n" in (await room.diffed(number, since=1)).diff
    upstream.commit({"README": "two\n"})
    await room.fetched("website")
    alice.git("fetch", "-q", "origin")
    alice.git("rebase", "-q", "origin/main")
    await room.rules.update("alice", number, alice.git("rev-parse", "HEAD"), "")
    rebased = (await room.diffed(number, since=2)).diff
    assert rebased == "", "the commits of others are no part of it"
    older = await room.diffed(number, revision=1)
    assert (older.revision, "+one\n" in older.diff) == (1, True)


async def test_a_long_diff_is_cut_at_a_line(
    room: ChangesRoom, alice: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "MAX_DIFF", 300)
    number = await room.submitted("alice", alice.commit({"page": PAGE.upper()}))
    shown = await room.diffed(number)
    assert shown.cut
    assert len(shown.diff) <= 300
    assert shown.diff.endswith("\n")


async def test_files_beyond_the_bound_are_counted(
    room: ChangesRoom, alice: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await room.submitted("alice", alice.commit({str(n): "x\n" for n in range(5)}))
    shown = await room.diffed(number)
    assert (len(shown.files), shown.more_files) == (5, 0)
    monkeypatch.setattr(comparisons, "MAX_FILES", 3)
    shown = await room.diffed(number)
    assert (len(shown.files), shown.more_files) == (3, 2)


async def test_files_that_git_cannot_list_are_an_error(
    room: ChangesRoom, alice: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    run = runner.run

    async def failing(home: Path, *command: str, **options: Any) -> Any:
        bad = ["--no-such-option"] if command[0] == "diff-tree" else []
        return await run(home, *command[:1], *bad, *command[1:], **options)

    monkeypatch.setattr(comparisons, "run", failing)
    with pytest.raises(GitFailed):
        await room.diffed(number)


async def test_a_merge_hides_nothing_from_the_difference_of_two_revisions(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    upstream.commit({"README": "two\n"})
    await room.fetched("website")
    alice.git("fetch", "-q", "origin")
    alice.git("merge", "-q", "--no-commit", "origin/main")
    commit = alice.commit({"unseen": "x\n", "page": "three\n"})
    await room.rules.update("alice", number, commit, "")
    shown = (await room.diffed(number, since=1)).diff
    assert "+++ b/unseen" in shown
    assert "-one\n+three\n" in shown
    assert "README" not in shown


async def test_revisions_that_do_not_fit_together_are_compared_too(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    number = await room.submitted("alice", alice.commit({"page": "one\n"}))
    upstream.commit({"page": "two\n"})
    await room.fetched("website")
    alice.git("fetch", "-q", "origin")
    alice.git("reset", "-q", "--hard", "origin/main")
    await room.rules.update("alice", number, alice.commit({"page": "three\n"}), "")
    shown = (await room.diffed(number, since=1)).diff
    assert "-one\n" in shown
    assert "\n+three\n" in shown


async def test_a_change_that_takes_another_one_back_does_not_hide_it(
    room: ChangesRoom, alice: WorkTree, upstream: WorkTree
) -> None:
    """The change and its branch went apart twice, and one of both places alone shows nothing."""
    mended = alice.commit({"README": "safe\n"})
    alice.git("update-ref", "refs/heads/mended", mended)
    upstream.commit({"page": "two\n"})
    await room.fetched("website")
    alice.git("fetch", "-q", "origin")
    parents = ("-p", "origin/main", "-p", mended)
    alice.git("reset", "-q", "--hard", "origin/main")
    tree = alice.git("rev-parse", f"{alice.commit({'new': 'n'})}^{{tree}}")
    number = await room.submitted("alice", alice.git("commit-tree", *parents, "-m", "unseen", tree))
    upstream.git("fetch", "-q", str(alice.path), "mended")
    upstream.git("merge", "-q", "--no-ff", "-m", "mended", "FETCH_HEAD")
    await room.fetched("website")
    shown = await room.diffed(number)
    assert shown.conflicts == []
    assert "-safe\n" in shown.diff
    assert {one.path for one in shown.files} == {"README", "new"}
    assert shown.merge_base == shown.base
