"""The host's resolv.conf is followed, through links and through directories that come later."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.lifecycle.host.name_servers import NameServers


class Followed:
    """A host's resolv.conf and the news of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "etc/resolv.conf"
        self.file.parent.mkdir()
        self.count = 0
        self._event = asyncio.Event()
        self.servers = NameServers(root)

    def changed(self) -> None:
        self.count += 1
        self._event.set()

    async def news(self) -> None:
        async with asyncio.timeout(5):
            await self._event.wait()
        self._event.clear()


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    followed = Followed(tmp_path)
    yield followed
    followed.servers.stop()


async def test_a_file_that_is_written_or_replaced(followed: Followed) -> None:
    followed.file.write_text("nameserver 10.0.0.1\n")
    followed.servers.start(followed.changed)
    followed.file.write_text("nameserver 10.0.0.2\n")
    await followed.news()
    new = followed.file.with_name("new")
    new.write_text("nameserver 10.0.0.3\n")
    new.rename(followed.file)
    await followed.news()
    followed.file.unlink()
    await followed.news()
    assert followed.count == 3


async def test_the_same_text_is_no_news(followed: Followed) -> None:
    followed.file.write_text("nameserver 10.0.0.1\n")
    followed.servers.start(followed.changed)
    followed.file.write_text("nameserver 10.0.0.1\n")
    followed.file.write_text("nameserver 10.0.0.2\n")
    await followed.news()
    assert followed.count == 1


async def test_links_and_a_directory_that_comes_later(followed: Followed) -> None:
    followed.file.symlink_to("../run/systemd/resolve/stub.conf")
    (followed.root / "run").mkdir()
    followed.servers.start(followed.changed)
    folder = followed.root / "run/systemd/resolve"
    folder.mkdir(parents=True)
    (folder / "stub.conf").symlink_to("real.conf")
    (folder / "real.conf").write_text("nameserver 10.0.0.1\n")
    await followed.news()
    (folder / "real.conf").write_text("nameserver 10.0.0.2\n")
    await followed.news()
    followed.file.unlink()
    followed.file.write_text("nameserver 10.0.0.3\n")
    await followed.news()


async def test_a_circle_of_links_is_no_file(followed: Followed) -> None:
    followed.file.symlink_to("resolv.conf")
    followed.servers.start(followed.changed)
    followed.file.unlink()
    followed.file.write_text("nameserver 10.0.0.1\n")
    await followed.news()
