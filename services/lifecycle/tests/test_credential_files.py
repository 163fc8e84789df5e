"""Credentials that come and go are noticed; nothing is read of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.lifecycle.host.credential_files import CredentialFiles


class Followed:
    """The directory of credentials and the news of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._event = asyncio.Event()
        self.files = CredentialFiles(folder)

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
    followed.files.stop()


@pytest.mark.parametrize("name", ["gateway/default", "gateway/default.cred", "anthropic_api_key"])
async def test_one_for_all(followed: Followed, name: str) -> None:
    followed.files.start(followed.changed)
    assert not followed.files.shared
    file = followed.folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("secret")
    await followed.news()
    assert followed.files.shared
    file.unlink()
    await followed.news()
    assert not followed.files.shared


@pytest.mark.parametrize("name", ["alice", "alice.cred"])
async def test_one_for_an_agent_in_directories_that_come_later(
    followed: Followed, name: str
) -> None:
    followed.files.start(followed.changed)
    folder = followed.folder / "gateway/agents"
    folder.mkdir(parents=True)
    (folder / f".{name}").write_text("secret")
    (folder / f".{name}").rename(folder / name)
    await followed.news()
    assert followed.files.own("alice")
    assert not followed.files.own("bob")
    assert not followed.files.shared


async def test_another_text_is_no_news(followed: Followed) -> None:
    (followed.folder / "gateway").mkdir()
    file = followed.folder / "gateway/default"
    file.write_text("one")
    followed.files.start(followed.changed)
    file.write_text("two")
    (followed.folder / "other").write_text("x")
    await followed.news()
    assert followed.count == 1
