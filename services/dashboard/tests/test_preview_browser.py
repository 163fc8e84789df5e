"""A preview in a real browser: opened from the page of the agent, on an origin of its own."""

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


def offer(page: Page, *ports: int) -> None:
    """Have alice offer ports of her localhost."""
    alice = page.hive.agents["alice"]
    alice.show(network=alice.shown.network._replace(ports=ports))


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
        # Its scripts reach nothing of the dashboard.
        script = (
            f"fetch('http://127.0.0.1:{port}/api/state')"
            ".then(() => 'read', () => 'refused').then((said) => (document.title = said))"
        )
        await browser.do(lambda d: d.execute_script(script))
        await browser.until(lambda d: d.title == "refused")
    assert all(b"hyperhive-preview" not in request for request in program.got)


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
