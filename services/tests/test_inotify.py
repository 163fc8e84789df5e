"""The watch of a directory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.inotify import DirectoryWatch, Watch

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


async def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), DirectoryWatch(tmp_path / "none"):
        pass


class Told:
    """The calls of a watch."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def changed(self) -> None:
        self.count += 1
        self._event.set()

    async def wait(self) -> None:
        async with asyncio.timeout(5):
            await self._event.wait()
        self._event.clear()


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def watch(told: Told) -> AsyncIterator[Watch]:
    watch = Watch(told.changed)
    yield watch
    watch.close()


async def test_changes_of_a_name_are_told_once(watch: Watch, told: Told, tmp_path: Path) -> None:
    watch.set({tmp_path: {"wanted"}})
    (tmp_path / "other").write_text("x")
    new = tmp_path / ".new"
    new.write_text("a")
    new.rename(tmp_path / "wanted")
    (tmp_path / "wanted").write_text("b")
    await told.wait()
    assert told.count == 1
    (tmp_path / "wanted").unlink()
    await told.wait()
    (tmp_path / "other").unlink()
    (tmp_path / "wanted").symlink_to("other")
    await told.wait()


async def test_other_names_are_not_told(watch: Watch, told: Told, tmp_path: Path) -> None:
    watch.set({tmp_path: {"wanted"}})
    (tmp_path / "other").write_text("x")
    await asyncio.sleep(0)
    (tmp_path / "wanted").write_text("x")
    await told.wait()
    assert told.count == 1


async def test_all_names_of_a_directory_are_told(watch: Watch, told: Told, tmp_path: Path) -> None:
    watch.set({tmp_path: None})
    (tmp_path / "any").write_text("x")
    await told.wait()


async def test_the_end_of_a_directory_is_told(watch: Watch, told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    watch.set({folder: {"wanted"}, tmp_path / "missing": None})
    folder.rmdir()
    await told.wait()


async def test_a_directory_that_is_no_longer_set_is_not_watched(
    watch: Watch, told: Told, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    watch.set({one: None})
    watch.set({two: None})
    (one / "file").write_text("x")
    (two / "file").write_text("x")
    await told.wait()
    assert told.count == 1
    (one / "file").write_text("y")
    (two / "file").write_text("y")
    await told.wait()
    assert told.count == 2
