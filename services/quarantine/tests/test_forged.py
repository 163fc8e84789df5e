"""Nothing in a hostile repository passes for what it is not."""

from pathlib import Path

import pytest

from services.quarantine.tests.objects import commit, name_of, tree, write_loose, write_pack
from services.quarantine.tests.ours import Ours, refused
from services.quarantine.tests.worktree import WorkTree
from wire.errors import HiveError


async def test_an_object_under_the_name_of_another(
    ours: Ours, theirs: WorkTree, good: str, dot_git: Path
) -> None:
    theirs.git("checkout", "-q", "--orphan", "other")
    other = theirs.commit({"agent.toml": "evil = 1\n"})
    write_loose(dot_git, "commit", theirs_content(theirs, other), name=good)
    assert "no commit" in await refused(ours, good)


async def test_replaced_objects(ours: Ours, theirs: WorkTree, good: str, dot_git: Path) -> None:
    other = theirs.commit({"agent.toml": "evil = 1\n"})
    theirs.git("replace", good, theirs.git("commit-tree", "-m", "x", f"{other}^{{tree}}"))
    assert theirs.git("show", f"{good}:agent.toml") == "evil = 1"
    (dot_git / "info/grafts").parent.mkdir(exist_ok=True)
    (dot_git / "info/grafts").write_text(f"{other}\n")
    assert await ours.fetch(other) == other
    assert await ours.read(good, "agent.toml") == "a = 1\n"
    assert await ours.is_ancestor(good, other)


async def test_a_history_that_ends_too_soon(
    ours: Ours, theirs: WorkTree, good: str, tmp_path: Path
) -> None:
    last = theirs.commit({"agent.toml": "a = 2\n"})
    theirs.make_shallow(tmp_path / "full")
    assert theirs.git("rev-list", "HEAD") == last  # git believes that it has no parent
    assert "cannot be fetched" in await refused(ours, last)


async def test_a_missing_object_is_refused(
    ours: Ours, theirs: WorkTree, good: str, dot_git: Path
) -> None:
    blob = theirs.git("rev-parse", "HEAD:agent.toml")
    (dot_git / "objects" / blob[:2] / blob[2:]).unlink()
    assert "cannot be fetched" in await refused(ours, good)


async def test_references_with_odd_names(
    ours: Ours, theirs: WorkTree, good: str, dot_git: Path
) -> None:
    for name in ("--upload-pack=x", "-d", good[:10], "a b", "x.lock", "\x1b[2J", "..", "@{"):
        if name != "..":
            (dot_git / "refs/heads" / name).write_text(f"{good}\n")
    (dot_git / "packed-refs").write_text(f"{'z' * 40} refs/heads/../../x\n\0\n")
    (dot_git / "HEAD").write_text("ref: refs/heads/a\n")
    (dot_git / "refs/heads/a").write_text("ref: refs/heads/a\n")
    assert await ours.fetch(good[:10]) == good


async def test_nothing_but_the_commit_comes_along(
    ours: Ours, theirs: WorkTree, good: str, tmp_path: Path
) -> None:
    theirs.git("checkout", "-q", "--orphan", "other")
    other = theirs.commit({"rubbish": "x"})
    await ours.fetch(good)
    assert await ours.resolve(other) is None
    assert await ours.references() == ""
    assert await ours.resolve("main") is None


@pytest.mark.parametrize(
    ("mode", "name", "content", "complaint"),
    [
        ("100644", ".gitmodules", b'[submodule "x"]\n\turl = -u./evil\n', "gitmodulesUrl"),
        ("100644", ".gitmodules", b'[submodule "../x"]\n\turl = x\n', "gitmodulesName"),
        ("120000", ".gitmodules", b"x", "gitmodulesSymlink"),
        ("100644", "..", b"", "hasDotdot"),
        ("100644", ".GIT", b"", "hasDotgit"),
        ("100644", "a/../../x", b"", "fullPathname"),
        ("100644", "agent.toml", b"twice", "duplicateEntries"),
        ("0100644", "z", b"", "zeroPaddedFilemode"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
async def test_trees_that_trick_who_unpacks_them(
    ours: Ours,
    dot_git: Path,
    mode: str,
    name: str,
    content: bytes,
    complaint: str,
    packed: bool,
    theirs: WorkTree,
) -> None:
    blob = write_loose(dot_git, "blob", b"")
    evil = write_loose(dot_git, "blob", content)
    entries = [("100644", "agent.toml", blob), (mode, name, evil)]
    of = write_loose(dot_git, "tree", tree(*sorted(entries, key=lambda e: e[1])))
    found = write_loose(dot_git, "commit", commit(of))
    if packed:
        theirs.git("update-ref", "refs/heads/main", found)
        theirs.git("repack", "-adq")
    assert complaint in await refused(ours, found)


def theirs_content(theirs: WorkTree, name: str) -> bytes:
    return (theirs.git("cat-file", "commit", name) + "\n").encode()


async def test_a_refused_pack_leaves_nothing_behind(
    ours: Ours, theirs: WorkTree, dot_git: Path, tmp_path: Path
) -> None:
    write_pack(dot_git, [b"rubbish"], 1)
    with pytest.raises(HiveError, match=r"The pack pack-[0-9a-f]+\.pack in .* is not valid"):
        await ours.fetch(name_of("blob", b""))
    assert not list((tmp_path / "applied/alice/objects/pack").glob("*"))
