"""Changes of projects: listed, read, commented on, approved, given back and denied."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import COMMIT, SINCE
from hivectl.tests.fake_changes import BASE, MADE
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeDiffOptions,
    ChangeFilter,
    ChangeState,
    Comment,
    CommentOptions,
    LineComment,
    PublishMode,
)

READ = ("--commit", COMMIT[:8], "--base", BASE[:8])


def calls(hive: FakeHive, kind: str) -> list[tuple[Any, ...]]:
    return [call[1:] for call in hive.changes.calls if call[0] == kind]


async def test_changes_are_listed(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("changes")).out == "no changes wait for anybody\n"
    hive.changes.add(12, state=ChangeState.CONFLICT, note="It does not merge.")
    ran = await hivectl("changes", "--project", "website", "--agent", "alice", "--all")
    head, row = ran.out.splitlines()
    assert head.split() == ["ID", "PROJECT", "AGENT", "BRANCH", "REV", "CHANGED", "STATE", "TITLE"]
    assert row.startswith("c12  website")
    assert row.endswith("conflict  A better page (It does not merge.)")
    assert calls(hive, "list")[-1] == (ChangeFilter("website", "alice", None, True),)
    shown = json.loads((await hivectl("changes", "--json")).out)
    assert (shown[0]["id"], shown[0]["published"]) == ("c12", None)


async def test_open_changes_wait_with_all_else(hive: FakeHive, hivectl: Hivectl) -> None:
    assert "open changes" not in (await hivectl("pending")).out
    hive.changes.add(12)
    out = (await hivectl("pending")).out
    assert "\nopen changes:\nID   PROJECT" in out
    assert "\nc12  website" in out
    assert calls(hive, "list")[-1] == (ChangeFilter(state=ChangeState.OPEN),)
    [shown] = [
        one
        for one in json.loads((await hivectl("pending", "--json")).out)
        if one["kind"] == "change"
    ]
    assert (shown["id"], shown["title"]) == ("c12", "A better page")


async def test_a_review_shows_all_of_a_change(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.changes.add(12)
    hive.changes.findings = ["It makes executable: 'page'."]
    hive.changes.comments = [Comment("operator", SINCE, 1, "page", 4, "Why?")]
    out = (await hivectl("review", "c12")).out
    assert out.startswith("c12: A better page\n  of alice, for main of website, open\n")
    for part in (
        f"  commit  {COMMIT} (revision 2 of 2)\n",
        f"  base    {BASE}\n  merge   clean\n",
        "\n  It says more.\n",
        "\n  Shorter.\n",
        "\n  ! It makes executable: 'page'.\n",
        ", revision 1, page:4:\n  Why?\n",
        "M  +1 -1  page (mode 100644 -> 100755)\n",
        "\n-old\n+new\n",
    ):
        assert part in out


async def test_a_diff_has_its_options_and_the_commits_of_an_approval(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.changes.add(12)
    hive.changes.diff = hive.changes.diff._replace(conflicts=["page", "b"], cut=True)
    chosen = ("--since", "1", "--path", "page", "--functions", "--context", "0", "--only", COMMIT)
    out = (await hivectl("diff", "c12", *chosen)).out
    assert f"  base    {BASE}\n  merge   conflicts in page, b\n" in out
    assert out.endswith("hivectl diff c12 --path FILE]\n")
    options = ChangeDiffOptions(None, 1, COMMIT, "page", 0, True)
    assert calls(hive, "diff") == [(12, options)]
    shown = json.loads((await hivectl("diff", "c12", "--json")).out)
    assert (shown["commit"], shown["base"], shown["files"][0]["path"]) == (COMMIT, BASE, "page")


async def test_files_that_are_not_listed_are_counted(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.changes.add(12)
    hive.changes.diff = hive.changes.diff._replace(more_files=7)
    assert "\n  and 7 more files\n" in (await hivectl("review", "c12")).out
    hive.changes.diff = hive.changes.diff._replace(files=hive.changes.diff.files * 21)
    assert "  and 8 more files\n" in (await hivectl("approve", "c12", *READ)).err


async def test_nothing_of_an_agent_reaches_the_terminal(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.changes.add(12, title=HOSTILE, description=HOSTILE, note=HOSTILE)
    hive.changes.findings = [HOSTILE]
    hive.changes.comments = [Comment("bob", SINCE, 1, HOSTILE, 4, HOSTILE)]
    file = hive.changes.diff.files[0]._replace(path=HOSTILE, old_path=HOSTILE)
    commit = hive.changes.diff.commits[0]._replace(author=HOSTILE, subject=HOSTILE)
    hive.changes.diff = hive.changes.diff._replace(
        diff=f"+{HOSTILE}", files=[file], commits=[commit], conflicts=[HOSTILE]
    )
    for command in (["changes"], ["review", "c12"], ["diff", "c12"]):
        assert_harmless((await hivectl(*command)).out)
    ran = await hivectl("approve", "c12", *READ)
    assert_harmless(ran.err)


class TestApproving:
    async def test_what_was_read_is_approved(self, hive: FakeHive, hivectl: Hivectl) -> None:
        hive.changes.add(12)
        ran = await hivectl("approve", "c12", *READ, "--how", "squash")
        assert ran.out == f"c12 is merged: main of website has {MADE[:12]}\n"
        options = ApproveChangeOptions(PublishMode.SQUASH)
        assert calls(hive, "approve") == [(12, COMMIT, BASE, options)]
        assert f"  commit  {COMMIT}" in ran.err

    @pytest.mark.parametrize(
        ("read", "code", "words"),
        [
            ((), Exit.USAGE, "hivectl approve c12 --commit COMMIT"),
            (("--commit", COMMIT), Exit.USAGE, "Name the base that you have read, too"),
            (("--commit", "1234567", "--base", BASE), Exit.CONFLICT, "c12 is at commit"),
            (("--commit", COMMIT, "--base", "1234567"), Exit.CONFLICT, f"main is at {BASE}, not"),
        ],
    )
    async def test_nothing_else_is(
        self, hive: FakeHive, hivectl: Hivectl, read: tuple[str, ...], code: Exit, words: str
    ) -> None:
        hive.changes.add(12)
        ran = await hivectl("approve", "c12", *read)
        assert (ran.code, calls(hive, "approve")) == (code, [])
        assert words in ran.err

    async def test_a_first_commit_has_no_base(self, hive: FakeHive, hivectl: Hivectl) -> None:
        hive.changes.add(12)
        hive.changes.diff = hive.changes.diff._replace(base="")
        assert (await hivectl("approve", "c12", "--commit", COMMIT)).code == Exit.OK

    @pytest.mark.parametrize(
        ("state", "code"), [(ChangeState.CONFLICT, Exit.CONFLICT), (ChangeState.APPROVED, 1)]
    )
    async def test_what_does_not_get_there_says_why(
        self, hive: FakeHive, hivectl: Hivectl, state: ChangeState, code: int
    ) -> None:
        hive.changes.add(12)
        hive.changes.outcome = {"state": state, "note": "The push failed: no."}
        ran = await hivectl("approve", "c12", *READ)
        assert (ran.code, ran.out) == (code, "")
        assert ran.err.endswith(f"c12 is {state}: The push failed: no.\n")

    async def test_the_options_of_requests_are_for_requests(
        self, hive: FakeHive, hivectl: Hivectl
    ) -> None:
        hive.changes.add(12)
        ran = await hivectl("approve", "c12", *READ, "--now")
        assert (ran.code, "--now has no meaning for a change" in ran.err) == (Exit.USAGE, True)
        ran = await hivectl("approve", "12", "--how", "merge")
        assert (ran.code, "--how has no meaning for a request" in ran.err) == (Exit.USAGE, True)
        ran = await hivectl("diff", "12", "--functions")
        assert (ran.code, "--functions has no meaning for a r" in ran.err) == (Exit.USAGE, True)


class TestOtherDecisions:
    async def test_comments_are_sent_together(self, hive: FakeHive, hivectl: Hivectl) -> None:
        hive.changes.add(12)
        comments = ("--comment", "src/a.py:12", "Why?", "--comment", "a:b", "No.")
        ran = await hivectl("request-changes", "c12", "--note", "Nearly.", *comments)
        assert ran.out == "c12 is given back to alice\n"
        found = [LineComment("src/a.py", 12, "Why?"), LineComment("a:b", 0, "No.")]
        assert calls(hive, "request") == [(12, COMMIT, "Nearly.", found)]
        ran = await hivectl("request-changes", "c12", "--note", "x", "--commit", "1234567")
        assert (ran.code, len(calls(hive, "request"))) == (Exit.CONFLICT, 1)
        ran = await hivectl("request-changes", "c12")
        assert (ran.code, "give --note or --comment" in ran.err) == (Exit.USAGE, True)

    async def test_one_comment(self, hive: FakeHive, hivectl: Hivectl) -> None:
        hive.changes.add(12)
        await hivectl("comment", "c12", "Why?", "--at", "page:3")
        assert calls(hive, "comment") == [(12, "Why?", CommentOptions(None, "page", 3))]

    async def test_a_denial(self, hive: FakeHive, hivectl: Hivectl) -> None:
        hive.changes.add(12)
        ran = await hivectl("deny", "c12", "--commit", COMMIT, "--note", "No.")
        assert ran.out == "c12 is denied\n"
        assert calls(hive, "deny") == [(12, COMMIT, "No.")]
        assert (await hivectl("deny", "c12")).code == Exit.USAGE

    async def test_a_change_without_a_diff_is_denied(
        self, hive: FakeHive, hivectl: Hivectl
    ) -> None:
        hive.changes.add(12)
        hive.changes.lost = True
        ran = await hivectl("deny", "c12", "--commit", COMMIT)
        assert (ran.out, "has no commits of it" in ran.err) == ("c12 is denied\n", True)
        assert (await hivectl("deny", "c12", "--commit", BASE)).code == Exit.CONFLICT
        assert (await hivectl("deny", "c13", "--commit", COMMIT)).code == Exit.NOT_FOUND
        assert calls(hive, "deny") == [(12, COMMIT, "")]


@pytest.mark.parametrize("id", ["c", "c0", "C12", "12x", "cc1", "-1", "1" * 20])
async def test_an_id_is_a_number_or_one_with_a_c(hive: FakeHive, hivectl: Hivectl, id: str) -> None:
    ran = await hivectl("diff", "--", id)
    assert (ran.code, "is not a valid ID" in ran.err) == (Exit.USAGE, True)


async def test_a_request_is_no_change(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("review", "12")
    assert (ran.code, "is not the ID of a change" in ran.err) == (Exit.USAGE, True)


class TestFetching:
    @staticmethod
    def git(path: Path, *arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t")
        command = ["git", "-C", str(path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def bundle(self, hive: FakeHive, path: Path) -> str:
        """Give the hive a change on top of the repository at `path`; return its commit."""
        self.git(path, "init", "-q", "-b", "main")
        self.git(path, "commit", "-q", "--allow-empty", "-m", "one")
        made = self.git(path, "commit-tree", "-p", "main", "-m", "two", "main^{tree}")
        self.git(path, "update-ref", "refs/changes/12/2", made)
        self.git(path, "bundle", "create", "-q", f"{path}/.git/x", "refs/changes/12/2", "^main")
        hive.changes.bundle = (path / ".git/x").read_bytes()
        self.git(path, "update-ref", "-d", "refs/changes/12/2")
        hive.changes.add(12)
        return made

    async def test_a_change_is_fetched_into_the_clone_around(
        self, hive: FakeHive, hivectl: Hivectl, tmp_path: Path
    ) -> None:
        made = self.bundle(hive, tmp_path)
        ran = await hivectl("fetch", "website", "c12", "-C", str(tmp_path))
        assert ran.out.startswith("hive/c12 is revision 2; `git log -p origin/main..hive/c12`")
        assert self.git(tmp_path, "rev-parse", "hive/c12") == made
        assert calls(hive, "bundle") == [(12, 2)]
        ran = await hivectl("fetch", "other", "c12")
        assert (ran.code, "a change of website, not of other" in ran.err) == (Exit.USAGE, True)

    async def test_a_directory_that_is_no_clone_of_it(
        self, hive: FakeHive, hivectl: Hivectl, tmp_path: Path
    ) -> None:
        for name in ("clone", "other", "plain"):
            (tmp_path / name).mkdir()
        self.bundle(hive, tmp_path / "clone")
        ran = await hivectl("fetch", "website", "c12", "-C", str(tmp_path / "plain"))
        assert (ran.code, "is not in a clone of git" in ran.err) == (Exit.USAGE, True)
        self.git(tmp_path / "other", "init", "-q")
        ran = await hivectl("fetch", "website", "c12", "-C", str(tmp_path / "other"))
        assert (ran.code, "lacks the commit from which" in ran.err) == (Exit.CONFLICT, True)
