import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.notify.notification import Notification
from services.notify.store import Store

TIME_LIMIT = 20.0


class Hook:
    """A webhook on a real socket: it notes each post, and gives the answers that it was told."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: list[web.Response] = []
        self.silent = False
        self.decode: Callable[[bytes], bytes] = bytes
        self._came = asyncio.Condition()

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(self.decode(await request.read()))
        async with self._came:
            self.got.append((request.path, dict(request.headers), body))
            self._came.notify_all()
        if self.silent:
            await asyncio.get_running_loop().create_future()
        return self.answers.pop(0) if self.answers else web.Response()

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many posts; return their bodies."""
        async with asyncio.timeout(TIME_LIMIT), self._came:
            await self._came.wait_for(lambda: len(self.got) >= count)
        return self.bodies

    async def until_different(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many different posts; return their bodies, sorted."""
        async with asyncio.timeout(TIME_LIMIT), self._came:
            await self._came.wait_for(lambda: len(self._by_id()) >= count)
        return [body for _, body in sorted(self._by_id().items())]

    def _by_id(self) -> dict[str, dict[str, Any]]:
        return {body["id"]: body for body in self.bodies}

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.got]


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hook.take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield hook
    await runner.cleanup()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "notify.sqlite")
    yield store
    store.close()


def asks(number: int, origin: str = "alice") -> Notification:
    return Notification.of("question", number, f"{origin} asks", f"question {number}", 1, origin)
