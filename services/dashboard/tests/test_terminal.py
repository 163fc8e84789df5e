"""Terminals over HTTP: who opens one, its limits, and its record."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from services.config import DashboardConfig
from services.dashboard.terminal import terminals
from services.dashboard.tests.conftest import TIME_LIMIT, Page
from services.dashboard.tests.shells import FakeShell, offered
from wire.records.dashboard import Role

pytestmark = pytest.mark.usefixtures("streams")


@pytest.fixture
def config() -> DashboardConfig:
    return DashboardConfig(terminal=True, terminal_idle=10)


async def ticket(page: Page, agent: str = "alice") -> str:
    status, answer = await page.post(f"/api/agents/{agent}/terminal")
    assert status == 200, answer
    return str(answer["path"])


def opening(page: Page, path: str, **headers: str) -> Any:
    headers = {"Origin": page.url, **headers}
    return page.http.ws_connect(page.url + path, headers=headers)


async def test_a_terminal_carries_keys_output_and_its_size(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    await page.log_in()
    shell = FakeShell()
    caplog.set_level(logging.INFO)
    async with (
        offered(page.agents / "alice", shell.serve),
        opening(page, await ticket(page)) as socket,
    ):
        await socket.send_str('{"rows": 40, "columns": 5000}')
        await socket.send_bytes(b"ls\n")
        await socket.send_str('{"reply": "\\u001b[1;1R"}')
        await shell.until(lambda: shell.typed == b"ls\n\x1b[1;1R")
        assert shell.sizes == [(40, 1000)]
        assert shell.writer
        shell.writer.write(b"\x1b[31mfile\xff")
        assert (await socket.receive()).data == b"\x1b[31mfile\xff"
        assert "session 1 opens a terminal in alice" in caplog.text
    async with asyncio.timeout(TIME_LIMIT):
        await shell.gone.wait()
    await page.dashboard.terminals.close()  # the record is written when the terminal has ended
    assert "the terminal of session 1 in alice is closed after 0 s: The page was closed." in (
        caplog.text
    )


async def test_the_end_of_the_shell_and_no_shell_are_told(page: Page) -> None:
    await page.log_in()
    async with opening(page, await ticket(page)) as socket:
        told = await socket.receive_json()
    assert "offers no terminal" in told["ended"]
    shell = FakeShell()
    async with (
        offered(page.agents / "alice", shell.serve),
        opening(page, await ticket(page)) as socket,
    ):
        await socket.send_bytes(b"exit\n")
        await shell.until(lambda: shell.typed)
        assert shell.writer
        shell.writer.close()
        assert await socket.receive_json() == {"ended": "The shell has ended."}


async def test_only_a_ticket_opens_one_once_for_a_page_of_the_dashboard(page: Page) -> None:
    await page.log_in()
    shell = FakeShell()

    async def refused(path: str, **headers: str) -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await opening(page, path, **headers)
        return raised.value.status

    async with offered(page.agents / "alice", shell.serve):
        path = await ticket(page)
        for origin in ("http://alice-3000.localhost", "null", "http://127.0.0.1:1"):
            assert await refused(path, Origin=origin) == 403
        assert await refused("/terminals/" + "a" * 43) == 403
        async with page.http.get(page.url + path) as answer:
            assert answer.status == 403  # without an Origin
        async with opening(page, path):
            assert await refused(path) == 403
        assert (await page.get("/api/agents/alice/terminal"))[1] == {"offered": True}
        # Two terminals of one ticket, or one of a login that has ended, would be two too many.
        path = await ticket(page)
        await page.post("/logout")
        assert await refused(path) == 403


@pytest.mark.parametrize("role", [Role.GUEST, Role.REVIEWER])
async def test_only_an_operator_opens_one(page: Page, role: Role) -> None:
    await page.log_in(role)
    status, _ = await page.post("/api/agents/alice/terminal")
    assert status == 403


async def test_it_ends_with_the_login(page: Page) -> None:
    await page.log_in()
    shell = FakeShell()
    async with (
        offered(page.agents / "alice", shell.serve),
        opening(page, await ticket(page)) as socket,
    ):
        await socket.send_bytes(b"a")
        await shell.until(lambda: shell.typed)
        await page.post("/logout")
        assert await socket.receive_json() == {"ended": "The session has ended."}
        async with asyncio.timeout(TIME_LIMIT):
            await shell.gone.wait()


async def test_it_ends_when_no_key_is_pressed_and_answers_are_no_keys(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    await page.log_in()
    monkeypatch.setattr(page.dashboard.terminals, "idle_seconds", 0.5)
    shell = FakeShell()
    async with (
        offered(page.agents / "alice", shell.serve),
        opening(page, await ticket(page)) as socket,
    ):
        told = asyncio.create_task(socket.receive_json())
        while not told.done():  # a program asks again and again where the cursor is
            await socket.send_str('{"reply": "x"}')
            await asyncio.wait([told], timeout=0.1)
        assert "No key was pressed for" in told.result()["ended"]


async def test_a_page_that_draws_slowly_gets_no_more_than_it_holds(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    await page.log_in()
    monkeypatch.setattr(terminals, "WINDOW", 100_000)
    shell = FakeShell()
    async with (
        offered(page.agents / "alice", shell.serve),
        opening(page, await ticket(page)) as socket,
    ):
        await socket.send_bytes(b"yes\n")
        await shell.until(lambda: shell.typed)
        assert shell.writer
        shell.writer.write(b"y\n" * 500_000)
        got = await received(socket, 0.5)
        assert 100_000 <= got < 150_000
        while got < 1_000_000:
            await socket.send_json({"drawn": 50_000})
            got += await received(socket, 0.05)


async def received(socket: aiohttp.ClientWebSocketResponse, seconds: float) -> int:
    """Return how many bytes come until none has come for so long."""
    got = 0
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(seconds):
                got += len((await socket.receive()).data)
    return got


async def test_terminals_are_off_by_default() -> None:
    assert not DashboardConfig().terminal


class TestOff:
    @pytest.fixture
    def config(self) -> DashboardConfig:
        return DashboardConfig()

    async def test_no_ticket_is_given(self, page: Page) -> None:
        await page.log_in()
        status, answer = await page.post("/api/agents/alice/terminal")
        assert (status, "terminal = true" in answer["error"]) == (403, True)
        assert (await page.get("/api/agents/alice/terminal"))[1] == {"offered": False}


async def test_a_page_that_another_site_has_led_to_opens_none_by_itself(page: Page) -> None:
    for site, linked in (("none", False), ("same-origin", False), ("cross-site", True)):
        _, text = await page.get("/agents/alice/terminal", **{"Sec-Fetch-Site": site})
        assert ("<main data-linked" in text) is linked
