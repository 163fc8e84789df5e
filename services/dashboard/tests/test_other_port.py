"""Attacks by a page on another port of the dashboard's host name, in a real browser."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.dashboard.tests.browser import Browser, needs_chromium, open_browser
from services.dashboard.tests.conftest import TIME_LIMIT, LogIn, Page, listen

pytestmark = needs_chromium

ATTACK = """
const [dashboard, done] = arguments;
const own = { credentials: "include" };
const json = { method: "POST", body: '{"to": "alice", "body": "obey"}', ...own };
const typed = { headers: { "Content-Type": "application/json" } };
const named = { headers: { "Hyperhive-Session": localStorage.getItem("hyperhive-session") ?? "" } };
const read = async (path, options) => {
  try { return await (await fetch(dashboard + path, options)).text(); } catch { return null; }
};
const stream = () => new Promise((resolve) => {
  const source = new EventSource(dashboard + "/api/events", { withCredentials: true });
  source.onerror = () => resolve(null);
  source.onmessage = (event) => resolve(event.data);
});
const script = () => new Promise((resolve) => {
  const node = document.createElement("script");
  node.onload = () => resolve("loaded");
  node.onerror = () => resolve(null);
  node.src = dashboard + "/api/state";
  document.head.append(node);
});
const form = () => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", target: "frame", enctype: "text/plain" });
  form.action = dashboard + "/api/agents/alice/kill";
  document.body.append(form);
  form.submit();
  frame.onload = () => {
    try { resolve(frame.contentDocument.body.textContent); } catch { resolve(null); }
  };
});
Promise.all([
  read("/api/state", own), read("/api/state", named), read("/login", own),
  read("/api/agents/alice/kill", json), read("/api/messages", { ...json, ...typed }),
  read("/api/messages", { ...json, ...named }), read("/logout", { ...json, mode: "no-cors" }),
  stream(), script(), form(),
]).then((got) => done(got.filter((text) => text)));
"""

BOMB = """
const done = arguments[0];
const expires = Date.now() + 3_600_000;
const value = "x".repeat(4000);
const set = (_, number) => cookieStore.set({ name: `c${number}`, value, expires, path: "/" });
const all = Promise.all(Array.from({ length: 180 }, set));
all.then(() => done(null), (error) => done(String(error)));
"""


class OtherPort:
    """A program that serves a page on another port, and remembers the headers that it gets."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.headers.append(dict(request.headers))
        return web.Response(text="<!doctype html><title>Evil</title>", content_type="text/html")

    async def serve(self) -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(self.answer, max_field_size=2**20))
        await runner.setup()
        await web.SockSite(runner, self._listener).start()
        return runner


@pytest.fixture
async def other_port() -> AsyncIterator[OtherPort]:
    other = OtherPort(listen())
    runner = await other.serve()
    yield other
    await runner.cleanup()


async def run(browser: Browser, script: str, *arguments: str) -> Any:
    return await browser.do(lambda d: d.execute_async_script(script, *arguments))


async def test_the_browser_gives_it_nothing_that_the_dashboard_accepts(
    page: Page, browser: Browser, log_in: LogIn, other_port: OtherPort
) -> None:
    await log_in()
    await browser.open(other_port.url)
    stolen = {
        name: value
        for headers in other_port.headers
        for name, value in headers.items()
        if name not in ("Host", "Origin", "Connection")
    }
    async with aiohttp.ClientSession(headers=stolen) as thief:
        async with thief.get(f"{page.url}/api/state") as answer:
            assert answer.status == 401, "the session was stolen"
        kill = f"{page.url}/api/agents/alice/kill"
        async with thief.post(kill, json={}, headers={"Origin": page.url}) as answer:
            assert answer.status == 401, "the session was stolen"
    assert page.hive.agents["alice"].calls == []
    assert await browser.value("document.cookie + JSON.stringify(localStorage)") == "{}"


async def test_its_scripts_neither_read_nor_do_anything(
    page: Page, browser: Browser, log_in: LogIn, other_port: OtherPort
) -> None:
    await log_in()
    await browser.open(other_port.url)
    async with asyncio.timeout(TIME_LIMIT):
        assert await run(browser, ATTACK, page.url) == []
    assert page.hive.agents["alice"].calls == []
    assert page.hive.broker.log == []
    await browser.open_live(page.url)  # the session has not ended


@pytest.mark.long
async def test_its_cookies_lock_nobody_out(
    page: Page, browser: Browser, log_in: LogIn, other_port: OtherPort
) -> None:
    await log_in()
    await browser.open(other_port.url)
    assert await run(browser, BOMB) is None
    await browser.open(other_port.url)
    assert len(other_port.headers[-1]["Cookie"]) > 500_000
    await browser.open_live(page.url)
    await browser.choose("tr[data-key=bob]", "start")
    await browser.until(lambda _: page.hive.agents["bob"].calls == ["start"])
    await browser.open(f"{page.url}/agents/alice")
    await browser.sees("#agent .state", "running")
    await browser.click("#logout")
    await browser.sees("#how", "hivectl login-link")
    await log_in()


@pytest.mark.long
async def test_it_cannot_begin_a_session_that_its_page_may_use(
    page: Page, browser: Browser, other_port: OtherPort
) -> None:
    link = await page.link()
    await browser.open(other_port.url)
    login = """
    const [url, token, done] = arguments;
    fetch(url + "/login", { method: "POST", body: JSON.stringify({ token }), credentials: "include",
      headers: { "Content-Type": "application/json" } })
      .then(async (answer) => done(await answer.text()), () => done(null));
    """
    assert await run(browser, login, page.url, link.partition("token=")[2]) is None
    await browser.open(link)  # the token is not used up
    await browser.click("#with-link button")
    await browser.sees("#link", "Live")


@pytest.mark.long
async def test_the_other_address_of_localhost_has_no_session(page: Page, tmp_path: Path) -> None:
    port = int(page.url.rpartition(":")[2])
    async with open_browser(tmp_path / "profile") as browser:
        await browser.open((await page.link()).replace("127.0.0.1", "localhost"))
        await browser.click("#with-link button")
        await browser.sees("#link", "Live")
    try:
        listener = socket.create_server(("::1", port), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this host has no IPv6 loopback: {error}")
    listener.setblocking(False)
    runner = await OtherPort(listener).serve()
    # The same browser, without connections that it might use again.
    async with open_browser(tmp_path / "profile") as browser:
        await browser.open(f"http://localhost:{port}/")
        assert await browser.value("document.title") == "Evil"
        assert await browser.value("document.cookie + JSON.stringify(localStorage)") == "{}"
        await browser.open_live(page.url)
    await runner.cleanup()
