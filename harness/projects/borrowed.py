"""The objects that a working copy borrows from the repository of its project."""

import os
import shutil
from pathlib import Path
from typing import Final

TRIES: Final = 5
"""The host may pack the repository meanwhile: a pack vanishes, and its objects are in another."""

_PACK: Final = (".pack", ".rev", ".promisor", ".idx")
"""The files of a pack; git takes a pack as complete when its .idx is there."""


def begin(upstream: Path, copy: Path) -> None:
    """Let the working copy `copy` use the objects of `upstream`, unless it does."""
    file, line = _alternates(copy), _line(upstream)
    known = _lines(file)
    if line not in known:
        file.parent.mkdir(exist_ok=True)
        _write(file, [*known, line])


def copy(upstream: Path, copy: Path) -> None:
    """Copy all objects of `upstream` into the working copy `copy`, which borrows none afterwards.

    Raises:
        OSError: they cannot be copied; the working copy borrows them still.
    """
    file, line = _alternates(copy), _line(upstream)
    if line not in _lines(file):
        return
    source, target = upstream / "objects", copy / ".git/objects"
    for left in reversed(range(TRIES)):
        try:
            _copy_objects(source, target)
            break
        except FileNotFoundError:
            if not left:
                raise
    _write(file, [one for one in _lines(file) if one != line])


def _copy_objects(source: Path, target: Path) -> None:
    for index in sorted((source / "pack").glob("*.idx")):
        for ending in _PACK:
            name = index.with_suffix(ending).name
            if ending in (".pack", ".idx") or (source / "pack" / name).exists():
                _copy_file(source / "pack" / name, target / "pack" / name)
    for folder in sorted(source.glob("[0-9a-f][0-9a-f]")):
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("tmp_"):
                _copy_file(path, target / folder.name / path.name)


def _copy_file(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(exist_ok=True)
    new = target.with_name(f"tmp_hive_{target.name}")
    try:
        shutil.copyfile(source, new)
        new.chmod(0o444)
        new.rename(target)
    finally:
        new.unlink(missing_ok=True)


def _alternates(copy: Path) -> Path:
    return copy / ".git/objects/info/alternates"


def _line(upstream: Path) -> bytes:
    return os.fsencode(upstream / "objects")


def _lines(file: Path) -> list[bytes]:
    """Return the lines of the agent's file, in whatever encoding they are."""
    return [line for line in file.read_bytes().split(b"\n") if line] if file.exists() else []


def _write(file: Path, lines: list[bytes]) -> None:
    if not lines:
        file.unlink(missing_ok=True)
        return
    new = file.with_name("alternates.new")
    new.write_bytes(b"".join(line + b"\n" for line in lines))
    new.replace(file)
