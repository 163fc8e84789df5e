"""Working copies of projects: made, told of moves, and reset."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.config import Config, Paths
from harness.projects import instructions
from harness.projects.copy import CopyError, WorkingCopy
from harness.projects.moves import FILE, Moves
from harness.projects.project import Project, projects_of, working_directory
from harness.projects.projects import Projects
from harness.prompts.prompt import system_prompt
from harness.tests.upstream import Upstream, git


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path)
    made.commit("one\n")
    return made


def work(copy: Path, text: str, file: str = "README", branch: str = "topic") -> str:
    """Commit a file on a branch of the agent; return the commit."""
    git(copy, "switch", "-q", "-C", branch)
    (copy / file).write_text(text)
    git(copy, "add", "-A")
    git(copy, "commit", "-q", "-m", "mine")
    return git(copy, "rev-parse", "HEAD")


# The working copy


async def test_a_copy_borrows_all_objects(upstream: Upstream) -> None:
    tip = upstream.commit("two\n")
    path = (await upstream.made()).path
    assert (path / "README").read_text() == "two\n"
    assert git(path, "rev-parse", "HEAD", "origin/HEAD", "main") == f"{tip}\n{tip}\n{tip}"
    assert git(path, "remote", "get-url", "origin") == str(upstream.path)
    assert "count: 0" in git(path, "count-objects", "-v")
    assert "in-pack: 0" in git(path, "count-objects", "-v")
    mine = work(path, "mine\n")
    assert git(path, "log", "--format=%H", "-2") == f"{mine}\n{tip}"
    await upstream.made()
    assert (path / "README").read_text() == "mine\n", "it is made once"


async def test_a_copy_survives_a_rewritten_and_packed_project(upstream: Upstream) -> None:
    tip = upstream.commit("two\n")
    path = (await upstream.made()).path
    mine = work(path, "mine\n")
    git(upstream.source, "commit", "-q", "--amend", "-m", "another")
    assert upstream.fetch() != tip
    git(upstream.path, "repack", "-a", "-d", "-q", "--keep-unreachable")
    git(path, "gc", "-q", "--prune=now")
    assert git(path, "log", "--format=%H", "-2") == f"{mine}\n{tip}"
    assert "missing" not in git(path, "fsck", "--full", "--no-dangling")


async def test_a_project_gets_its_first_commit_later(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path)
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(upstream.path))
    copy = await upstream.made()
    assert git(copy.path, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert await copy.tip() is None
    tip = upstream.commit("one\n")
    git(copy.path, "symbolic-ref", "HEAD", "refs/heads/pages")
    await copy.prepare()
    assert await copy.head() is None, "the agent has begun a branch without parents"
    git(copy.path, "symbolic-ref", "HEAD", "refs/heads/main")
    await copy.prepare()
    assert await copy.head() == tip


@pytest.mark.parametrize("option", ["--depth=1", "--filter=blob:none"])
async def test_a_copy_of_a_part_of_a_project(tmp_path: Path, option: str) -> None:
    upstream = Upstream(tmp_path, "web", option)
    upstream.commit("one\n")
    if option.startswith("--filter"):
        for key, value in (
            ("core.repositoryFormatVersion", "1"),
            ("extensions.partialClone", "upstream"),
            ("remote.upstream.promisor", "true"),
            ("remote.upstream.url", f"file://{upstream.source}"),
            ("remote.upstream.partialCloneFilter", "blob:none"),
        ):
            git(upstream.path, "config", key, value)
    upstream.commit("two\n")
    tip = upstream.commit("three\n")
    git(upstream.path, "cat-file", "blob", "main:README")  # as the host brings the files of main
    copy = await upstream.made()
    assert (copy.path / "README").read_text() == "three\n"
    work(copy.path, "mine\n")
    assert git(copy.path, "rev-parse", "HEAD^") == tip
    upstream.commit("four\n", "other")
    git(upstream.path, "cat-file", "blob", "main:other")
    await copy.fetch()
    git(copy.path, "merge", "-q", "-m", "merged", "origin/main")
    assert (copy.path / "other").read_text() == "four\n"


async def test_a_copy_is_complete_or_not_there(upstream: Upstream) -> None:
    (upstream.work / ".web.new").mkdir()
    (upstream.work / ".web.new/half").touch()
    copy = upstream.copy()
    copy.path.mkdir()
    await copy.prepare()
    assert not (upstream.work / ".web.new").exists()
    shutil.rmtree(copy.path)
    copy.path.mkdir()
    (copy.path / "mine").touch()
    with pytest.raises(CopyError, match=r"there are files, and no repository.*project reset"):
        await copy.prepare()
    shutil.rmtree(upstream.path)
    shutil.rmtree(copy.path)
    with pytest.raises(CopyError, match=r"of the project web cannot be made: .*not the repository"):
        await copy.prepare()


# The end of a project


async def test_a_copy_that_keeps_its_objects_needs_no_project(upstream: Upstream) -> None:
    upstream.commit("two\n")
    git(upstream.path, "repack", "-a", "-d", "-q")
    upstream.commit("three\n")
    (upstream.path / "objects/00").mkdir(exist_ok=True)
    (upstream.path / "objects/00/tmp_obj_x").touch()
    copy = await upstream.made()
    mine = work(copy.path, "mine\n")
    await copy.keep_objects()
    git(upstream.path, "gc", "-q")
    upstream.path.rename(upstream.root / "gone")
    assert git(copy.path, "fsck", "--full", "--no-dangling") == ""
    assert len(git(copy.path, "log", "--format=%H", mine).splitlines()) == 4
    assert not (copy.path / ".git/objects/info/alternates").exists()
    await copy.keep_objects()
    (upstream.root / "gone").rename(upstream.path)
    await copy.prepare()
    assert (copy.path / ".git/objects/info/alternates").exists(), "it has the project again"


async def test_lines_of_the_agent_about_borrowed_objects_stay(upstream: Upstream) -> None:
    copy = await upstream.made()
    file = copy.path / ".git/objects/info/alternates"
    borrowed, own = file.read_bytes(), b"/gone/\xff\r\x0c\n"
    file.write_bytes(own)
    await copy.prepare()
    assert file.read_bytes() == own + borrowed
    await copy.keep_objects()
    assert file.read_bytes() == own


async def test_packs_that_vanish_meanwhile_are_looked_for_again(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(upstream.path, "repack", "-a", "-d", "-q")
    copy = await upstream.made()
    copied: list[Path] = []

    def pack_anew(source: Path, target: Path) -> None:
        if not copied:
            upstream.commit("two\n")
            git(upstream.path, "repack", "-a", "-d", "-q")
        copied.append(source)
        copy_file(source, target)

    copy_file = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", pack_anew)
    await copy.keep_objects()
    upstream.path.rename(upstream.root / "gone")
    assert git(copy.path, "fsck", "--full", "--no-dangling") == ""
    assert not list((copy.path / ".git/objects").rglob("tmp_*"))


async def test_objects_that_cannot_be_copied_are_borrowed_still(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = await upstream.made()

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CopyError, match=r"web cannot be copied: No space left on device"):
        await copy.keep_objects()
    assert git(copy.path, "fsck", "--full", "--no-dangling") == ""


# Moves of the branch


async def told(copy: WorkingCopy, moves: Moves) -> str:
    text = "\n".join(await moves.news([copy]))
    moves.told()
    return text


async def test_an_agent_is_told_once_how_the_branch_moved(upstream: Upstream) -> None:
    old = upstream.commit("two\n")
    copy = await upstream.made()
    moves = Moves(upstream.root)
    await moves.learn(copy)
    assert await told(copy, moves) == "", "it knows its own copy"
    upstream.commit("three\n")
    tip = upstream.commit("four\n")
    assert await moves.is_untold(copy)
    way = f"`main` of the project web has moved from {old[:12]} to {tip[:12]}: 2 commits."
    ahead = "has no commits of its own: `git merge --ff-only origin/main` brings it up to date"
    news = await moves.news([copy])
    assert way in news[0]
    assert ahead in news[0]
    assert await moves.news([copy]) == news, "until it has been told"
    moves.told()
    assert not await moves.is_untold(copy)
    assert await Moves(upstream.root).news([copy]) == [], "after a restart, too"
    git(copy.path, "merge", "-q", "--ff-only", "origin/main")
    upstream.commit("five\n")
    git(copy.path, "fetch", "-q")
    git(copy.path, "merge", "-q", "--ff-only", "origin/main")
    text = await told(copy, moves)
    assert ": 1 commit." in text
    assert "has it already" in text


async def test_an_agent_is_told_whether_its_branch_conflicts(upstream: Upstream) -> None:
    copy = await upstream.made()
    moves = Moves(upstream.root)
    await moves.learn(copy)
    work(copy.path, "mine\n", "b`c\n")
    (copy.path / "README").write_text("not committed\n")
    upstream.commit("two\n")
    text = await told(copy, moves)
    assert "Your branch `topic`" in text
    assert "with its commit, does not conflict with `origin/main`." in text
    upstream.commit("theirs\n", "b`c\n")
    assert "conflicts with `origin/main` in `b'c`: merge or rebase" in await told(copy, moves)
    assert (copy.path / "README").read_text() == "not committed\n", "nothing is touched"
    git(copy.path, "checkout", "-q", "--force", "--detach")
    upstream.commit("three\n")
    assert "The commit that you work on" in await told(copy, moves)


async def test_a_rewritten_branch_is_called_that(upstream: Upstream) -> None:
    copy = await upstream.made()
    moves = Moves(upstream.root)
    await moves.learn(copy)
    git(upstream.source, "commit", "-q", "--amend", "-m", "another")
    upstream.fetch()
    text = await told(copy, moves)
    assert "has been rewritten, from" in text
    assert "1 commit that the one before does not have" in text


async def test_another_branch_of_the_project_is_told(upstream: Upstream) -> None:
    copy = await upstream.made()
    moves = Moves(upstream.root)
    await moves.learn(copy)
    git(upstream.source, "branch", "next")
    upstream.fetch()
    git(upstream.path, "symbolic-ref", "HEAD", "refs/heads/next")
    text = await told(copy, moves)
    assert "The branch of the project web is `next` now, at" in text
    assert "it was `main`." in text
    assert await told(copy, moves) == ""


async def test_a_commit_that_is_gone_and_a_broken_copy_are_told(upstream: Upstream) -> None:
    copy = await upstream.made()
    (upstream.root / FILE).write_text(json.dumps({"web": ["main", "1" * 40], "x": 3}))
    moves = Moves(upstream.root)
    text = await told(copy, moves)
    assert f"has moved from {'1' * 12} to " in text
    upstream.commit("two\n")
    (copy.path / ".git/HEAD").write_text("broken")
    assert f"its working copy {copy.path} could not follow" in await told(copy, moves)


@pytest.fixture
def waking(upstream: Upstream) -> Projects:
    """An agent that wants to be told of moves of web at once, and has docs, too."""
    git(upstream.root, "clone", "-q", "--bare", str(upstream.path), str(upstream.projects / "docs"))
    (upstream.projects / "docs").rename(upstream.projects / "docs.git")
    environment = {"HIVE_WORK": str(upstream.work), "HIVE_PROJECTS": str(upstream.projects)}
    paths = Paths.from_environment(environment | {"HIVE_STATE": str(upstream.root)})
    entries: list[dict[str, Any]] = [{"name": "web", "wake": True}, {"name": "docs"}]
    return Projects(Config("zoe", projects=entries), paths, lambda note: None)


@asynccontextmanager
async def running(projects: Projects) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(projects.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_move_begins_one_turn_while_the_copy_cannot_be_made(
    upstream: Upstream, waking: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: asyncio.Queue[bool] = asyncio.Queue()
    look = Moves.is_untold

    async def looked(moves: Moves, copy: WorkingCopy) -> bool:
        untold = await look(moves, copy)
        looks.put_nowait(untold)
        return untold

    monkeypatch.setattr(Moves, "is_untold", looked)
    await waking.prepare()
    shutil.rmtree(upstream.work / "web/.git")
    async with running(waking), asyncio.timeout(60):
        assert not await looks.get()
        upstream.commit("two\n")
        while not await looks.get():
            pass
        await waking.prepare()  # the turn
        [told] = await waking.news()
        assert "there are files, and no repository" in told
        while not looks.empty():
            looks.get_nowait()
        waking.told()
        assert not await looks.get(), "no second turn begins"
        assert not waking.has_moved
        await waking.reset("web", "operator")
        await waking.prepare()
        [_, move] = await waking.news()
        assert "`main` of the project web has moved from" in move
        waking.told()
        upstream.commit("three\n")
        while not await looks.get():
            pass


async def test_branches_that_are_missing_are_looked_for_after_a_turn(
    upstream: Upstream, waking: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, moved = asyncio.Event(), asyncio.Event()
    looks: list[Path] = []
    references = WorkingCopy.references

    def counted(copy: WorkingCopy) -> list[Path]:
        looks.append(copy.upstream)
        looked.set()
        assert len(looks) < 100, "it looks again and again"
        return references(copy)

    monkeypatch.setattr(WorkingCopy, "references", counted)
    waking.on_move = moved.set
    await waking.prepare()
    heads = upstream.path / "refs/heads"
    heads.rename(upstream.path / "away")
    async with running(waking) as task, asyncio.timeout(60):
        await asyncio.wait(
            [task, asyncio.create_task(looked.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        assert not task.done()
        assert len(looks) == 1
        (upstream.path / "away").rename(heads)
        upstream.commit("two\n")
        waking.told()
        await moved.wait()


async def test_a_project_whose_objects_were_kept_is_left_alone(
    upstream: Upstream, waking: Projects
) -> None:
    await waking.prepare()
    made = [upstream.work / name / ".git/objects/info/alternates" for name in ("web", "docs")]
    assert [file.exists() for file in made] == [True, True]
    async with running(waking) as task, asyncio.timeout(60):
        await waking.keep_objects(["web", "none"])
        await waking.prepare()  # a turn that begins before the harness ends
        assert [file.exists() for file in made] == [False, True]
        await task
        assert not waking.has_moved
        assert await waking.news() == []
        await waking.keep_objects(["web"])
        with pytest.raises(CopyError, match=r"has no project 'web'\. Its projects: docs"):
            await waking.reset("web", "operator")


# Resets


async def test_a_reset_keeps_the_work(upstream: Upstream) -> None:
    copy = await upstream.made()
    path = copy.path
    (path / ".gitignore").write_text("built\n")
    mine = work(path, "mine\n")
    git(path, "worktree", "add", "-q", str(path.with_name("web@fix")), "-b", "fix", "main")
    (path / "new").write_text("new\n")
    (path / "README").write_text("changed\n")
    (path / "built").write_text("built\n")
    (path / ".git/index.lock").touch()
    tip = upstream.commit("theirs\n")
    said = await copy.reset()
    assert git(path, "rev-parse", "HEAD", "main") == f"{tip}\n{tip}"
    assert git(path, "status", "--porcelain", "--ignored") == "?? built", "no .gitignore any more"
    [kept] = git(path, "for-each-ref", "--format=%(refname)", "refs/hive/kept").splitlines()
    assert kept in said
    assert git(path, "rev-parse", f"{kept}^") == mine == git(path, "rev-parse", "topic")
    assert git(path, "show", f"{kept}:new", f"{kept}:README") == "new\nchanged"
    assert git(path.with_name("web@fix"), "status", "--porcelain") == ""


async def test_a_reset_keeps_the_commits_of_the_branch_that_moves(upstream: Upstream) -> None:
    copy = await upstream.made()
    own = work(copy.path, "own\n", branch="main")
    git(copy.path, "switch", "-q", "-c", "topic", "origin/main")
    await copy.reset()
    kept = git(copy.path, "for-each-ref", "--format=%(objectname)", "refs/hive/kept")
    assert own in kept.splitlines()


async def test_a_reset_ends_a_merge(upstream: Upstream) -> None:
    copy = await upstream.made()
    work(copy.path, "mine\n")
    upstream.commit("theirs\n")
    await copy.fetch()
    with pytest.raises(AssertionError):
        git(copy.path, "merge", "-q", "origin/main")
    await copy.reset()
    assert git(copy.path, "status", "--porcelain") == ""
    assert not (copy.path / ".git/MERGE_HEAD").exists()
    [kept] = git(copy.path, "for-each-ref", "--format=%(refname)", "refs/hive/kept").splitlines()
    assert "<<<<<<<" in git(copy.path, "show", f"{kept}:README")


@pytest.mark.parametrize("damage", ["broken", "gone", "file"])
async def test_a_broken_copy_is_set_aside(upstream: Upstream, damage: str) -> None:
    copy = await upstream.made()
    work(copy.path, "mine\n")
    match damage:
        case "broken":
            (copy.path / ".git/HEAD").write_text("broken")
        case "gone":
            shutil.rmtree(copy.path / ".git")
        case "file":
            shutil.rmtree(copy.path)
            copy.path.write_text("mine\n")
    said = await copy.reset()
    [aside] = upstream.work.glob("web@before-*")
    assert str(aside) in said
    assert (aside if damage == "file" else aside / "README").read_text() == "mine\n"
    assert (copy.path / "README").read_text() == "one\n"


async def test_a_reset_that_fails_loses_nothing(upstream: Upstream) -> None:
    copy = await upstream.made()
    (copy.path / ".git/HEAD").write_text("broken")
    (copy.path / "README").write_text("mine\n")
    (upstream.path / "packed-refs").unlink(missing_ok=True)
    (upstream.path / "HEAD").write_text("ref: refs/heads/none\n")
    with pytest.raises(CopyError, match="The project web has no commits yet"):
        await copy.reset()
    assert (copy.path / "README").read_text() == "mine\n"


# Instructions


def test_the_instructions_of_a_project(tmp_path: Path) -> None:
    (tmp_path.parent / "secret").write_text("secret")
    (tmp_path / "docs").mkdir()
    (tmp_path / "CLAUDE.md").write_text(
        "Run make.\n@AGENTS.md\n@docs/style.md \n@../secret\n@who\n"
    )
    (tmp_path / "docs/style.md").write_text("Use tabs.\n@../CLAUDE.md\n@style.md\n")
    [(path, text)] = instructions.read(tmp_path)
    assert path.name == "CLAUDE.md"
    assert text == "Run make.\n@AGENTS.md\nUse tabs.\n\n@who"
    (tmp_path / "AGENTS.md").symlink_to("CLAUDE.md")
    [(path, text)] = instructions.read(tmp_path)
    assert path.name == "AGENTS.md"
    assert text.startswith("Run make.\n\nUse tabs."), "once, by whichever name"
    (tmp_path / "AGENTS.md").unlink()
    (tmp_path / "AGENTS.md").symlink_to("../secret")
    (tmp_path / "docs/style.md").write_text("x" * 100_000)
    found = instructions.read(tmp_path)
    assert [path.name for path, _ in found] == ["CLAUDE.md"]
    assert len(found[0][1]) < 33_000


def test_the_prompt_has_the_projects_and_their_instructions(upstream: Upstream) -> None:
    (upstream.work / "web").mkdir()
    (upstream.work / "web/AGENTS.md").write_text("Use {names}.")
    paths = Paths.from_environment({"HIVE_WORK": str(upstream.work), "HIVE_STATE": "/state"})
    entries: list[dict[str, Any]] = [{"name": "web"}, {"name": "docs", "readonly": True}]
    two = Config("zoe", projects=entries)
    prompt = system_prompt(two, upstream.root, upstream.work)
    assert "\n- You work on the projects `web`, `docs`. The working copy" in prompt
    assert "- You read the project `docs`, and hand back no changes.\n" in prompt
    assert "From /work/web/AGENTS.md, the instructions of the project web\n" in prompt
    assert prompt.endswith("Use {names}.\n")
    assert working_directory(two, paths) == paths.state
    one = Config("zoe", projects=[{"name": "web", "branches": ["hive/*"]}])
    prompt = system_prompt(one, upstream.root, upstream.work)
    assert "survives restarts. It is your working directory.\n" in prompt
    assert "- Changes of the project `web` may go into `hive/*` only.\n" in prompt
    assert working_directory(one, paths) == upstream.work / "web"
    assert working_directory(Config("zoe", projects=[{"name": "none"}]), paths) == paths.state
    assert "/work/NAME" not in system_prompt(Config("zoe"), upstream.root, upstream.work)


def test_entries_that_are_not_valid_are_left_out() -> None:
    entries: list[dict[str, Any]] = [
        {"name": "../x"},
        {"name": 3},
        {},
        {"name": "web", "wake": True, "branches": ["a"]},
    ]
    assert projects_of(Config("zoe", projects=entries)) == [
        Project("web", branches=("a",), wake=True)
    ]


async def test_a_copy_that_cannot_be_made_is_noted_once_and_told(upstream: Upstream) -> None:
    notes: list[str] = []
    environment = {"HIVE_WORK": str(upstream.work), "HIVE_PROJECTS": str(upstream.projects)}
    paths = Paths.from_environment(environment | {"HIVE_STATE": str(upstream.root)})
    config = Config("zoe", projects=[{"name": "web"}, {"name": "docs"}])
    projects = Projects(config, paths, notes.append)
    await projects.prepare()
    await projects.prepare()
    assert len(notes) == 1
    assert "of the project docs cannot be made" in notes[0]
    assert await projects.news() == notes
    assert (upstream.work / "web/README").exists()
    with pytest.raises(CopyError, match=r"has no project 'x'\. Its projects: web, docs"):
        await projects.reset("x", "operator")
    done = await projects.reset("web", "operator")
    assert f"The operator has reset your working copy: {done}" in await projects.news()
    projects.told()
    assert await projects.news() == notes
