"""Trees that git merges without a work tree."""

from pathlib import Path

import pytest

from services.projects.changes import merges
from services.quarantine.tests.worktree import WorkTree


async def test_many_conflicts_are_no_clean_merge(tmp_path: Path) -> None:
    """Their names are longer together than what is read of git's answer."""
    at = WorkTree(tmp_path / "work")
    folder = "/".join(["d" * 200] * 4)
    paths = [f"{folder}/{'f' * 150}{n:04}" for n in range(1100)]
    assert sum(map(len, paths)) > 2**20

    def commit(text: str, *parents: str) -> str:
        blob = at.git("hash-object", "-w", "--stdin", stdin=text.encode())
        at.git("read-tree", "--empty")
        lines = "".join(f"100644 {blob}\t{path}\n" for path in paths)
        at.git("update-index", "--add", "--index-info", stdin=lines.encode())
        options = [part for parent in parents for part in ("-p", parent)]
        return at.git("commit-tree", *options, "-m", "x", at.git("write-tree"))

    start = commit("one\n")
    ours, theirs = commit("ours\n", start), commit("theirs\n", start)
    with pytest.raises(merges.ConflictingError) as caught:
        await merges.merged_tree(at.path / ".git", ours, theirs)
    assert caught.value.paths == paths[: merges.MAX_CONFLICTS]
