"""The copy of the tables in a page: whole and in order, however late state and events are."""

import asyncio
import itertools

import pytest

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import Page
from services.dashboard.tests.fakes.now import NOW
from services.dashboard.tests.late_relay import late

pytestmark = needs_chromium

# Two copies, one of which joins the stream that is open, and the other opens one of its own. Each
# keeps every value of a counter that it has shown.
RECORD = """
const done = arguments[0];
import("/static/mirror.js").then(({ Mirror }) => {
  const open = () => {
    const copy = { seen: [] };
    copy.mirror = new Mirror(() => {
      const { turn_since: counter } = copy.mirror.tables.agents.alice ?? {};
      if (counter !== undefined && copy.seen.at(-1) !== counter) copy.seen.push(counter);
    }, (state) => { copy.state = state; });
    copy.mirror.connect();
    return copy;
  };
  window.joined = open();
  delete window.SharedWorker;
  window.own = open();
  done();
});
"""

# A call takes 30 ms, and changes come as soon as the page has a moment for them.
GATHER = """
const done = arguments[0];
import("/static/gathered.js").then(async ({ Gathered }) => {
  const calls = [], shares = [];
  let ended = null;
  const gathered = new Gathered((tables, isWhole) => {
    const began = performance.now();
    if (ended !== null && !isWhole) shares.push((began - ended) / 30);
    calls.push([[...tables].sort().join(" "), isWhole]);
    while (performance.now() < began + 30);
    ended = performance.now();
  });
  const moment = () => new Promise((resolve) => setTimeout(resolve));
  gathered.add(["first"]);
  const atOnce = calls.length;
  for (let number = 0; number < 50; number += 1) {
    gathered.add([`t${number % 3}`]);
    await moment();
  }
  gathered.add(["last"]);
  gathered.add(["all"], true);
  const whole = calls.length;
  gathered.add(["one"]);
  while (calls.length === whole) await moment();
  done({ atOnce, calls, whole: calls[whole - 1], last: calls[whole], least: Math.min(...shares) });
});
"""


async def test_a_page_is_left_time_between_two_renderings(page: Page, browser: Browser) -> None:
    await browser.open(f"{page.url}/login")
    told = await browser.do(lambda d: d.execute_async_script(GATHER))
    assert told["atOnce"] == 1
    assert told["calls"][0] == ["first", False]
    assert told["least"] >= 1.9  # times a call's time; timers count whole milliseconds
    assert "all" in told["whole"][0].split()
    assert told["whole"][1] is True
    shown = [name for names, _ in told["calls"] for name in names.split()]
    assert shown.count("last") == 1
    assert "last" in shown[: shown.index("one")]
    assert told["last"] == ["one", False]


@pytest.mark.parametrize(
    ("state", "events"),
    [
        pytest.param(0.4, 0.0, id="state", marks=pytest.mark.long),
        pytest.param(0.0, 0.4, id="events", marks=pytest.mark.long),
        pytest.param(0.3, 0.3, id="both"),
    ],
)
async def test_nothing_is_missed_repeated_or_undone_however_late_it_is(
    page: Page, browser: Browser, state: float, events: float
) -> None:
    async with late(int(page.url.rpartition(":")[2]), state, events) as url:
        await browser.open(f"{url}/login#token={await page.token()}")
        await browser.click("#with-link button")
        await browser.sees("#link", "Live")
        enough = asyncio.Event()
        changing = asyncio.create_task(change(page, enough))
        await browser.do(lambda d: d.execute_async_script(RECORD))
        for copy in ("window.joined", "window.own"):  # while the counter grows
            await until_recorded(browser, copy)
        enough.set()
        last = await changing
        for copy in ("window.joined", "window.own"):
            await until_seen(browser, copy, last)
            seen = await browser.value(f"{copy}.seen")
            assert seen == sorted(set(seen))
            bodies = f"{copy}.mirror.rows('messages').map(({{ body }}) => body)"
            assert await browser.value(bodies) == [f"message {n}" for n in range(150)]
            assert await browser.value(f"{copy}.state") == "live"


async def until_recorded(browser: Browser, copy: str) -> None:
    await browser.until(lambda d: d.execute_script(f"return {copy}.seen.length > 10"))


async def until_seen(browser: Browser, copy: str, value: int) -> None:
    await browser.until(lambda d: d.execute_script(f"return {copy}.seen.at(-1)") == value)


async def change(page: Page, enough: asyncio.Event) -> int:
    """Change a row and add another one, at least 150 times; return the last value of the row."""
    for number in itertools.count():
        if number >= 150 and enough.is_set():
            break
        if number < 150:
            page.hive.broker.arrive("alice", "operator", f"message {number}")
        page.hive.agents["alice"].show(turn_since=NOW + number + 1)
        await asyncio.sleep(0.01)
    return NOW + number
