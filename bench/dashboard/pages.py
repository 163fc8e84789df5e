"""The cold load of the main page in a real browser."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.dashboard.stage import Stage
from services.dashboard.tests.browser import Browser, open_browser

# From before the page's first line: the time of the first frame that shows the hive.
WATCH: Final = """
new MutationObserver((_, observer) => {
  if (document.querySelector("main")?.getAttribute("aria-busy") !== "false") return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.shownAt = performance.now() }));
}).observe(document, { subtree: true, childList: true, attributes: true });
"""

PAINT: Final = """
const done = arguments[0];
new PerformanceObserver((list) => {
  const found = list.getEntriesByName("first-contentful-paint")[0];
  if (found) done(found.startTime);
}).observe({ type: "paint", buffered: true });
"""


@dataclass(frozen=True, slots=True)
class Load:
    """The times of one load, in milliseconds."""

    first_paint: float
    """Until the browser paints the first text or image."""
    shown: float
    """Until it has drawn the hive."""
    script: float
    """The time in scripts."""
    layout: float
    """The time for styles and layout."""


async def loads(stage: Stage, folder: Path, times: int) -> tuple[list[Load], list[float]]:
    """Return cold loads of the main page, and first paints of a page without data, in turn."""
    async with open_browser(folder) as browser:
        await browser.open(f"{stage.url}/login")
        await browser.do(
            lambda d: d.execute_script(
                f"localStorage.setItem('hyperhive-session', '{stage.session}')"
            )
        )
        for command, parameters in (
            ("Performance.enable", {}),
            ("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH}),
        ):
            await devtools(browser, command, parameters)
        found, floors = [], []
        for _ in range(times):
            await browser.open(f"{stage.url}/an-address-that-nobody-serves")
            floors.append(await paint(browser))
            found.append(await load(browser, stage.url))
        return found, floors


async def load(browser: Browser, url: str) -> Load:
    """Load the main page."""
    before = await metrics(browser)
    await browser.open(url)
    first_paint = await paint(browser)
    shown = await browser.until(lambda d: d.execute_script("return window.shownAt"))
    after = await metrics(browser)
    used = {name: 1000 * (after[name] - before.get(name, 0.0)) for name in after}
    return Load(
        first_paint,
        float(shown),
        used["ScriptDuration"],
        used["LayoutDuration"] + used["RecalcStyleDuration"],
    )


async def paint(browser: Browser) -> float:
    """Return the time of the first paint."""
    async with asyncio.timeout(60):
        return float(await browser.do(lambda d: d.execute_async_script(PAINT)))


async def metrics(browser: Browser) -> dict[str, float]:
    """Return the browser's own figures of this tab."""
    found = await devtools(browser, "Performance.getMetrics", {})
    return {one["name"]: float(one["value"]) for one in found["metrics"]}


async def devtools(browser: Browser, command: str, parameters: dict[str, Any]) -> Any:
    """Send a command of the DevTools protocol."""
    call = {"cmd": command, "params": parameters}
    return await browser.do(lambda d: d.execute("executeCdpCommand", call)["value"])
