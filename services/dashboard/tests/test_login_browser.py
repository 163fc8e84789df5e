"""The session in a real browser: links, tabs, reloads, restarts and broken connections."""

import asyncio
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from services.dashboard.http.sessions import Sessions
from services.dashboard.tests.browser import Browser, needs_chromium, open_browser
from services.dashboard.tests.conftest import TIME_LIMIT, LogIn, Page
from services.dashboard.tests.process import Process

pytestmark = needs_chromium

SECRET = "localStorage.getItem('hyperhive-session')"


async def switch(browser: Browser, tab: int) -> None:
    await browser.do(lambda d: d.switch_to.window(d.window_handles[tab]))


async def test_reloads_and_links_stay_logged_in_and_the_history_has_no_token(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await browser.open(f"{page.url}/agents/alice")  # without a session
    await browser.sees("#how", "hivectl login-link")
    await log_in()
    await browser.do(lambda d: d.refresh())
    await browser.sees("#link", "Live")
    await browser.open(f"{page.url}/agents/alice")
    await browser.sees("#agent .state", "running")
    await browser.open_live(f"{page.url}/login")
    assert await browser.value("location.pathname") == "/"
    # Back through everything that was opened.
    for _ in range(await browser.value("history.length")):
        await browser.do(lambda d: d.back())
        assert "token" not in await browser.value("location.href")
    await browser.open(page.url)
    assert await browser.value("document.cookie") == ""
    assert await browser.violations() == []


@pytest.mark.long
async def test_a_used_link_says_so_and_the_next_one_works_in_the_same_tab(
    page: Page, browser: Browser
) -> None:
    link = await page.link()
    assert (await page.post("/login", {"token": link.partition("token=")[2]}))[0] == 200
    await browser.open(link)
    await browser.click("#with-link button")
    await browser.sees("#error", "already used")
    await browser.sees("#how", "hivectl login-link")
    # Only the fragment of the address changes, so the browser does not load the page again.
    await browser.open(await page.link())
    await browser.until_hidden("#error")
    await browser.click("#with-link button")
    await browser.sees("#link", "Live")


@pytest.mark.long
async def test_tabs_share_a_session_and_a_logout_ends_it_in_all_of_them(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await browser.do(lambda d: d.switch_to.new_window("tab"))
    await browser.open_live(f"{page.url}/agents/alice")
    secret = await browser.value(SECRET)
    await browser.press("#logout")
    await browser.sees("#how", "hivectl login-link")
    await switch(browser, 0)
    await browser.sees("#how", "hivectl login-link")
    assert await browser.value(SECRET) is None
    assert (await page.get("/api/state", **{"Hyperhive-Session": secret}))[0] == 401
    # Another login in one tab is good for both.
    await log_in()
    await switch(browser, 1)
    await browser.open_live(page.url)


@pytest.mark.long
async def test_two_browsers_have_sessions_of_their_own(
    page: Page, browser: Browser, log_in: LogIn, tmp_path: Path
) -> None:
    await log_in()
    async with open_browser(tmp_path / "second") as second:
        await second.open(page.url)
        await second.sees("#how", "hivectl login-link")
        await second.open(await page.link())
        await second.click("#with-link button")
        await second.sees("#link", "Live")
        await browser.click("#logout")
        await browser.sees("#how", "hivectl login-link")
        page.hive.broker.arrive("alice", "operator", "still here")
        await second.sees(".message .body", "still here")


async def test_a_browser_that_keeps_nothing_says_so_and_the_token_stays(
    page: Page, browser: Browser
) -> None:
    link = await page.link()
    await browser.open(link)
    await browser.do(
        lambda d: d.execute_script(
            "Storage.prototype.setItem = () => { throw new DOMException('no', 'SecurityError'); }"
        )
    )
    await browser.click("#with-link button")
    await browser.sees("#error", "Allow site data")
    assert (await page.post("/login", {"token": link.partition("token=")[2]}))[0] == 200


async def test_without_scripts_a_sentence_says_so(page: Page, browser: Browser) -> None:
    command = {"cmd": "Emulation.setScriptExecutionDisabled", "params": {"value": True}}
    await browser.do(lambda d: d.execute("executeCdpCommand", command))
    for path in ("/", "/agents/alice", "/login"):
        await browser.open(page.url + path)
        await browser.sees("noscript p", "needs JavaScript")


@pytest.mark.long
async def test_an_open_page_is_live_again_after_a_restart_of_the_dashboard(
    bus_address: str, tmp_path: Path, browser: Browser
) -> None:
    token = Sessions(tmp_path / "logins.json").create_token()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = Process(listener, bus_address, tmp_path)
        running = await process.start()
        await process.until_told(b"READY=1")
        await browser.open(f"http://127.0.0.1:{listener.getsockname()[1]}/login#token={token}")
        await browser.click("#with-link button")
        await browser.sees("#link", "Live")
        for _ in range(2):
            running.send_signal(signal.SIGTERM)
            await browser.sees("#link", "Connecting")
            async with asyncio.timeout(TIME_LIMIT):
                assert await running.wait() == 0
            running = await process.start()
            await browser.sees("#link", "Live")
        await browser.do(lambda d: d.refresh())
        await browser.sees("#link", "Live")
        running.terminate()
        await running.wait()
        process.close()


class Relay:
    """A relay to the dashboard, whose streams can go silent without an end, as after a sleep."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: dict[asyncio.StreamWriter, bytes] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dashboard, request = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, request]
        self._tasks.add(asyncio.create_task(self._move(reader, request, writer)))
        self._tasks.add(asyncio.create_task(self._move(dashboard, writer)))

    async def _move(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if client is not None:
                    self._requests[client] = data
                target.write(data)
                await target.drain()
            target.close()

    async def silence(self) -> None:
        """Move nothing more on the streams. Close the other connections, as a browser does."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client, data in self._requests.items():
            if b"/api/events" not in data:
                client.close()
        self._requests.clear()

    async def close(self) -> None:
        await self.silence()
        for writer in self._writers:
            writer.close()
        if self._server is not None:
            self._server.close()


@pytest.mark.long
async def test_a_silent_connection_is_replaced_when_the_page_resumes(
    page: Page, browser: Browser
) -> None:
    relay = Relay(int(page.url.rpartition(":")[2]))
    url = await relay.start()
    token = (await page.link()).partition("#")[2]
    await browser.open(f"{url}/login#{token}")
    await browser.click("#with-link button")
    await browser.sees("#link", "Live")
    for number, event in enumerate(
        (
            "document.dispatchEvent(new Event('resume'))",
            "window.dispatchEvent(new Event('online'))",
            "window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
        )
    ):
        await relay.silence()
        page.hive.broker.arrive("alice", "operator", f"sent in sleep {number}")
        await browser.value(event)
        await browser.sees(".message .body", f"sent in sleep {number}")
        page.hive.broker.arrive("alice", "operator", f"sent after sleep {number}")
        await browser.sees(".message .body", f"sent after sleep {number}")
    await browser.until_count(".flow .message", 6)
    await relay.close()
