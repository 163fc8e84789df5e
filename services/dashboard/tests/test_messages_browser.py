"""The message flow, the message box, questions, and the page of messages, in a real browser."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from services.dashboard.tests.browser import Browser, needs_chromium, open_browser
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.records.broker import MessageState, QuestionState

pytestmark = needs_chromium

BOX = "#compose-text"
SHOWN = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
"""Returns when all changes so far are on the screen."""
SECOND = 1_000_000

MARKDOWN = """# The *build*
It **fails** in `a<b>c`, see [the log](https://logs.example/1) or https://docs.example/x_(y).

- one
  - two

1. first

```sh
rm -rf "$X" <script>
```
> they said

| a | b |
|---|---|
| 1 | 2 |

<img src=x onerror="window.harm = 1"> ![pixel](https://track.example/p.png)
[here](javascript:window.harm=2) [own](OWN/agents/bob) [you](https://user@bank.example/)
"""

SHAPE = """
const body = document.querySelector("#message-1 .body");
const all = (css) => [...body.querySelectorAll(css)].map((node) => node.textContent);
return JSON.stringify({
  strong: all("strong"), code: all("p code"), pre: all("pre"), quote: all("blockquote"),
  heading: all("[role=heading]"), items: all("[role=listitem] > div"), cells: all("[role=cell]"),
  links: [...body.querySelectorAll("a")].map((a) => [a.href, a.rel, a.target, a.textContent]),
  foreign: all("img, script, iframe, style").length,
});
"""


async def test_markdown_is_rendered_and_runs_nothing(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    page.hive.broker.arrive("alice", "operator", MARKDOWN.replace("OWN", page.url))
    page.hive.broker.arrive("alice", "operator", "**bold \u202e** https://cl\u0430ude.ai/x")
    await log_in()
    await browser.sees("#message-1 .body", "The build")
    shape = json.loads(await browser.do(lambda d: d.execute_script(SHAPE)))
    rel = "noopener noreferrer nofollow"
    assert shape.pop("links") == [
        ["https://logs.example/1", rel, "_blank", "the log https://logs.example/1"],
        ["https://docs.example/x_(y)", rel, "_blank", "https://docs.example/x_(y)"],
        ["https://track.example/p.png", rel, "_blank", "pixel https://track.example/p.png"],
    ]
    assert shape == {
        "strong": ["fails"],
        "code": ["a<b>c"],
        "pre": ['rm -rf "$X" <script>'],
        "quote": ["they said"],
        "heading": ["The build"],
        "items": ["one•two", "two", "first"],
        "cells": ["1", "2"],
        "foreign": 0,
    }
    await browser.sees("#message-1 .body", "[here](javascript:window.harm=2)")
    await browser.sees("#message-2 strong .hidden-character", "U+202E")
    await browser.sees("#message-2 .body", "https://xn--clude-5ve.ai/x")
    await browser.until_count("#message-2 a", 0)
    assert await browser.value("window.harm") is None
    assert await browser.violations() == []


@pytest.mark.long
async def test_hostile_markdown_takes_no_longer_than_it_is_long(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    script = """
const done = arguments[0];
import("/static/markdown.js").then(({ putMarkdown }) => {
  const texts = ["*a **b ", "[", "](https://", "[a](https://", "> ", "- ", "- a\\n", "a\\n\\n",
    "` ", "https://", "**a*", "1. ", "|", "> - ", " ", "# ", "_a ", "```", "~~~\\n", "*a* "];
  const slow = [];
  for (const text of texts) {
    const from = performance.now();
    const node = document.createElement("div");
    putMarkdown(node, text.repeat(99000 / text.length));
    let depth = 0;
    for (let at = node; at; at = at.firstElementChild) depth += 1;
    const elements = node.querySelectorAll("*").length;
    if (performance.now() - from > 5000 || elements > 25000 || depth > 60) slow.push(text);
  }
  done(JSON.stringify(slow));
}).catch((error) => done(JSON.stringify([String(error.stack)])));
"""
    assert json.loads(await browser.do(lambda d: d.execute_async_script(script))) == []


async def test_the_flow_stays_at_its_end_until_the_reader_leaves_it(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker, lifecycle = page.hive.broker, page.hive.lifecycle
    for number in range(60):
        broker.arrive("alice", "operator", f"message {number}\nand more")
    for number in range(3):
        path = names.job_path(number + 1)
        lifecycle.JobRemoved(number + 1, path, f"dave-{number}", "rebuild", "failed", "No.")
    await log_in()
    await browser.until_count("#notices li", 3)
    gap = (
        "((box) => box.scrollHeight - box.scrollTop - box.clientHeight)"
        "(document.querySelector('.scroller'))"
    )
    await browser.until(lambda d: abs(d.execute_script(f"return {gap}")) < 2)
    # On a phone they are one line, until it is pressed.
    await browser.resize(360, 740)
    await browser.until_hidden("#notices li")
    await browser.press("#more-notices")
    await browser.sees("#notices", "Could not rebuild dave-2")
    await browser.press("#more-notices")
    await browser.sees("#more-notices", "3 notices: dave-0, dave-1, dave-2")
    await browser.resize(1400, 900)
    await browser.until(lambda d: abs(d.execute_script(f"return {gap}")) < 2)
    # A notice that comes later takes room from the flow, and so does a long text in the box.
    lifecycle.JobRemoved(9, names.job_path(9), "erin", "rebuild", "failed", "No.")
    await browser.until_count("#notices li", 4)
    # The box grows by a line at a time, and is measured each time, for which it shrinks to one.
    for _line in range(6):
        await browser.type(BOX, "line", Keys.SHIFT + Keys.ENTER + Keys.NULL)
        await browser.until(lambda d: abs(d.execute_script(f"return {gap}")) < 2)
    assert await browser.value(f"document.querySelector('{BOX}').clientHeight") > 80
    # Most letters begin no line, and each is on the screen before the next one comes.
    for letter in "slow":
        await browser.type(BOX, letter)
        await browser.do(lambda d: d.execute_async_script(SHOWN))
    assert abs(await browser.value(gap)) < 2
    broker.arrive("alice", "operator", "the newest")
    await browser.sees(".message:last-child", "the newest")
    await browser.until(lambda d: abs(d.execute_script(f"return {gap}")) < 2)
    await browser.do(
        lambda d: d.execute_script("document.querySelector('.scroller').scrollTop = 90")
    )
    await browser.until(lambda d: d.execute_script(f"return {gap}") > 200)
    for text in ("one more", "two more"):
        broker.arrive("bob", "manager", text)
    await browser.sees(".newer", "2 new messages")
    await browser.click(".newer")
    await browser.until(lambda d: abs(d.execute_script(f"return {gap}")) < 2)
    await browser.until_hidden(".newer")


@pytest.mark.long
async def test_the_message_box_remembers_warns_and_asks(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive = page.hive
    await log_in()
    # A draft, its reply and the view survive a reload; the recipient is remembered.
    hive.broker.arrive("alice", "operator", "well?")
    await browser.sees("#message-1", "well?")
    await browser.click("#message-1 .answer")
    await browser.type(BOX, "six times")
    await browser.do(
        lambda d: d.execute_script("document.querySelector('[data-view=inbox]').click()")
    )
    await browser.open_live(page.url)
    assert await browser.value(f"document.querySelector('{BOX}').value") == "@alice six times"
    await browser.sees("#compose .reply", "Reply to #1 from alice")
    await browser.sees("[data-view=inbox][aria-pressed=true]", "Inbox")
    await browser.type(BOX, " seven", Keys.ENTER)
    await browser.until(lambda _: len(hive.broker.log) == 2)
    assert hive.broker.log[1][1:5] == ("operator", "alice", "message", "six times seven")
    assert hive.broker.log[1].in_reply_to == 1
    await browser.sees("#recipient", "alice")
    await browser.type(BOX, "again", Keys.ENTER)
    await browser.until(lambda _: len(hive.broker.log) == 3)
    assert hive.broker.log[2].recipient == "alice"
    await browser.click("#compose .forget")
    await browser.sees("#recipient", "manager")
    # bob is stopped, and zed does not exist.
    await browser.type(BOX, "@bob hello")
    await browser.sees("#compose .warning", "bob is stopped: it reads the message when")
    await browser.click("#compose .start")
    await browser.until(lambda _: hive.agents["bob"].calls == ["start"])
    hive.agents["bob"].become("running")
    await browser.until_hidden("#compose .warning")
    await browser.type(BOX, Keys.CONTROL + "a" + Keys.NULL, "@zed x")
    await browser.sees("#compose .warning", "There is no agent zed.")
    # A message to all is sent after a question.
    await browser.type(BOX, Keys.CONTROL + "a" + Keys.NULL, "@")
    await browser.sees("#names", "@* (all agents)")
    await browser.type(BOX, "* lunch", Keys.ENTER)
    await browser.sees("dialog", "3 agents will get this message")
    await asyncio.to_thread(time.sleep, 0.5)  # the dialog takes no press before
    await browser.click("dialog [type=button]")
    await browser.until_count("dialog", 0)
    assert len(hive.broker.log) == 3
    await browser.type(BOX, Keys.ENTER)
    await browser.sees("dialog", "lunch")
    await asyncio.to_thread(time.sleep, 0.5)
    await browser.click("dialog [type=submit]")
    await browser.until(lambda _: len(hive.broker.log) == 4)
    assert (hive.broker.log[3].recipient, hive.broker.log[3].body) == ("*", "lunch")
    assert await browser.violations() == []


@pytest.mark.long
async def test_questions_take_a_choice_or_words_and_count_down(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    now = time.time_ns() // 1000
    broker.ask("alice", "operator", "Which?", "red", "blue", deadline=now + 3000 * SECOND)
    broker.ask("alice", "operator", "Which ones?", "red", "blue", multi=True, deadline=0)
    broker.ask("system", "operator", "Go on?", "let them go on", "keep them held", deadline=0)
    await log_in()
    await browser.sees("#questions .asked", "Which ones?")
    left = "document.querySelector('.countdown').dataset.left"
    before = await browser.value(left)
    assert before[:2] in ("49", "50")
    await browser.until(lambda d: d.execute_script(f"return {left}") != before)
    await browser.until_count(".asked [type=radio]", 4)
    await browser.until_count(".asked [data-key='3'] [name=own]", 0)
    # A countdown moves no control: the card takes a press while it ticks.
    await browser.click(".asked [data-key='1'] label:nth-of-type(1)")
    await browser.type(".asked [data-key='1'] [name=own]", "green")
    await browser.until_count(".asked [data-key='1'] :checked", 0)
    await browser.click(".asked [data-key='1'] [type=submit]")
    await browser.until(lambda _: broker.questions[0].answer == ["green"])
    await browser.click(".asked [data-key='2'] label:nth-of-type(2)")
    await browser.type(".asked [data-key='2'] [name=own]", "grey")
    await browser.click(".asked [data-key='2'] [type=submit]")
    await browser.until(lambda _: broker.questions[1].answer == ["blue", "grey"])
    assert broker.freely == [1, 2]
    await browser.click(".asked [data-key='3'] label:nth-of-type(1)")
    await browser.click(".asked [data-key='3'] [type=submit]")
    await browser.until(lambda _: broker.questions[2].answer == ["let them go on"])
    await browser.until_count("#questions .asked li", 0)
    assert broker.freely == [1, 2]


@pytest.mark.long
async def test_an_answer_that_is_typed_survives_a_reload_and_enter_sends_it(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    broker.ask("alice", "operator", "Why?", deadline=0)
    broker.ask("alice", "operator", "Which?", "red", "blue", deadline=0)
    await log_in()
    await browser.sees(".asked .answering .hint", "Enter answers, Shift+Enter begins a line.")
    await browser.type(".asked [data-key='1'] textarea", "because", Keys.SHIFT + Keys.ENTER)
    await browser.type(".asked [data-key='2'] [name=own]", "green")
    await browser.open_live(page.url)
    await browser.until_count(".asked li", 2)
    assert await browser.value("document.querySelector('.asked [name=own]').value") == "green"
    await browser.settle()
    await browser.type(".asked [data-key='1'] textarea", "of it", Keys.ENTER)
    await browser.until(lambda _: broker.questions[0].answer == ["because\nof it"])
    # The page of an agent keeps what is typed, too.
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("#questions .what", "alice asked you")
    await browser.type("#write-text", "half a")
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.type("#write-text", " message", Keys.ENTER)
    await browser.until(lambda _: [one.body for one in broker.log] == ["half a message"])
    await browser.sees("#said", "#")  # the page knows that it is sent
    await browser.open_live(f"{page.url}/agents/alice")
    assert await browser.value("document.getElementById('write-text').value") == ""


@pytest.mark.long
async def test_of_two_browsers_that_answer_the_second_is_told(
    page: Page, browser: Browser, log_in: LogIn, tmp_path: Path
) -> None:
    broker = page.hive.broker
    for text in ("Where?", "And then?"):
        broker.ask("alice", "operator", text, "left", "right", deadline=0)
    await log_in()
    await browser.sees("#questions .asked", "Where?")
    async with open_browser(tmp_path / "other") as other:
        await other.open(await page.link())
        await other.click("#with-link button")
        await other.sees("#questions .asked", "Where?")
        # Both have chosen. The answer of the first is on its way while the second one is sent.
        for one in (browser, other):
            place = 1 if one is browser else 2
            await one.click(f".asked [data-key='1'] label:nth-of-type({place})")
        broker.answering = asyncio.Event()
        for one in (browser, other):
            await one.click(".asked [data-key='1'] [type=submit]")
        broker.answering.set()
        await browser.until(lambda _: broker.questions[0].state is QuestionState.ANSWERED)
        [won] = broker.questions[0].answer
        winner, loser, mine = (
            (browser, other, "right") if won == "left" else (other, browser, "left")
        )
        await loser.sees(".asked [data-key='1'] .lost", f"operator answered first: {won}.")
        await loser.sees(".asked [data-key='1'] .lost", f"Your answer was not used: {mine}")
        await winner.until_count(".asked [data-key='1']", 0)
        # A browser in which an answer is only being written is told, too.
        await loser.type(".asked [data-key='2'] [name=own]", "somewhere else")
        broker.cancel(2)
        await loser.sees(".asked [data-key='2'] .lost", "was cancelled. Your answer was not used")
        await winner.until_count("#questions .asked li", 0)
        await loser.click(".asked [data-key='1'] .lost button")
        await loser.click(".asked [data-key='2'] .lost button")
        await loser.until_count("#questions .asked li", 0)


async def test_the_page_of_messages_finds_and_does_what_the_operator_wants(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    await log_in()
    await browser.open(f"{page.url}/settings")
    old = [broker.add("alice", "bob", f"old {n}") for n in range(700)]
    for number in old:
        broker.log[number - 1] = broker.log[number - 1]._replace(state=MessageState.ACKNOWLEDGED)
    first = broker.arrive("operator", "alice", "the first question")
    broker.arrive("bob", "manager", "between")
    broker.arrive("alice", "operator", "its answer", in_reply_to=first)
    broker.arrive("bob", "operator", "unread")
    broker.park(broker.add("alice", "bob", "lost"), "too late")
    await page.log_in()
    await page.post("/api/services/broker/refresh")  # the messages before the first are not told
    await page.until(lambda tables: len(tables["messages"]) == 500)
    await browser.open_live(f"{page.url}/messages")
    await browser.sees(".flow > li:last-child", "lost")
    await browser.sees("[data-view=inbox]", "Inbox (2)")
    # Older ones come when the reader scrolls up, and those in view stay in their places.
    await browser.until_count(".flow > li", 500)
    await browser.do(
        lambda d: d.execute_script("document.querySelector('.scroller').scrollTop = 5")
    )
    await browser.until_count(".flow > li", 600)
    await browser.until_count("#message-106", 1)
    # A search, in the address, too; what comes later is offered.
    await browser.type("#search [name=text]", "old 699", Keys.ENTER)
    await browser.sees(".finding", "1 message.")
    assert "text=old+699" in await browser.value("location.search")
    broker.arrive("bob", "alice", "old 699 again")
    await browser.sees(".finding", "1 have come since")
    await browser.click(".finding button")
    await browser.sees(".finding", "2 messages.")
    await browser.open_live(f"{page.url}/messages?agent=manager&kind=message")
    await browser.sees(".flow > li", "between")
    await browser.until_count(".flow > li", 1)
    # The thread of an answer.
    await browser.open_live(f"{page.url}/messages#message-{first + 2}")
    await browser.sees(".sought", "its answer")
    await browser.open_live(f"{page.url}/messages?thread={first + 2}")
    await browser.until_count(".flow > li", 2)
    await browser.sees(".finding", "what it answers")
    broker.arrive("operator", "alice", "thank you", in_reply_to=first + 2)
    await browser.sees(".flow > li", "thank you")
    await browser.click(".finding button")
    await browser.sees(".flow > li", "between")
    # Dead letters, and the inbox.
    await browser.click("[data-view=dead]")
    await browser.until_count(".flow > li", 1)
    await browser.click(".flow [data-verb=requeue]")
    await browser.sees(".scroller .empty", "No dead letters")
    await browser.click("[data-view=inbox]")
    await browser.sees(".read-all", "Mark all as read (2)")
    await asyncio.to_thread(time.sleep, 1)
    await browser.click(".read-all")
    await browser.until(lambda _: sorted(broker.read) == [first + 2, first + 3])
    await browser.until_hidden(".read-all")
    assert await browser.violations() == []


@pytest.mark.long
async def test_open_questions_and_reminders_are_listed_and_cancelled(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    broker.ask("alice", "bob", "Is it you?", "yes", "no", deadline=0)
    broker.ask("bob", "alice", "Who are you?", deadline=0)
    broker.ask(
        "alice",
        "operator",
        "Done?",
        state=QuestionState.ANSWERED,
        answer=["Yes."],
        answered_by="operator",
    )
    broker.remind("bob", time.time_ns() // 1000 + 4000 * SECOND, "look at the **build**")
    await log_in()
    await browser.open_live(f"{page.url}/messages?view=questions")
    await browser.sees("[data-view=questions]", "Questions (2)")
    await browser.sees(".ended", "operator: Yes.")
    await browser.sees(".ended .what", "alice asked you")
    await browser.sees(".ended .what", "· answered by you")
    await browser.sees(".asked [data-key='1'] .what", "alice asks bob")
    await browser.click(".asked [data-key='1'] summary")
    await browser.click(".asked [data-key='1'] label:nth-of-type(1)")
    await browser.click(".asked [data-key='1'] [type=submit]")
    await browser.until(lambda _: broker.questions[0].answer == ["yes"])
    await browser.sees(".ended", "operator: yes")
    await browser.click(".asked [data-key='2'] .cancel")
    await browser.sees("dialog", "bob is told that nobody answers.")
    await asyncio.to_thread(time.sleep, 0.5)
    await browser.click("dialog [type=submit]")
    await browser.until(lambda _: broker.questions[1].state is QuestionState.CANCELLED)
    await browser.sees("#questions .empty", "No open questions.")
    await browser.sees(".ended .what", "bob asked alice")
    await browser.sees(".ended .what", "· cancelled without an answer")
    await browser.click("[data-view=reminders]")
    await browser.sees("#reminders strong", "build")
    await browser.sees("#reminders .what", "to bob")
    broker.remind("alice", NOW, "due at once")
    await browser.sees("#reminders li:first-child", "due at once")
    await browser.click("#reminders [data-key='1'] .cancel")
    await browser.sees("dialog", "bob will not get it.")
    await asyncio.to_thread(time.sleep, 0.5)
    await browser.click("dialog [type=submit]")
    await browser.until_count("#reminders li", 1)
    assert broker.reminders[0].state == "cancelled"
    assert await browser.violations() == []
