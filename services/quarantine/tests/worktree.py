"""A repository like the manager's, made with plain git."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "agent",
    "GIT_AUTHOR_EMAIL": "manager@hive.invalid",
    "GIT_COMMITTER_NAME": "agent",
    "GIT_COMMITTER_EMAIL": "manager@hive.invalid",
}


class WorkTree:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        ended = subprocess.run(
            ["git", "-C", self.path, *arguments],
            input=stdin,
            capture_output=True,
            env=_ENVIRONMENT,
        )
        assert ended.returncode == 0, ended.stderr.decode()
        return ended.stdout.decode().strip()

    def commit(
        self, files: Mapping[str, str | bytes], links: Mapping[str, str] | None = None
    ) -> str:
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        for name, target in (links or {}).items():
            link = self.path / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        if changed := [*files, *(links or {})]:
            self.git("add", "--", *changed)
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def pull(self, applied: Path, commit: str) -> None:
        """Check out a commit of the repository `applied`."""
        self.git("fetch", "-q", str(applied), commit)
        self.git("reset", "-q", "--hard", commit)

    def point_to(self, other: "WorkTree") -> None:
        """Replace .git by a file that points to the repository of `other`."""
        (self.path / ".git").rename(self.path / "away")
        (self.path / ".git").write_text(f"gitdir: {other.path}/.git\n")

    def make_shallow(self, away: Path) -> None:
        """Keep only the last commit; the whole repository is moved to `away`."""
        self.path.rename(away)
        self.path.mkdir()
        self.git("clone", "-q", "--depth=1", f"file://{away}", ".")

    def remove(self) -> None:
        shutil.rmtree(self.path)
