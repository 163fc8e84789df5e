"""Repositories to fetch from, written by git itself (fast-import)."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

DAY: Final = 86_400
BEGAN: Final = 1_700_000_000
PER_FOLDER: Final = 100


class Size(NamedTuple):
    """The size of an upstream."""

    files: int
    bytes: int
    """Bytes of all files of the first commit, which cannot be compressed."""
    commits: int
    """Commits after the first; each changes a few files."""


def make(path: Path, size: Size) -> None:
    """Make the bare repository `path`, whose content depends on `size` alone."""
    git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    # The content cannot be compressed: trying would take minutes.
    command = ["git", f"--git-dir={path}", "-c", "core.compression=0", "fast-import", "--depth=0"]
    command.append("--quiet")
    with subprocess.Popen(command, stdin=subprocess.PIPE) as importer:
        assert importer.stdin is not None
        for part in _stream(size):
            importer.stdin.write(part)
    if importer.returncode:
        raise RuntimeError(f"git fast-import exited with status {importer.returncode}")


def commit(path: Path, number: int) -> None:
    """Add a commit to the repository `path` that changes one file."""
    stream = [
        b"commit refs/heads/main\n",
        b"committer bench <bench@hive.invalid> %d +0000\n" % (BEGAN + 10_000 * DAY + number),
        _data(b"another change"),
        b"from refs/heads/main^0\n",
        b"M 100644 inline change\n",
        _data(b"%d\n" % number),
        b"done\n",
    ]
    command = ["git", f"--git-dir={path}", "fast-import", "--quiet", "--done"]
    subprocess.run(command, input=b"".join(stream), check=True)


def git(*arguments: str) -> None:
    """Run git, which must succeed."""
    subprocess.run(["git", *arguments], check=True, stdout=subprocess.DEVNULL)


def _stream(size: Size) -> Iterator[bytes]:
    chance = random.Random(1)
    each = size.bytes // size.files
    for number in range(size.commits + 1):
        yield b"commit refs/heads/main\n"
        yield b"committer bench <bench@hive.invalid> %d +0000\n" % (BEGAN + number * DAY)
        yield _data(b"change %d\n" % number)
        if not number:
            for file in range(size.files):
                yield b"M 100644 inline %s\n" % _name(file)
                yield _data(chance.randbytes(each))
        else:
            for file in chance.sample(range(size.files), min(5, size.files)):
                yield b"M 100644 inline %s\n" % _name(file)
                yield _data(b"change %d of this file\n" % number)


def _name(file: int) -> bytes:
    return b"folder-%d/file-%d" % (file // PER_FOLDER, file)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
