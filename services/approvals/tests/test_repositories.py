"""Commits, tags and diffs in real repositories."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from git import Repo

from services.approvals.git import repositories
from services.approvals.git.repositories import Repositories
from services.quarantine.runner import Ended, run
from services.quarantine.tests.worktree import WorkTree
from wire.errors import Conflict, InvalidArgument, LimitExceeded, NotFound

SHA = "0123456789" * 4


@pytest.fixture
async def ours(tmp_path: Path) -> Repositories:
    made = Repositories(tmp_path, scratch=tmp_path)
    await made.prepare()
    await made.create("alice")
    return made


@pytest.fixture
def theirs(tmp_path: Path, ours: Repositories) -> WorkTree:
    return WorkTree(tmp_path / "proposed/alice")


async def test_a_commit_is_ours_once_it_is_fetched(ours: Repositories, theirs: WorkTree) -> None:
    first = theirs.commit({"agent.toml": "a = 1\n", "notes/x": "hello"})
    second = theirs.commit({"agent.toml": "a = 2\n"})
    assert await ours.fetch("alice", second) == second
    theirs.remove()
    assert await ours.read("alice", second, "agent.toml") == "a = 2\n"
    assert await ours.read("alice", first, "notes/x") == "hello"
    assert await ours.fetch("alice", second) == second
    assert await ours.fetch("alice", second[:8]) == second


async def test_a_file_that_is_not_text_is_named(ours: Repositories, theirs: WorkTree) -> None:
    commit = await ours.fetch("alice", theirs.commit({"agent.toml": b"a = 1\n\xff"}))
    with pytest.raises(InvalidArgument, match=r"^agent\.toml is not valid UTF-8 at byte 6\.$"):
        await ours.read("alice", commit, "agent.toml")


@pytest.mark.parametrize("packed", [False, True])
async def test_an_abbreviated_commit_is_found(
    ours: Repositories, theirs: WorkTree, packed: bool
) -> None:
    commit = theirs.commit({"agent.toml": ""})
    if packed:
        theirs.git("gc", "-q")
        assert not list(theirs.path.glob(".git/objects/[0-9a-f][0-9a-f]"))
    assert await ours.fetch("alice", commit[:7]) == commit
    assert await ours.resolve("alice", commit) == commit


async def test_a_repository_without_packs_has_no_directory_for_them(
    ours: Repositories, theirs: WorkTree
) -> None:
    commit = theirs.commit({"agent.toml": ""})
    (theirs.path / ".git/objects/pack").rmdir()
    assert await ours.fetch("alice", commit) == commit


async def test_a_missing_commit_or_repository_is_not_found(
    ours: Repositories, theirs: WorkTree
) -> None:
    commit = theirs.commit({"agent.toml": ""})
    with pytest.raises(NotFound, match="There is no commit 0123456 in the repository alice"):
        await ours.fetch("alice", SHA[:7])
    with pytest.raises(InvalidArgument, match="7 to 40 digits"):
        await ours.fetch("alice", "main")
    with pytest.raises(NotFound, match="no configurations of the agent 'bob'"):
        await ours.fetch("bob", commit)
    theirs.remove()
    with pytest.raises(NotFound, match="There is no repository alice"):
        await ours.fetch("alice", commit)
    blob = await ours.commit_file("alice", "x", "m", parent=None)
    tree = await ours.resolve("alice", blob)
    assert tree == blob


async def test_a_tree_or_a_file_is_no_commit(ours: Repositories, theirs: WorkTree) -> None:
    theirs.commit({"agent.toml": ""})
    tree = theirs.git("rev-parse", "HEAD^{tree}")
    with pytest.raises(NotFound, match="There is no commit"):
        await ours.fetch("alice", tree)


async def test_a_file_is_committed_on_top_of_nothing_and_of_something(
    ours: Repositories, theirs: WorkTree, tmp_path: Path
) -> None:
    initial = await ours.commit_file("alice", "a = 1\n", "Begin", parent=None)
    theirs.pull(tmp_path / "applied/alice", initial)
    commit = theirs.commit({"other": "kept"})
    await ours.fetch("alice", commit)
    third = await ours.commit_file("alice", "a = 3\n", "Say\n\n# three", parent=commit)
    assert await ours.read("alice", third, "agent.toml") == "a = 3\n"
    assert await ours.read("alice", third, "other") == "kept"
    assert await ours.descends("alice", third, initial)
    assert await ours.descends("alice", third, third)
    assert not await ours.descends("alice", initial, third)
    with pytest.raises(NotFound):
        await ours.descends("alice", initial, SHA)
    with pytest.raises(NotFound):
        await ours.read("alice", third, "none")


async def test_tags_tell_the_history(ours: Repositories, tmp_path: Path) -> None:
    one = await ours.commit_file("alice", "a = 1\n", "Begin", parent=None)
    two = await ours.commit_file("alice", "a = 2\n", "Go on", parent=one)
    for _ in range(2):  # the second time changes nothing
        await ours.tag("alice", "proposal/1", one)
        await ours.tag("alice", "failed/1", one, "no such package\n\n# line 2\x00\n")
    await ours.tag("alice", "deployed/2", two)
    assert await ours.tags("alice") == {"proposal/1": one, "failed/1": one, "deployed/2": two}
    # As somebody else reads them.
    with Repo(tmp_path / "applied/alice") as found:
        tags = {tag.name: tag for tag in found.tags}
        assert {name: tag.commit.hexsha for name, tag in tags.items()} == await ours.tags("alice")
        assert tags["proposal/1"].tag is None
        note = tags["failed/1"].tag
        assert note is not None
        assert note.message == "no such package\n\n# line 2"
        assert note.tagger.email == "hyperhive@hive.invalid"
        assert [c.hexsha for c in found.iter_commits(two)] == [two, one]
    with pytest.raises(Conflict):
        await ours.tag("alice", "proposal/1", two)
    with pytest.raises(NotFound):
        await ours.tag("alice", "proposal/3", SHA)
    for name in ("main", "proposal/x", "../../x/1", "-d/1", "proposal/1.lock"):
        with pytest.raises(InvalidArgument):
            await ours.tag("alice", name, one)


async def test_main_is_what_is_deployed(ours: Repositories, tmp_path: Path) -> None:
    assert await ours.resolve("alice", "main") is None
    one = await ours.commit_file("alice", "a = 1\n", "Begin", parent=None)
    os.utime(tmp_path / "applied", (0, 0))
    await ours.move_main("alice", one)
    # By this the manager's harness sees that there is something new.
    assert (tmp_path / "applied").stat().st_mtime > 0
    assert await ours.resolve("alice", "main") == one
    assert await ours.resolve("alice", "deployed/7") is None
    assert await ours.resolve("alice", "--all") is None
    with pytest.raises(NotFound):
        await ours.move_main("alice", SHA)


async def test_a_diff_shows_the_configuration_first(ours: Repositories, theirs: WorkTree) -> None:
    one = theirs.commit({"agent.toml": "a = 1\n", "A": "x\n"})
    two = theirs.commit({"agent.toml": "a = 2\n", "A": "y\n", "z.bin": b"\0\1\2"})
    await ours.fetch("alice", two)
    diff = await ours.diff("alice", one, two)
    assert diff.startswith("diff --git a/agent.toml b/agent.toml\n")
    assert "-a = 1\n+a = 2\n" in diff
    assert "Binary files /dev/null and b/z.bin differ\n" in diff
    assert "+a = 1\n" in await ours.diff("alice", None, one)
    assert await ours.diff("alice", one, one) == ""
    with pytest.raises(NotFound):
        await ours.diff("alice", one, SHA)


async def test_a_long_diff_is_cut_and_says_so(ours: Repositories, theirs: WorkTree) -> None:
    commit = theirs.commit({"agent.toml": "a = 1\n", "a": "word\n" * 100_000})
    await ours.fetch("alice", commit)
    diff = await ours.diff("alice", None, commit)
    assert "+a = 1\n" in diff
    assert "+word\n[cut here: the diff is longer than 256 KiB. To see all of it:" in diff
    assert "runuser -u hive-approvals -- git --git-dir=" in diff
    assert len(diff) < repositories.MAX_DIFF + 500


async def test_a_few_diffs_are_made_at_a_time(
    ours: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = await ours.commit_file("alice", "a = 1\n", "Begin", parent=None)
    running, most = 0, 0

    async def counting(*arguments: Any, **options: Any) -> Ended:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await run(*arguments, **options)
        finally:
            running -= 1

    monkeypatch.setattr(repositories, "run", counting)
    await asyncio.gather(*(ours.diff("alice", None, commit) for _ in range(9)))
    assert most == 2


async def test_agents_come_and_go(ours: Repositories) -> None:
    await ours.create("bob")
    await ours.create("bob")
    assert ours.agents() == ["alice", "bob"]
    await ours.remove("bob")
    await ours.remove("bob")
    await ours.remove("../../etc")
    assert ours.agents() == ["alice"]
    for name in ("", "..", "a/b", "-x"):
        with pytest.raises(InvalidArgument):
            await ours.create(name)


async def test_the_operator_may_remove_a_repository_at_the_same_time(
    ours: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = shutil.rmtree, 0

    def raced(path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            (path / "config").unlink()
            raise FileNotFoundError(path / "config")
        real(path)

    monkeypatch.setattr(shutil, "rmtree", raced)
    await ours.remove("alice")
    assert list((tmp_path / "applied").iterdir()) == []


async def test_the_leftovers_of_a_killed_git_are_removed(
    ours: Repositories, tmp_path: Path
) -> None:
    one = await ours.commit_file("alice", "a = 1\n", "Begin", parent=None)
    await ours.tag("alice", "proposal/1", one)
    home = tmp_path / "applied/alice"
    left = [
        home / "refs/tags/proposal/1.lock",
        home / "refs/heads/main.lock",
        home / "HEAD.lock",
        home / "packed-refs.lock",
        home / "objects/pack/tmp_pack_x1",
        home / f"objects/{one[:2]}/tmp_obj_x",
        home / "objects/tmp_objdir-remerge-diff-x/ab/cd",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "applied/.new-carol").mkdir()
    with pytest.raises(Exception, match="lock"):
        await ours.move_main("alice", one)
    await ours.prepare()
    await ours.move_main("alice", one)
    assert not [path for path in left if path.exists()]
    assert [path.name for path in (tmp_path / "applied").iterdir()] == ["alice"]


async def test_everybody_may_read_what_is_applied(
    ours: Repositories, theirs: WorkTree, tmp_path: Path, umask: Callable[[int], None]
) -> None:
    umask(0o077)
    await ours.create("bob")
    commit = theirs.commit({"agent.toml": ""})
    await ours.fetch("alice", commit)
    await ours.tag("alice", "proposal/1", commit, "x")
    for path in (tmp_path / "applied").rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o055 == 0o055 if path.is_dir() else mode & 0o044 == 0o044, path
        assert not mode & 0o022, path


class TestCheck:
    async def refused(
        self, ours: Repositories, theirs: WorkTree, commit: str, base: str | None = None
    ) -> str:
        await ours.fetch("alice", commit)
        with pytest.raises((InvalidArgument, LimitExceeded)) as caught:
            await ours.check("alice", commit, base=base)
        return str(caught.value)

    async def test_a_plain_tree(self, ours: Repositories, theirs: WorkTree) -> None:
        commit = theirs.commit({"agent.toml": "", "a/b": "x"}, links={"a/l": "b", "m": "a/l"})
        await ours.fetch("alice", commit)
        await ours.check("alice", commit, base=None)
        await ours.check("alice", commit, base=commit)

    async def test_agent_toml(self, ours: Repositories, theirs: WorkTree) -> None:
        missing = theirs.commit({"x": ""})
        assert "no file agent.toml" in await self.refused(ours, theirs, missing)
        large = theirs.commit({"agent.toml": "#" * 65537})
        assert "larger than 64 KiB" in await self.refused(ours, theirs, large)
        theirs.git("rm", "-q", "agent.toml")
        link = theirs.commit({}, links={"agent.toml": "x"})
        assert "no file agent.toml" in await self.refused(ours, theirs, link)
        theirs.git("rm", "-q", "agent.toml")
        folder = theirs.commit({"agent.toml/x": ""})
        assert "no file agent.toml" in await self.refused(ours, theirs, folder)

    async def test_flake_nix_is_the_hives(self, ours: Repositories, theirs: WorkTree) -> None:
        none = theirs.commit({"agent.toml": ""})
        some = theirs.commit({"flake.nix": "{}"})
        other = theirs.commit({"flake.nix": "{ }"})
        assert "changes flake.nix" in await self.refused(ours, theirs, some)
        assert "changes flake.nix" in await self.refused(ours, theirs, some, none)
        assert "changes flake.nix" in await self.refused(ours, theirs, other, some)
        assert "changes flake.nix" in await self.refused(ours, theirs, none, some)
        await ours.check("alice", other, base=other)

    @pytest.mark.parametrize(
        "links",
        [
            {"l": "/etc/passwd"},
            {"l": "../x"},
            {"a/l": "../../x"},
            {"p/q/l": "../..", "p/q/m": "l/../x"},  # plain by the letter, not by the way
            {"l": "m", "m": "l"},
        ],
    )
    async def test_links_that_lead_out(
        self, ours: Repositories, theirs: WorkTree, links: dict[str, str]
    ) -> None:
        commit = theirs.commit({"agent.toml": ""}, links=links)
        assert "points out" in await self.refused(ours, theirs, commit)

    async def test_submodules(self, ours: Repositories, theirs: WorkTree) -> None:
        theirs.commit({"agent.toml": ""})
        theirs.git("update-index", "--add", "--cacheinfo", f"160000,{SHA},inner")
        commit = theirs.commit({})
        assert "'inner' is a submodule" in await self.refused(ours, theirs, commit)

    async def test_sizes(self, ours: Repositories, theirs: WorkTree) -> None:
        many = theirs.commit({"agent.toml": "", **{f"f{n}": "" for n in range(2000)}})
        assert "more than 2000 files" in await self.refused(ours, theirs, many)
        theirs.git("rm", "-q", "f*")
        half = {f"half{n}": bytes(5_000_001) for n in range(2)}
        assert "more than 10 MB" in await self.refused(ours, theirs, theirs.commit({**half}))
        links = {f"l{n}": "half0" for n in range(101)}
        theirs.git("rm", "-q", "half0", "half1")
        assert "symbolic links" in await self.refused(ours, theirs, theirs.commit({}, links=links))


async def test_a_diff_has_every_line_of_the_configuration(
    ours: Repositories, theirs: WorkTree
) -> None:
    """One line that ends a text early makes settings of lines far below, which do not change."""
    text = "prompt = '''\n# Be kind.\n{end}" + "# rule\n" * 40 + "nested = true\n# end '''\n"
    one = theirs.commit({"agent.toml": text.format(end=""), "A": "x\n" * 40})
    two = theirs.commit({"agent.toml": text.format(end="'''\n"), "A": "x\n" * 20 + "y\n" * 20})
    await ours.fetch("alice", two)
    diff = await ours.diff("alice", one, two)
    assert "\n+'''\n" in diff
    assert "\n nested = true\n" in diff
    assert "\n x\n x\n x\n-x\n" in diff
    assert "\n x\n x\n x\n x\n" not in diff
