"""The repository of a project, as the host keeps it, and a working copy of it."""

import os
import subprocess
from pathlib import Path

from harness.projects.copy import WorkingCopy

IDENTITY = {
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@hive.invalid",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@hive.invalid",
}


def git(path: Path, *arguments: str) -> str:
    """Run git in `path`, which succeeds; return its output."""
    ended = subprocess.run(
        ["git", "-C", path, "-c", "protocol.file.allow=always", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | IDENTITY,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


class Upstream:
    """A project in `root`, which its authors change in a clone."""

    def __init__(self, root: Path, name: str = "web", *options: str) -> None:
        self.root, self.name = root, name
        self.work, self.projects = root / "work", root / "projects"
        self.source, self.path = root / f"{name}-source", self.projects / f"{name}.git"
        for folder in (self.work, self.projects):
            folder.mkdir(exist_ok=True)
        self.source.mkdir()
        git(self.source, "init", "-q", "-b", "main")
        self._options = options

    def commit(self, text: str, file: str = "README") -> str:
        """Commit a file, and let the host fetch it; return the commit."""
        path = self.source / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        git(self.source, "add", "-A")
        git(self.source, "commit", "-q", "-m", "a change")
        return self.fetch()

    def fetch(self) -> str:
        """Let the host fetch; return the last commit of its branch."""
        if not self.path.exists():
            git(self.root, "init", "-q", "--bare", "-b", "main", str(self.path))
            for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
                git(self.source, "config", key, "true")
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        source = f"file://{self.source}"
        git(self.path, "fetch", "-q", "--prune", *self._options, source, *refs)
        return git(self.path, "rev-parse", "main")

    def copy(self) -> WorkingCopy:
        return WorkingCopy(self.name, self.work, self.projects)

    async def made(self) -> WorkingCopy:
        copy = self.copy()
        await copy.prepare()
        return copy
