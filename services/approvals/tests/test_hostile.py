"""A hostile commit that was fetched is shown as it is, and refused where it has no end."""

import zlib
from pathlib import Path

import pytest

from services.approvals.git import tree_policy
from services.approvals.git.repositories import Repositories
from services.quarantine.runner import run
from services.quarantine.tests.objects import commit, entry, name_of, tree, write_loose, write_pack
from services.quarantine.tests.worktree import WorkTree
from wire.errors import InvalidArgument, LimitExceeded


async def test_attributes_that_name_programs(
    ours: Repositories, theirs: WorkTree, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    theirs.git("config", "diff.evil.textconv", f"touch {trap}; cat")
    found = theirs.commit({"agent.toml": "a = 1\n", ".gitattributes": "* diff=evil filter=x\n"})
    theirs.git("show", found)  # plain git springs the trap
    trap.unlink()
    await ours.fetch("alice", found)
    await ours.move_main("alice", found)
    assert "+a = 1\n" in await ours.diff("alice", None, found)
    assert not trap.exists()


async def test_attributes_do_not_hide_a_change(
    ours: Repositories, theirs: WorkTree, tmp_path: Path
) -> None:
    hidden = {".gitattributes": "* -diff -text\n", "x/.gitattributes": "* -diff\n"}
    one = theirs.commit({"agent.toml": "a = 1\n", "x/y": "1\n", **hidden})
    two = theirs.commit({"agent.toml": "a = 2\n", "x/y": "2\n"})
    assert "Binary files" in theirs.git("diff", one, two)
    await ours.fetch("alice", two)
    await ours.move_main("alice", two)
    assert "-a = 1\n+a = 2\n" in (shown := await ours.diff("alice", one, two))
    assert "-1\n+2\n" in shown
    # Later versions of git can read them from the commit; some did so unasked.
    ended = await run(tmp_path / "applied/alice", f"--attr-source={two}", "diff", one, two)
    usage = 129
    assert ended.status == usage or "-a = 1\n+a = 2\n" in ended.output.decode()


async def test_a_tree_without_end(ours: Repositories, good: str, dot_git: Path) -> None:
    """Fifty objects describe 10 ** 50 directories, and not one file."""
    inner = write_loose(dot_git, "tree", b"")
    for _ in range(50):
        inner = write_loose(dot_git, "tree", tree(*(("40000", f"d{n}", inner) for n in range(10))))
    blob = write_loose(dot_git, "blob", b"")
    of = write_loose(dot_git, "tree", tree(("100644", "agent.toml", blob), ("40000", "d", inner)))
    found = write_loose(dot_git, "commit", commit(of))
    assert await ours.fetch("alice", found) == found
    with pytest.raises(LimitExceeded, match=f"more than {tree_policy.MAX_ENTRIES} files and dir"):
        await ours.check("alice", found, base=None)


async def test_a_tree_of_great_depth(ours: Repositories, good: str, dot_git: Path) -> None:
    """git descends into a tree on its stack, which is limited."""
    blob = zlib.compress(b"")
    packed, inner = [entry("blob", 0, blob)], name_of("blob", b"")
    mode, name = "100644", "agent.toml"
    for _ in range(100_000):
        content = tree((mode, name, inner))
        packed.append(entry("tree", len(content), zlib.compress(content, 1)))
        mode, name, inner = "40000", "d", name_of("tree", content)
    content = commit(inner)
    packed.append(entry("commit", len(content), zlib.compress(content)))
    write_pack(dot_git, packed)
    found = name_of("commit", content)
    try:
        await ours.fetch("alice", found)
    except InvalidArgument:
        return
    with pytest.raises(LimitExceeded):
        await ours.check("alice", found, base=None)
