"""Two browsers that do the same thing: the one that comes second is told."""

from pathlib import Path

import pytest

from services.dashboard.tests.browser import Browser, needs_chromium, open_browser
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.late_relay import late

pytestmark = needs_chromium


@pytest.mark.long
async def test_the_browser_that_decides_second_is_told_though_the_card_goes(
    page: Page, browser: Browser, log_in: LogIn, tmp_path: Path
) -> None:
    page.hive.broker.ask("alice", "operator", "Where to?", "left", "right", permission="1")
    page.hive.approvals.ask("carol", "to help alice")
    await log_in()
    async with (
        late(int(page.url.rpartition(":")[2]), events=2.0) as url,
        open_browser(tmp_path / "second") as second,
    ):
        await second.open(f"{url}/login#token={await page.token()}")
        await second.click("#with-link button")
        for css, sentence in (
            (".asked [data-key='1'] form button:nth-of-type(1)", "Question 1 is no longer open"),
            (
                ".pending [data-key='1'] .buttons .primary",
                "Request 1 for carol is already approved",
            ),
        ):
            await second.until_count(css, 1)
            await second.settle()
            await browser.click(css)
            await browser.until_count(css, 0)
            # The events that would remove the card are still on their way.
            await second.press(css)
            await second.sees(".told", sentence)
            await second.until_count(css, 0)
            await second.sees(".told", sentence)
            await second.press(".told button")
            await second.until_hidden(".told")
        assert await second.violations() == []
