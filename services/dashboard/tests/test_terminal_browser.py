"""The terminal in a real browser, with a real shell and a hostile one."""

import asyncio

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from services.config import DashboardConfig
from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.shells import FakeShell, offered, real
from services.dashboard.tests.test_accessibility import AXE, check_both

pytestmark = needs_chromium

SCREEN = "#screen .xterm-rows"
HOSTILE = (
    b"\x1b]0;evil title\x07\x1b]2;evil title\x1b\\"  # a title
    b"\x1b]52;c;ZXZpbA==\x07"  # the clipboard
    b"\x1b]8;;https://evil.example/\x07a link\x1b]8;;\x07 "
    b"https://evil.example/ "
    b"\x1b]9;a notification\x07\x1b]777;notify;a;b\x07\x1b]1337;File=inline=1:AAAA\x07"
    b"\x1b[8;5;5t\x1b[3;0;0t\x1b[2t"  # the size and the place of the window
    b"<img src=x onerror=document.title=1><script>document.title=2</script>"
    b"\x1b[31mred\x1b[0m drawn\r\n"
)


@pytest.fixture
def config() -> DashboardConfig:
    return DashboardConfig(terminal=True)


async def keys(browser: Browser, text: str) -> None:
    await browser.do(lambda d: d.find_element(By.CSS_SELECTOR, "#screen textarea").send_keys(text))


def click_on_the_link(driver: WebDriver) -> None:
    """Click on the first letters of the first line."""
    screen = driver.find_element(By.CSS_SELECTOR, "#screen .xterm-screen")
    chain = ActionChains(driver)
    across, down = int(screen.size["width"] / 2), int(screen.size["height"] / 2)
    chain.move_to_element(screen).move_by_offset(20 - across, 8 - down).click().perform()


async def number(browser: Browser, name: str) -> int:
    """Return the number that the shell prints as `name=NUMBER=`."""
    shown = f"return document.querySelector('{SCREEN}').innerText.match(/{name}=([0-9]+)=/)?.[1]"
    return int(await browser.until(lambda d: d.execute_script(shown)))


@pytest.mark.long
async def test_an_operator_works_in_a_shell(page: Page, browser: Browser, log_in: LogIn) -> None:
    await browser.resize(1200, 800)
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("#terminal a", "Open a terminal")
    async with offered(page.agents / "alice", real):
        await browser.open(f"{page.url}/agents/alice/terminal")
        await browser.sees("#state", "Live")
        await browser.sees(SCREEN, "$")
        await keys(browser, "echo wide=$(tput cols)=" + Keys.ENTER)
        wide = await number(browser, "wide")
        await browser.resize(500, 700)
        narrower = f"until [ $(tput cols) -lt {wide} ]; do sleep 0.1; done"
        await keys(browser, f"{narrower}; echo narrow=$(tput cols)=" + Keys.ENTER)
        narrow = await number(browser, "narrow")
        assert 20 < narrow < wide
        assert await browser.overflow() == 0
        await keys(browser, "exit" + Keys.ENTER)
        await browser.sees("#error", "The shell has ended.")
        await browser.click("#again")
        await browser.sees("#state", "Live")
        # Shift and Escape lead out of the terminal, in which Tab is a key of the shell.
        await keys(browser, Keys.SHIFT + Keys.ESCAPE + Keys.SHIFT)
        assert await browser.value("document.activeElement.id") == "close"
        await browser.click("#close")
        await browser.sees("#error", "You have closed it.")
        if AXE.exists():
            await check_both(browser)
    assert await browser.value("window.violations") == []


@pytest.mark.long
async def test_a_hostile_shell_only_draws(page: Page, browser: Browser, log_in: LogIn) -> None:
    await log_in()
    shell = FakeShell()
    async with offered(page.agents / "alice", shell.serve):
        await browser.open(f"{page.url}/agents/alice/terminal")
        await browser.sees("#state", "Live")
        await shell.until(lambda: shell.sizes)
        sizes = list(shell.sizes)
        assert shell.writer
        shell.writer.write(HOSTILE)
        await browser.sees(SCREEN, "drawn")
        await browser.sees(SCREEN, "<script>document.title=2</script>")
        assert await browser.value("document.title") == "Terminal of alice · Hyperhive"
        # No link is made, of neither kind, and a click on the text of one opens nothing.
        await browser.do(click_on_the_link)
        assert (
            await browser.value("document.querySelectorAll('#screen a, #screen img').length") == 0
        )
        assert await browser.do(lambda d: len(d.window_handles)) == 1
        # The program gets no answer about the window and the clipboard.
        shell.writer.write(b"\x1b[18t\x1b[21t\x1b]52;c;?\x07\x1b[6n")
        await shell.until(lambda: shell.typed.endswith(b"R"))
        assert b"evil" not in shell.typed
        assert b"52;" not in shell.typed
        assert shell.typed.count(b"\x1b") == 1  # the place of the cursor alone
        assert shell.sizes == sizes
        await asyncio.sleep(0)
    assert await browser.value("window.violations") == []


async def test_another_site_opens_no_terminal(page: Page, browser: Browser, log_in: LogIn) -> None:
    await log_in()
    shell = FakeShell()
    async with offered(page.agents / "alice", shell.serve):
        lure = f"data:text/html,<a id=lure href='{page.url}/agents/alice/terminal'>Look</a>"
        await browser.open(lure)
        await browser.press("#lure")
        await browser.sees("#error", "Another site has led to this page.")
        assert shell.writer is None
        await browser.click("#again")
        await browser.sees("#state", "Live")
