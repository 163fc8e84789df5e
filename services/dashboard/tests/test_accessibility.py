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


OTHERS = [*pages.SECTIONS, "agents/alice/configuration", "agents/alice/turns/1"]


@pytest.mark.parametrize(
    "name",
    ["", "agents/alice", *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)],
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


@pytest.mark.parametrize("name", ["login", "no-such-page"])
async def test_nothing_serious_is_found_before_the_login(
    page: Page, browser: Browser, name: str
) -> None:
    await browser.open(f"{page.url}/{name}")
    await check_both(browser)
