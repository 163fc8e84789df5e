"""A preview in a real browser: opened from the page of the agent, on an origin of its own."""

import pytest

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.test_preview import Program, serving

pytestmark = needs_chromium

PAGE = b"""<!doctype html><title>theirs</title><p id="said">hello</p><script>
document.cookie = "theirs=1";
const stored = Object.keys(localStorage).join();
document.getElementById("said").textContent =
  `${document.cookie}|${stored}|${String(window.opener)}|${document.referrer}`;
</script>"""


ATTACK = """
const at = arguments[0], url = `http://${at}`, won = [];
const post = (path, body, more) =>
  fetch(url + path, { method: "POST", body, credentials: "include", ...more });
const kill = "/api/agents/alice/kill";
const attempts = {
  read: () => fetch(`${url}/api/state`, { credentials: "include" }).then((answer) => answer.text()),
  "read of a page": () => fetch(`${url}/agents/alice`).then((answer) => answer.text()),
  post: () => post(kill, "{}", { headers: { "Content-Type": "application/json" } }),
  "post with a header": () => post(kill, "{}", { headers: { "Hyperhive-Session": "x" } }),
  "blind post": () => post(kill, "{}", { mode: "no-cors" }).then(() => Promise.reject()),
  beacon: () => { navigator.sendBeacon(url + kill, "{}"); return Promise.reject(); },
  "web socket": () => new Promise((won, lost) => {
    const socket = new WebSocket(`ws://${at}/terminals/aaaaaaaaaaaaaaaaaaaaaaaa`);
    socket.onopen = won; socket.onerror = lost;
  }),
  frame: () => new Promise((won, lost) => {
    const frame = document.createElement("iframe");
    frame.src = `${url}/`;
    const look = () => won(frame.contentWindow.localStorage.length);
    frame.onload = () => { try { look(); } catch { lost(); } };
    document.body.append(frame);
  }),
  script: () => import(`${url}/static/session.js`),
  form: () => {
    const form = document.createElement("form");
    Object.assign(form, { action: url + kill, method: "post", target: "other" });
    document.body.append(form); form.submit();
    return new Promise((won, lost) => setTimeout(lost, 300));
  },
};
(async () => {
  for (const [name, attempt] of Object.entries(attempts))
    await attempt().then(() => won.push(name), () => {});
  document.title = `done: ${won.join() || "none"}`;
})();
"""
"""The attempts of a hostile page: each that succeeds is named in the title."""


def offer(page: Page, *ports: int) -> None:
    """Have alice offer ports of her localhost."""
    alice = page.hive.agents["alice"]
    alice.show(network=alice.shown.network._replace(ports=ports))


@pytest.mark.long
async def test_a_preview_opens_in_a_tab_and_sees_nothing_of_the_dashboard(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    program = Program()
    program.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
        % (len(PAGE), PAGE)
    )
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    assert await browser.value("localStorage.length") > 0
    async with serving(program, page.agents / "alice"):
        offer(page, 3000)
        await browser.click("#preview button")
        await browser.until(lambda d: len(d.window_handles) == 2)
        await browser.do(lambda d: d.switch_to.window(d.window_handles[-1]))
        await browser.sees("#said", "theirs=1||null|")
        assert await browser.value("document.getElementById('said').textContent") == (
            "theirs=1||null|"
        )
        port = page.url.rpartition(":")[2]
        assert await browser.value("location.href") == f"http://alice-3000.localhost:{port}/"
        # Its scripts reach nothing of the dashboard, and do nothing there.
        await browser.do(lambda d: d.execute_script(ATTACK, f"127.0.0.1:{port}"))
        await browser.until(lambda d: d.title.startswith("done"))
        assert await browser.do(lambda d: d.title) == "done: none"
        # From the dashboard's own origin some of them do succeed.
        await browser.do(lambda d: d.switch_to.window(d.window_handles[0]))
        await browser.do(lambda d: d.execute_script(ATTACK, f"127.0.0.1:{port}"))
        await browser.until(lambda d: d.title.startswith("done: read,read of a page,"))
    assert all(b"hyperhive-preview" not in request for request in program.got)
    assert page.hive.agents["alice"].calls == []
    assert page.hive.broker.log == []


@pytest.mark.long
async def test_the_ports_of_an_agent_fit_a_phone(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await browser.resize(360, 740)
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.until_hidden("#preview")
    offer(page, *range(3000, 3016))
    await browser.sees("#preview", "Open port 3015")
    assert await browser.overflow() == 0
