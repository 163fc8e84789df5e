"""A real browser for tests: chromium with its own profile, and chromedriver on its own port."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.remote_connection import ChromeRemoteConnection
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

TIME_LIMIT = 60.0

# The first one is the same browser without windows, for whose drawing nobody waits here.
WHOLE = shutil.which("chromium")
CHROMIUM = shutil.which("chromium-headless-shell") or WHOLE
DRIVER = shutil.which("chromedriver")

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)

needs_windows = pytest.mark.skipif(
    not (WHOLE and DRIVER), reason="chromium and chromedriver are not installed"
)
"""For notifications, and for tabs that are behind others, which only the whole browser has."""

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,760",
)

# From before the page's first line: remembers every violation of the content security policy, and
# counts the clicks that the page is given and those that it takes.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
window.given = window.taken = 0;
window.addEventListener("click", () => { window.given += 1 }, true);
window.addEventListener("click", () => { window.taken += 1 });
"""

FORGET: dict[str, dict[str, str]] = {
    "Network.clearBrowserCookies": {},
    "Network.clearBrowserCache": {},
    "Storage.clearDataForOrigin": {"origin": "*", "storageTypes": "all"},
    "Browser.resetPermissions": {},
}
"""The commands by which a browser forgets all that pages have left in it."""

SEES = """
const [css, text] = arguments;
return [...document.querySelectorAll(css)].some((element) =>
  element.checkVisibility({ visibilityProperty: true }) && element.innerText.includes(text));
"""

REFUSED = "return window.given - window.taken"

PASSING = [NoSuchElementException, StaleElementReferenceException]
"""Errors about an element that the page is about to make, or to make again."""

NAVIGATED: Final = "aborted by navigation"
"""The beginning of the error of a call that the page's own navigation has ended."""

Predicate: TypeAlias = Callable[[WebDriver], Any]


class Browser:
    """A browser whose driver runs in threads, so that this loop's dashboard can answer it."""

    def __init__(self, driver: WebDriver) -> None:
        self._driver = driver

    async def do(self, action: Predicate) -> Any:
        return await asyncio.to_thread(action, self._driver)

    async def until(self, holds: Predicate) -> Any:
        wait = WebDriverWait(self._driver, TIME_LIMIT, 0.05, ignored_exceptions=[Exception])
        return await asyncio.to_thread(wait.until, holds)

    async def open(self, url: str) -> None:
        await self.do(lambda d: d.get(url))

    async def open_live(self, url: str) -> None:
        """Open a page of the dashboard, and wait for its event stream."""
        await self.open(url)
        await self.sees("#link", "Live")

    async def resize(self, width: int, height: int) -> None:
        """Set the size of the page; a window cannot be as narrow as a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        await self.do(lambda d: d.execute("executeCdpCommand", command))

    async def overflow(self) -> Any:
        """Return by how many pixels the page is wider than the screen."""
        page = "document.documentElement"
        return await self.value(f"{page}.scrollWidth - {page}.clientWidth")

    async def sees(self, css: str, text: str) -> None:
        """Wait until an element that fits `css` is shown and contains `text`."""
        await self.until(lambda d: d.execute_script(SEES, css, text))

    async def until_hidden(self, css: str) -> None:
        await self.until(lambda d: not d.find_element(By.CSS_SELECTOR, css).is_displayed())

    async def until_count(self, css: str, count: int) -> None:
        await self.until(lambda d: len(d.find_elements(By.CSS_SELECTOR, css)) == count)

    async def click(self, css: str) -> None:
        """Click an element until the page takes the click: not while the element has just moved."""

        def taken(d: WebDriver) -> bool:
            clicked = False
            try:
                element = d.find_element(By.CSS_SELECTOR, css)
                moved = "return arguments[0].closest('[data-moved]') !== null"
                if d.execute_script(moved, element):
                    return False
                before = d.execute_script(REFUSED)
                element.click()
                clicked = True
                return bool(d.execute_script(REFUSED) <= before)  # less: it led to another page
            except WebDriverException as error:
                if NAVIGATED not in str(error.msg):
                    raise
                # This click has led to another page; or an earlier one has, and only now.
                return clicked

        wait = WebDriverWait(self._driver, TIME_LIMIT, 0.05, ignored_exceptions=PASSING)
        await asyncio.to_thread(wait.until, taken)

    async def choose(self, row: str, verb: str) -> None:
        """Choose an action of the menu in a row."""
        await self.click(f"{row} .menu-of")
        await self.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".menu [role=menuitem]"))
        # A menu takes no press of the mouse in its first moment, and keys at once.
        await self.type(f".menu [data-verb='{verb}']", Keys.ENTER)

    async def press(self, css: str) -> None:
        """Click an element once, whether the page takes the click or not."""
        await self.do(lambda d: d.find_element(By.CSS_SELECTOR, css).click())

    async def unfold(self, css: str) -> None:
        """Click a summary until its details are open: a list that is still loading may move it."""

        def is_open(d: WebDriver) -> bool:
            summary = d.find_element(By.CSS_SELECTOR, css)
            opened = "return arguments[0].parentElement.open"
            if not d.execute_script(opened, summary):
                summary.click()
            return bool(d.execute_script(opened, summary))

        await self.until(is_open)

    async def point_at(self, css: str) -> None:
        """Move the mouse to an element, and remember where it is: see `under_mouse`."""

        def move(d: WebDriver) -> None:
            d.execute_script("onmousemove = (event) => { window.at = event }")
            element = d.find_element(By.CSS_SELECTOR, css)
            ActionChains(d).move_to_element(element).perform()

        await self.do(move)
        await self.until(lambda d: d.execute_script("return window.at !== undefined"))

    async def under_mouse(self) -> Any:
        """Return the key of the list's item that is where the mouse is."""
        here = "document.elementFromPoint(window.at.clientX, window.at.clientY)"
        return await self.value(f"{here}.closest('li').dataset.key")

    async def mouse(self, act: Callable[[ActionChains], ActionChains]) -> None:
        """Use the mouse where it is."""
        await self.do(lambda d: act(ActionChains(d)).perform())

    async def freeze(self) -> None:
        """Stop the page's clock until `thaw`; `advance` moves it."""
        await self.do(
            lambda d: d.execute_script(
                "const now = performance.now(); window.more = 0;"
                "performance.now = () => now + window.more;"
            )
        )

    async def advance(self, milliseconds: int) -> None:
        """Move the page's clock on, after `freeze`."""
        await self.do(lambda d: d.execute_script(f"window.more += {milliseconds}"))

    async def thaw(self) -> None:
        """Let the page's clock run again, and wait until nothing has moved for a moment."""
        await self.do(lambda d: d.execute_script("delete performance.now"))
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing has moved for a moment: see press_guard.js."""
        await self.until(lambda d: not d.find_elements(By.CSS_SELECTOR, "[data-moved]"))

    async def type(self, css: str, *keys: str) -> None:
        await self.do(lambda d: d.find_element(By.CSS_SELECTOR, css).send_keys(*keys))

    async def value(self, script: str) -> Any:
        return await self.do(lambda d: d.execute_script(f"return {script}"))

    async def violations(self) -> Any:
        """Return the violations of the content security policy."""
        return await self.value("window.violations")

    async def errors(self) -> list[str]:
        """Return the errors in the browser's console."""
        log = await self.do(lambda d: d.execute("getLog", {"type": "browser"})["value"])
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@contextmanager
def chromedriver() -> Iterator[str]:
    """Run a chromedriver, and yield its address.

    It chooses its port itself: a port that we chose could be taken until it listens.
    """
    with subprocess.Popen([DRIVER or "chromedriver", "--port=0"], stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        try:
            for line in driver.stdout:
                if port := re.search(rb"successfully on port (\d+)", line):
                    break
            else:
                raise AssertionError("chromedriver ended")
            yield f"http://127.0.0.1:{int(port[1])}"
        finally:
            driver.terminate()


@contextmanager
def running_chromium(profile: Path, chromium: str = CHROMIUM or "chromium") -> Iterator[WebDriver]:
    """Run a chromium with the profile directory `profile`."""
    # chromedriver waits for a first page, and the browser without windows opens none by itself.
    program = profile.with_name(f"{profile.name}.sh")
    program.write_text(f'#!/bin/sh\nexec {chromium} "$@" about:blank\n')
    program.chmod(0o755)
    options = webdriver.ChromeOptions()
    options.binary_location = str(program)
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with chromedriver() as address:
        driver = WebDriver(ChromeRemoteConnection(address), options=options)
        try:
            yield driver
        finally:
            driver.quit()


@contextmanager
def new_tab(driver: WebDriver) -> Iterator[None]:
    """Open a tab in place of all others, and forget in the end all that pages have left."""
    others = driver.window_handles
    driver.switch_to.new_window("tab")
    tab = driver.current_window_handle
    for other in others:
        driver.switch_to.window(other)
        driver.close()
    driver.switch_to.window(tab)
    # A page behind another one draws nothing, and is told of no new size.
    driver.execute("executeCdpCommand", {"cmd": "Page.bringToFront", "params": {}})
    watch(driver)
    driver.execute("getLog", {"type": "browser"})  # what is left of the tabs before
    try:
        yield
    finally:
        for command, parameters in FORGET.items():
            driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})


def watch(driver: WebDriver) -> None:
    """Run the script WATCH in each page of the window."""
    parameters = {"source": WATCH}
    command = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": parameters}
    driver.execute("executeCdpCommand", command)


@asynccontextmanager
async def open_browser(profile: Path) -> AsyncIterator[Browser]:
    """Run a browser of its own, with the profile directory `profile`."""
    running = running_chromium(profile)
    driver = await asyncio.to_thread(running.__enter__)
    try:
        await asyncio.to_thread(watch, driver)
        yield Browser(driver)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
