"""A real browser for tests: chromium with its own profile, and chromedriver on its own port."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from selenium import webdriver
from selenium.webdriver.chrome.remote_connection import ChromeRemoteConnection
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from services.dashboard.tests.conftest import TIME_LIMIT

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,900",
)

# Remembers every violation of the content security policy, from before the page's first line.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""

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
        await self.until(
            lambda d: any(
                text in element.text
                for element in d.find_elements(By.CSS_SELECTOR, css)
                if element.is_displayed()
            )
        )

    async def until_hidden(self, css: str) -> None:
        await self.until(lambda d: not d.find_element(By.CSS_SELECTOR, css).is_displayed())

    async def until_count(self, css: str, count: int) -> None:
        await self.until(lambda d: len(d.find_elements(By.CSS_SELECTOR, css)) == count)

    async def click(self, css: str) -> None:
        await self.do(lambda d: d.find_element(By.CSS_SELECTOR, css).click())

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


@asynccontextmanager
async def chromedriver() -> AsyncIterator[str]:
    """Run a chromedriver, and yield its address.

    It chooses its port itself: a port that we chose could be taken until it listens.
    """
    process = await asyncio.create_subprocess_exec(
        DRIVER or "chromedriver", "--port=0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIME_LIMIT):
            while not (
                port := re.search(rb"successfully on port (\d+)", await process.stdout.readline())
            ):
                assert not process.stdout.at_eof(), "chromedriver ended"
        yield f"http://127.0.0.1:{int(port[1])}"
    finally:
        process.terminate()
        await process.communicate()


@asynccontextmanager
async def open_browser(profile: Path) -> AsyncIterator[Browser]:
    """Run a browser with the profile directory `profile`."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    async with chromedriver() as address:
        connection = ChromeRemoteConnection(address)

        def start() -> WebDriver:
            driver = WebDriver(connection, options=options)
            watch = {
                "cmd": "Page.addScriptToEvaluateOnNewDocument",
                "params": {"source": WATCH},
            }
            driver.execute("executeCdpCommand", watch)
            return driver

        driver = await asyncio.to_thread(start)
        try:
            yield Browser(driver)
        finally:
            await asyncio.to_thread(driver.quit)
