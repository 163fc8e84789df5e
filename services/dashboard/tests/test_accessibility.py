"""axe-core finds nothing serious on any page, busy, dark or light, on a large screen or a phone."""

from pathlib import Path
from typing import Any, Final

import pytest

from services.dashboard.http import pages
from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.busy import fill
from services.dashboard.tests.conftest import LogIn, Page

AXE: Final = Path(__file__).parent / "vendor/axe.js"

RUN: Final = """
const [rules, done] = arguments;
axe.run(document, rules ? { runOnly: rules } : {}).then(
  ({ violations }) => done(violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) =>
      `${id}: ${html.slice(0, 200)}: ${failureSummary.slice(0, 300)}`))),
  (error) => done([String(error)]));
"""

ON_A_PHONE: Final = """
const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.clientHeight > 0;
const scrolls = (one) => ["auto", "scroll"].includes(getComputedStyle(one).overflowY) &&
  one.scrollHeight > one.clientHeight + 1;
const small = (one) => one.getBoundingClientRect().height < 43.5;
const found = (css, is) => [...document.querySelectorAll(css)]
  .filter((one) => shown(one) && is(one)).map((one) => one.outerHTML.slice(0, 150));
return [...found("main *:not(textarea)", scrolls), ...found("button, select, summary", small)];
"""
"""The scrollers within the page, and the controls that are too small for a thumb."""

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(not AXE.exists(), reason="`make bootstrap-tests` fetches axe-core"),
]


async def check(browser: Browser, rules: list[str] | None = None) -> None:
    """Fail with what axe-core finds on the page."""
    await browser.settle()
    found: Any = await browser.do(lambda d: d.execute_async_script(RUN, rules))
    assert found == []


async def check_both(browser: Browser) -> None:
    """Check a page in both themes; what is not about colours is the same in both."""
    source = AXE.read_text()
    await browser.do(lambda d: d.execute_script(source))
    for theme, rules in (("dark", None), ("light", ["color-contrast"])):
        await browser.value(f"document.documentElement.dataset.theme = '{theme}'")
        await check(browser, rules)


OTHERS = [*pages.SECTIONS, "agents/alice/configuration", "agents/alice/turns/1", "changes/1"]


@pytest.mark.parametrize(
    "name",
    ["", *(pytest.param(name, marks=pytest.mark.long) for name in ("agents/alice", *OTHERS))],
)
async def test_nothing_serious_is_found(
    page: Page, browser: Browser, log_in: LogIn, name: str
) -> None:
    fill(page.hive, page.buses["lifecycle"])
    await log_in()
    await browser.open_live(f"{page.url}/{name}")
    await check_both(browser)
    assert await browser.overflow() <= 0
    # As high as the page: what scrolls below a bar is no smaller for it.
    await browser.resize(360, 6000)
    await check(browser, ["target-size", "color-contrast", "scrollable-region-focusable"])
    await browser.resize(360, 740)
    assert await browser.overflow() <= 0
    await touch(browser, enabled=True)
    try:
        assert await browser.do(lambda d: d.execute_script(ON_A_PHONE)) == []
    finally:
        await touch(browser, enabled=False)


async def touch(browser: Browser, *, enabled: bool) -> None:
    """Give the browser a touch screen, or a mouse again."""
    call = {"cmd": "Emulation.setTouchEmulationEnabled", "params": {"enabled": enabled}}
    await browser.do(lambda d: d.execute("executeCdpCommand", call))


@pytest.mark.parametrize("name", ["login", "no-such-page"])
async def test_nothing_serious_is_found_before_the_login(
    page: Page, browser: Browser, name: str
) -> None:
    await browser.open(f"{page.url}/{name}")
    await check_both(browser)
