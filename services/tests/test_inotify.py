"""The watch of a directory."""

import asyncio
from pathlib import Path

import pytest

from services.inotify import DirectoryWatch

LIMIT = 10.0


async def test_each_kind_of_change_is_noticed(tmp_path: Path) -> None:
    file, other = tmp_path / "a.json", tmp_path.parent / "new.json"
    other.write_text("new")
    with DirectoryWatch(tmp_path) as watch:
        for act in (
            lambda: file.write_text("old"),
            lambda: other.replace(file),
            lambda: file.rename(other),
            lambda: other.replace(file),
            file.unlink,
        ):
            act()
            async with asyncio.timeout(LIMIT):
                await watch.change()


async def test_changes_since_the_last_wait_are_one(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        for number in range(100):
            (tmp_path / str(number)).touch()
        await watch.change()
        (tmp_path / "last").touch()
        async with asyncio.timeout(LIMIT):
            await watch.change()


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), DirectoryWatch(tmp_path / "none"):
        pass
