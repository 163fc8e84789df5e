"""Refusals and findings of a submitted commit, of which nothing runs."""

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.projects.changes import inspection, trees, tricks
from services.projects.repositories import GIT
from services.projects.tests.room_of_changes import ChangesRoom, changes_room
from services.quarantine.links import stays
from services.quarantine.runner import run
from services.quarantine.tests import objects
from services.quarantine.tests.worktree import WorkTree
from wire.errors import Conflict, HiveError, InvalidArgument, LimitExceeded, NotFound
from wire.records.lifecycle import ProjectAccess

KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----"


@pytest.fixture
async def room(tmp_path: Path, upstream: WorkTree) -> AsyncIterator[ChangesRoom]:
    upstream.commit({"src/a.py": "a\n", "tools/run": "x\n"}, {"link": "src/a.py"})
    async with changes_room(tmp_path / "projects", upstream) as room:
        yield room


@pytest.fixture
def alice(room: ChangesRoom) -> WorkTree:
    return room.copy("alice", "website")


async def findings(room: ChangesRoom, commit: str) -> list[str]:
    number = await room.submitted("alice", commit)
    return (await room.rules.get("alice", number)).revisions[-1].findings


async def refusal(room: ChangesRoom, commit: str, error: type[HiveError]) -> str:
    """Return the refusal of a commit, of which nothing stays in the repository."""
    with pytest.raises(error) as caught:
        await room.submitted("alice", commit)
    ended = await run(room.root / "website" / GIT, "cat-file", "-e", commit)
    assert ended.status, "our repository has the commit"
    assert room.change_store.find() == []
    return str(caught.value)


def forged(copy: WorkTree, name: bytes, mode: str = "100644") -> str:
    """Return a commit with a file of any name, which no git would add."""
    dot_git = copy.path / ".git"
    blob = objects.write_loose(dot_git, "blob", b"x\n")
    content = f"{mode} ".encode() + name + b"\0" + bytes.fromhex(blob)
    tree = objects.write_loose(dot_git, "tree", content)
    return objects.write_loose(
        dot_git, "commit", objects.commit(tree, copy.git("rev-parse", "HEAD"))
    )


class TestRefusals:
    async def test_no_common_history(self, room: ChangesRoom, alice: WorkTree) -> None:
        alice.git("checkout", "-q", "--orphan", "other")
        said = await refusal(room, alice.commit({"x": "y"}), Conflict)
        assert "does not descend from any commit of website" in said
        assert "Make your change on top of `origin/main`" in said

    async def test_more_than_one_place_to_begin_with(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        """Its tree is that of one place, so that a diff from there would show nothing."""
        upstream.git("checkout", "-q", "-b", "side")
        side = upstream.commit({"src/a.py": "mended\n"})
        upstream.git("checkout", "-q", "main")
        main = upstream.commit({"README": "two\n"})
        upstream.git("merge", "-q", "--no-ff", "-m", "both", "side")
        await room.fetched("website")
        alice.git("fetch", "-q", "origin")
        parents = ("-p", main, "-p", side)
        both = alice.git("commit-tree", *parents, "-m", "unseen", f"{main}^{{tree}}")
        said = await refusal(room, both, Conflict)
        assert "went apart in 2 places" in said
        assert "`git merge origin/main`" in said

    async def test_nothing_new(self, room: ChangesRoom, alice: WorkTree) -> None:
        with pytest.raises(Conflict, match="is part of the branch main of website already"):
            await room.submitted("alice", alice.git("rev-parse", "HEAD"))

    async def test_a_commit_that_there_is_not(self, room: ChangesRoom, alice: WorkTree) -> None:
        with pytest.raises(NotFound, match="There is no commit 1234567 in the repository website"):
            await room.submitted("alice", "1234567")
        with pytest.raises(InvalidArgument, match="is not a valid commit: use 7 to 40 digits"):
            await room.submitted("alice", "HEAD")
        alice.remove()
        with pytest.raises(NotFound, match="There is no repository website"):
            await room.submitted("alice", "1234567")

    async def test_too_many_commits_or_files(
        self, room: ChangesRoom, alice: WorkTree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inspection, "MAX_COMMITS", 1)
        monkeypatch.setattr(inspection, "MAX_FILES", 2)
        alice.commit({"x": "1"})
        said = await refusal(room, alice.commit({"x": "2"}), LimitExceeded)
        assert "The change has 2 commits; at most 1 are reviewed" in said
        alice.git("reset", "-q", "--hard", "origin/main")
        said = await refusal(room, alice.commit({"x": "1", "y": "2", "z": "3"}), LimitExceeded)
        assert "The change touches 3 files; at most 2" in said

    @pytest.mark.parametrize(
        "name",
        [b".git", b".GIT", b".git.", b".git ", b"git~1", b".g\xe2\x80\x8cit", b".git::$INDEX"],
    )
    async def test_a_path_that_is_gits_own(
        self, room: ChangesRoom, alice: WorkTree, name: bytes
    ) -> None:
        said = await refusal(room, forged(alice, name), InvalidArgument)
        assert "is a directory of git's own on some computers" in said

    async def test_control_characters(self, room: ChangesRoom, alice: WorkTree) -> None:
        said = await refusal(room, forged(alice, b"a\nb"), InvalidArgument)
        assert "The path 'a<U+000A>b' has control characters" in said

    async def test_a_path_that_a_later_commit_removes(
        self, room: ChangesRoom, alice: WorkTree
    ) -> None:
        bad = forged(alice, b"git~1")
        alice.git("update-ref", "refs/heads/main", bad)
        alice.git("rm", "-q", "--cached", "-r", ".")
        said = await refusal(room, alice.commit({"x": "y"}), InvalidArgument)
        assert "'git~1'" in said

    @pytest.mark.parametrize("target", ["/etc/passwd", "../x", "src/../../x", "link/../../../x"])
    async def test_a_link_that_leads_out(
        self, room: ChangesRoom, alice: WorkTree, target: str
    ) -> None:
        said = await refusal(room, alice.commit({}, {"out": target}), InvalidArgument)
        assert said.startswith(f"The symbolic link 'out' leads to '{target}', out of the reposi")

    async def test_a_link_that_another_link_leads_out(
        self, room: ChangesRoom, alice: WorkTree
    ) -> None:
        commit = alice.commit({"deep/er/x": "y"}, {"deep/up": "..", "out": "deep/up/../x"})
        await refusal(room, commit, InvalidArgument)

    async def test_a_path_that_is_too_long(
        self, room: ChangesRoom, alice: WorkTree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inspection, "MAX_PATH", 20)
        said = await refusal(room, alice.commit({f"{'deep/' * 4}x": "y"}), InvalidArgument)
        assert "has 21 bytes; at most 20 are allowed" in said

    async def test_a_link_that_stays(self, room: ChangesRoom, alice: WorkTree) -> None:
        assert await findings(room, alice.commit({}, {"src/b.py": "../link"})) == []

    @pytest.mark.parametrize(("one", "other"), [("README", "readme"), ("src/b", "SRC/c")])
    async def test_paths_that_are_one_where_case_does_not_count(
        self, room: ChangesRoom, alice: WorkTree, one: str, other: str
    ) -> None:
        said = await refusal(room, alice.commit({one: "1", other: "2"}), InvalidArgument)
        assert "are the same file where case does not count" in said

    async def test_objects_that_are_too_large(self, room: ChangesRoom, alice: WorkTree) -> None:
        await room.stop()
        room.bounds = room.bounds._replace(new=1000)
        await room.start()
        commit = alice.commit({"big": random.Random(1).randbytes(2**21)})
        said = await refusal(room, commit, LimitExceeded)
        assert "The commit and its history add 2 MiB" in said


class TestMessages:
    """The commits themselves, whose texts somebody could take for those of others."""

    def written(self, copy: WorkTree, message: bytes, *headers: bytes) -> str:
        tree, head = copy.git("rev-parse", "HEAD^{tree}"), copy.git("rev-parse", "HEAD")
        lines = [f"tree {tree}".encode(), f"parent {head}".encode()]
        who = b"a <a@hive.invalid> 1 +0000"
        lines += [b"author " + who, b"committer " + who, *headers, b"", message]
        return objects.write_loose(copy.path / ".git", "commit", b"\n".join(lines))

    async def test_an_encoding_that_hides_lines(self, room: ChangesRoom, alice: WorkTree) -> None:
        message = b"Fine.+AAo-+AAo-+AEE-pproved-by: everybody\n"
        said = await refusal(room, self.written(alice, message, b"encoding UTF-7"), InvalidArgument)
        assert "is in the encoding 'UTF-7'. Write it in UTF-8." in said

    async def test_a_text_that_ends_too_soon(self, room: ChangesRoom, alice: WorkTree) -> None:
        said = await refusal(room, self.written(alice, b"Fine.\0hidden\n"), InvalidArgument)
        assert "has a NUL, which hides what follows" in said

    async def test_a_long_message(self, room: ChangesRoom, alice: WorkTree) -> None:
        said = await refusal(room, self.written(alice, b"x" * 2**16), LimitExceeded)
        assert "The message of the commit" in said

    async def test_a_merge_of_three(self, room: ChangesRoom, alice: WorkTree) -> None:
        head = alice.git("rev-parse", "HEAD")
        alice.commit({"x": "y"})
        parents = [alice.git("rev-parse", "HEAD"), head, alice.git("rev-parse", "HEAD~1^{commit}")]
        alice.git("checkout", "-q", "-b", "side", head)
        parents[2] = alice.commit({"z": "y"})
        options = [part for parent in parents for part in ("-p", parent)]
        both = alice.git("commit-tree", *options, "-m", "x", f"{head}^{{tree}}")
        assert "merges more than two commits" in await refusal(room, both, InvalidArgument)

    async def test_forged_trailers_and_authors(self, room: ChangesRoom, alice: WorkTree) -> None:
        alice.git("config", "user.name", "x")
        message = "Fine.\n\nHive-Change: c1/1\nApproved-by: operator"
        author = ("--author", "The Boss <boss@example.org>")
        alice.git("commit", "-q", "--allow-empty", *author, "-m", message)
        commit = alice.git("rev-parse", "HEAD")
        assert await findings(room, commit) == [
            "Its messages have lines that look like those of the hive: 'Hive-Change: c1/1' "
            f"({commit[:12]}).",
            "It has commits in the name of somebody else: 'The Boss <boss@example.org>'.",
        ]

    async def test_a_merge_that_brings_what_neither_side_has(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        alice.commit({"mine": "x\n"})
        upstream.commit({"theirs": "x\n"})
        await room.fetched("website")
        alice.git("fetch", "-q", "origin")
        alice.git("merge", "-q", "--no-commit", "origin/main")
        alice.commit({"key": f"{KEY}\n"})
        alice.git("rm", "-q", "key")
        assert await findings(room, alice.commit({})) == [
            "It may contain secrets: a private key ('key':1)."
        ]


async def test_objects_of_another_project_are_not_read(
    room: ChangesRoom, alice: WorkTree, tmp_path: Path
) -> None:
    secret = WorkTree(tmp_path / "secret")
    hidden = secret.commit({"key": "s\n"})
    await room.added("other", str(secret.path))
    away = f"{room.repositories.home('other')}/objects\n"
    with (alice.path / ".git/objects/info/alternates").open("a") as file:
        file.write(away)
    assert alice.git("cat-file", "-t", hidden) == "commit", "the agent could guess it"
    await refusal(room, hidden, NotFound)
    tree = alice.git("rev-parse", f"{hidden}^{{tree}}")
    mine = alice.git("commit-tree", "-p", "HEAD", "-m", "steal", tree)
    said = await refusal(room, mine, InvalidArgument)
    assert "cannot be fetched from the repository website" in said


class TestFindings:
    async def test_nothing_to_say(self, room: ChangesRoom, alice: WorkTree) -> None:
        assert await findings(room, alice.commit({"src/a.py": "b\r\n", "ä": "ü\n"})) == []

    async def test_submodules(self, room: ChangesRoom, alice: WorkTree) -> None:
        sha = alice.git("rev-parse", "HEAD")
        alice.git("update-index", "--add", "--cacheinfo", f"160000,{sha},lib")
        text = '[submodule "lib"]\n\tpath = lib\n\turl = https://example.org/lib.git\n'
        found = await findings(room, alice.commit({".gitmodules": text}))
        assert found == [
            "It sets the submodule 'lib'.",
            "It adds submodule addresses: 'https://example.org/lib.git'.",
        ]

    async def test_an_address_of_a_submodule_that_is_an_option(
        self, room: ChangesRoom, alice: WorkTree
    ) -> None:
        text = '[submodule "lib"]\n\tpath = lib\n\turl = --upload-pack=touch /tmp/x\n'
        with pytest.raises(InvalidArgument, match="gitmodulesUrl"):
            await room.submitted("alice", alice.commit({".gitmodules": text}))

    async def test_attributes_and_lfs(self, room: ChangesRoom, alice: WorkTree) -> None:
        found = await findings(
            room,
            alice.commit(
                {
                    "src/.gitattributes": "*.bin filter=evil -text\n*.txt text\n",
                    ".lfsconfig": "[lfs]\n\turl = https://example.org\n",
                }
            ),
        )
        assert found == [
            "It adds attributes that name programs or conversions: 'filter=evil'.",
            "It changes where files of Git LFS come from: '.lfsconfig'.",
        ]

    async def test_settings_by_other_names_and_of_any_length(
        self, room: ChangesRoom, alice: WorkTree
    ) -> None:
        long = "# x\n" * 2**16 + "* filter=unseen\n"
        text = '[submodule "lib"]\n\tpath = lib\n\turl = https://example.org/lib.git\n'
        files = {"a/.gitAttributes": "* filter=evil\n", "b/.gitattributes": long}
        found = await findings(room, alice.commit({**files, ".gitModules": text}))
        assert found == [
            "It adds submodule addresses: 'https://example.org/lib.git'.",
            "It adds attributes that name programs or conversions: 'filter=evil', "
            "'(the rest of the file was not read)'.",
        ]

    async def test_programs(self, room: ChangesRoom, alice: WorkTree) -> None:
        (alice.path / "tools/run").chmod(0o755)
        alice.git("add", "tools/run")
        found = await findings(room, alice.commit({".github/workflows/ci.yml": "on: push\n"}))
        assert found == [
            "It changes what the forge or a hook may run: '.github/workflows/ci.yml'.",
            "It makes executable: 'tools/run'.",
        ]

    async def test_secrets_also_those_that_a_later_commit_removes(
        self, room: ChangesRoom, alice: WorkTree
    ) -> None:
        alice.commit({"id": f"one\ntwo\n{KEY}\n"})
        found = await findings(room, alice.commit({"id": "nothing\n"}))
        assert found == ["It may contain secrets: a private key ('id':3)."]

    async def test_a_diff_that_is_too_long_to_be_searched(
        self, room: ChangesRoom, alice: WorkTree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inspection, "_SCANNED", 2**20)
        text = "x\n" * 2**20
        found = await findings(room, alice.commit({"a": text, "b": f"{KEY}\n"}))
        assert found == ["It may contain secrets: what follows the first 1 MiB was not searched."]

    async def test_secrets_at_their_places(self, room: ChangesRoom, alice: WorkTree) -> None:
        """Also behind a text that looks like the head of a file."""
        alice.commit({"ä": "1\n2\n3\n", "b": f"x\n++ b/other\n{KEY} {KEY}\n"})
        found = await findings(room, alice.commit({"ä": f"1\n{KEY}\n3\n4\n{KEY}"}))
        assert found == [
            r"It may contain secrets: a private key ('\303\244':2), a private key "
            r"('\303\244':5), a private key ('b':3)."
        ]

    async def test_many_things_are_counted(self, room: ChangesRoom, alice: WorkTree) -> None:
        found = await findings(room, alice.commit({f"{i}/.lfsconfig": "x\n" for i in range(7)}))
        assert found[0].endswith("'4/.lfsconfig' and 2 more.")

    async def test_what_upstream_has_is_not_the_agents(
        self, room: ChangesRoom, alice: WorkTree, upstream: WorkTree
    ) -> None:
        commit = alice.commit({"x": "y"})
        upstream.commit({"id": f"{KEY}\n"}, {"out": "/etc/passwd"})
        await room.fetched("website")
        alice.git("fetch", "-q", "origin")
        alice.git("merge", "-q", "-m", "merge", "origin/main")
        assert alice.git("rev-parse", "HEAD") != commit
        assert await findings(room, alice.git("rev-parse", "HEAD")) == []


class TestOrdinaryOddities:
    async def test_names_and_messages_that_are_not_utf8(
        self, room: ChangesRoom, alice: WorkTree
    ) -> None:
        number = await room.submitted("alice", forged(alice, b"caf\xe9"))
        shown = await room.diffed(number)
        assert "caf\\xe9" in {one.path for one in shown.files}

    async def test_an_empty_commit_and_a_merge(self, room: ChangesRoom, alice: WorkTree) -> None:
        alice.git("checkout", "-q", "-b", "side")
        alice.commit({})
        alice.git("checkout", "-q", "--detach", "main")
        alice.commit({"x": "y"})
        alice.git("merge", "-q", "-m", "both", "side")
        number = await room.submitted("alice", alice.git("rev-parse", "HEAD"))
        shown = await room.diffed(number)
        assert sorted(one.subject for one in shown.commits) == ["a change", "a change", "both"]
        assert [one.path for one in shown.files] == ["x"]

    async def test_a_shallow_and_a_partial_project(
        self, room: ChangesRoom, upstream: WorkTree
    ) -> None:
        upstream.git("config", "uploadpack.allowFilter", "true")
        for name, options in (("flat", {"depth": 1}), ("part", {"filter": "blob:none"})):
            found = await room.added(name, str(upstream.path), **options)
            assert found.message == ""
            copy = WorkTree(room.copies / "alice" / "work" / name)
            copy.git("fetch", "-q", str(upstream.path), "main")
            copy.git("reset", "-q", "--hard", "FETCH_HEAD")
            room.members.known.setdefault("alice", {})[name] = ProjectAccess(
                name, readonly=False, branches=[]
            )
            number = await room.submitted("alice", copy.commit({"n": "m\n"}), project=name)
            shown = await room.diffed(number)
            assert [one.path for one in shown.files] == ["n"], name
            assert shown.conflicts == []


def test_deep_paths_take_no_time_of_others() -> None:
    """An agent could keep the service busy for minutes; this takes less than a second."""
    deep = "/".join(["a"] * 2000)
    added = [f"{deep}/{n}".encode() for n in range(1000)]
    present = [*added, *(deep[: 2 * n + 1].encode() for n in range(2000))]
    begin = time.monotonic()
    assert tricks.collision(added, present) is None
    assert tricks.dot_git(present) is None
    assert time.monotonic() - begin < 30
    assert tricks.collision([b"A/b/c"], [b"a", b"A", b"A/b", b"A/b/c"]) == ("A", "a")
    assert tricks.collision([b"b"], [b"a", b"A", b"b"]) is None, "upstream has it so"


def test_an_intricate_link_does_not_stay() -> None:
    links = {f"l{n}": f"{'a/../' * 800}l{n + 1}" for n in range(39)}
    assert not stays("l0", links)
    assert stays("l0", {"l0": "a/../l1", "l1": "x"})


def test_plain_names_are_not_git() -> None:
    for name in (b"git", b".gitignore", b"a.git", b"git~x", b"x/.github/y", b"dot.git/a"):
        assert not tricks.dot_git([name])
    assert tricks.dot_git([b"x/.git/config"])
    assert trees.text(b"a\xff") == "a\\xff"
