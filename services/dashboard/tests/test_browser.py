"""A real browser on the pages: the operator's way through them, and attacks on them."""

from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from wire import names
from wire.fixtures import Connect
from wire.records.broker import PREVIEW

pytestmark = needs_chromium


async def test_the_operator_logs_in_approves_writes_and_logs_out(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive = page.hive
    hive.approvals.ask("carol", "to help alice")
    hive.approvals.ask("dave", "to help bob")

    await browser.open(page.url)  # without a session
    await browser.sees("#how", "hivectl login-link")
    await log_in()
    assert "token" not in await browser.value("location.href")

    await browser.sees("#agents tr[data-key=alice] .state", "running")
    await browser.sees("#agents tr[data-key=bob] .state", "stopped")
    await browser.choose("tr[data-key=bob]", "start")
    await browser.until(lambda _: hive.agents["bob"].calls == ["start"])
    hive.agents["bob"].become("running")
    await browser.sees("#agents tr[data-key=bob] .state", "running")

    await browser.sees("#waiting-approvals", "2 approvals")
    await browser.click(".pending [data-key='1'] .primary")
    await browser.sees(".working", "approved")
    display = "getComputedStyle(document.querySelector('.pending .what')).display"
    assert await browser.value(display) == "block", "a card looks as it did"
    await browser.click(".pending [data-key='2'] .buttons button:last-child")
    await browser.type(".pending [data-key='2'] textarea", "Not now.")
    await browser.click(".pending [data-key='2'] .denial .primary")
    await browser.unfold(".decided > summary")
    await browser.sees(".settled", "Not now.")
    assert (hive.approvals.log[1].state, hive.approvals.log[1].note) == ("denied", "Not now.")

    await browser.type("#compose-text", "@al")
    await browser.sees("#names", "@alice")
    await browser.type("#compose-text", Keys.TAB, "six times seven?", Keys.ENTER)
    await browser.sees(".message .body", "six times seven?")
    assert (hive.broker.log[0].recipient, hive.broker.log[0].body) == ("alice", "six times seven?")
    await browser.type("#compose-text", "@manager hello", Keys.ENTER)
    await browser.sees(".message .to", "manager")
    await browser.type("#compose-text", "@zed hello", Keys.ENTER)
    await browser.sees("#compose .error", "There is no agent zed.")
    assert await browser.value("document.getElementById('compose-text').value") == "@zed hello"
    await browser.type("#compose-text", Keys.BACKSPACE)
    await browser.until_hidden("#compose .error")

    hive.broker.arrive("alice", "operator", "forty-two")
    await browser.sees(".message.unread .body", "forty-two")
    await browser.sees("#waiting-messages", "1 unread message")
    await browser.click(".message.unread [data-verb=read]")
    await browser.until(lambda _: hive.broker.read == [3])
    await browser.until_count(".message.unread", 0)

    await browser.click("#logout")
    await browser.sees("#how", "hivectl login-link")
    assert await browser.violations() == []


@pytest.mark.long
async def test_questions_are_answered_by_choice_choices_and_text(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    broker.ask("alice", "operator", "Where to deploy?", "staging", "production")
    broker.ask("bob", "operator", "Which days?", "Monday", "Tuesday", "Sunday", multi=True)
    broker.ask("manager", "operator", "<b>What next?</b>")
    broker.ask("alice", "bob", "Not for you")
    await log_in()
    await browser.sees("#waiting-questions", "3 questions")
    await browser.click(".asked [data-key='1'] label:nth-of-type(2)")
    await browser.click(".asked [data-key='1'] [type=submit]")
    await browser.until(lambda _: broker.questions[0].answer == ["production"])
    await browser.click(".asked [data-key='2'] [type=submit]")
    await browser.sees(".asked [data-key='2'] .error", "Choose at least one.")
    await browser.click(".asked [data-key='2'] label:nth-of-type(1)")
    await browser.until_hidden(".asked [data-key='2'] .error")
    await browser.click(".asked [data-key='2'] label:nth-of-type(3)")
    await browser.click(".asked [data-key='2'] [type=submit]")
    await browser.until(lambda _: broker.questions[1].answer == ["Monday", "Sunday"])
    await browser.sees("#waiting-questions", "1 question")
    await browser.sees(".asked .body", "<b>What next?</b>")
    await browser.type(".asked [data-key='3'] textarea", "too late")
    # A new question does not disturb the text that is being typed.
    broker.ask("bob", "operator", "And then?")
    await browser.sees("#waiting-questions", "2 questions")
    await browser.click(".asked [data-key='3'] [type=submit]")
    await browser.sees(".asked [data-key='3'] .error", "answered already")
    await browser.type(".asked [data-key='3'] textarea", ", write the docs")
    await browser.click(".asked [data-key='3'] [type=submit]")
    await browser.until(lambda _: broker.questions[2].answer == ["too late, write the docs"])
    await browser.until_count(".asked li", 1)
    assert await browser.violations() == []


CHOICES = ("Allow once", "Allow for this session", "Always allow", "Deny")


@pytest.mark.long
async def test_a_tool_call_is_decided_with_its_arguments_in_view(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker, approvals = page.hive.broker, page.hive.approvals
    call: dict[str, Any] = {"permission": "0a1b", "rule": "Bash(git push:*)"}
    text = "May I use Bash?\n\ncommand:\n    git push && rm -rf \u0430"
    for _ in range(3):
        broker.ask("alice", "operator", text, *CHOICES, **call)
    await log_in()
    await browser.sees("#waiting-questions", "3 questions")
    await browser.sees(".asked .body", "git push && rm -rf U+0430")
    await browser.sees(
        ".asked .rule", "Always allow adds Bash(git push:*) to allowed_tools of alice."
    )
    await browser.type(".asked [data-key='1'] [name=own]", "not now")
    await browser.click(".asked [data-key='1'] form button:nth-of-type(1)")
    await browser.sees(".asked [data-key='1'] .error", "A reason goes with Deny alone")
    await browser.click(".asked [data-key='1'] form button:nth-of-type(4)")
    await browser.until(lambda _: broker.questions[0].answer == ["Deny", "not now"])
    await browser.settle()
    await browser.until_count(".asked [data-key='1']", 0)
    await browser.settle()  # a key is a press, too
    await browser.type(".asked [data-key='2'] [name=own]", "never\n")
    await browser.until(lambda _: broker.questions[1].answer == ["Deny", "never"])
    await browser.click(".asked [data-key='3'] form button:nth-of-type(3)")
    await browser.until(lambda _: broker.questions[2].answer == ["Always allow"])
    why = "Question 3: the operator always allows Bash(git push:*)."
    assert approvals.allowed == [("alice", "Bash(git push:*)", why)]
    assert await browser.violations() == []


@pytest.mark.long
async def test_the_rule_of_always_allow_is_shown_without_a_deny(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    call: dict[str, Any] = {"permission": "0a1b", "rule": "Bash(git push:*)"}
    page.hive.broker.ask("alice", "operator", "May I use Bash?", *CHOICES[:3], **call)
    await log_in()
    await browser.sees(
        ".asked .rule", "Always allow adds Bash(git push:*) to allowed_tools of alice."
    )
    await browser.click(".asked form button:nth-of-type(3)")
    await browser.until(lambda _: page.hive.broker.questions[0].answer == ["Always allow"])


@pytest.mark.long
async def test_a_long_call_is_read_before_it_is_allowed(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    text = "May I use Bash?\n\ncommand:\n" + "    echo one more line\n" * 500 + "    rm -rf /"
    broker.ask("alice", "operator", text, *CHOICES, permission="0a1b")
    await log_in()
    await browser.sees("#waiting-questions", "1 question")
    await browser.until_count(".asked form button:disabled", 3)
    await browser.click(".question button.more")
    await browser.until_count(".asked form button:disabled", 0)
    await browser.sees(".asked .body", "rm -rf /")
    await browser.click(".asked form button:nth-of-type(1)")
    await browser.until(lambda _: broker.questions[0].answer == ["Allow once"])


@pytest.mark.long
async def test_a_form_takes_a_choice_and_words_of_the_operator_s_own(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    broker.ask("alice", "operator", "Which?", "red", "blue", permission="1")
    broker.ask("alice", "operator", "Which?", "red", "blue", permission="2", multi=True)
    await log_in()
    await browser.sees("#waiting-questions", "2 questions")
    await browser.settle()
    await browser.until_count(".asked [data-key]", 2)
    await browser.settle()  # a key is a press, too
    await browser.type(".asked [data-key='1'] [name=own]", "green\n")
    await browser.until(lambda _: broker.questions[0].answer == ["green"])
    await browser.click(".asked [data-key='2'] label:nth-of-type(2)")
    await browser.type(".asked [data-key='2'] [name=own]", "a dark one")
    await browser.click(".asked [data-key='2'] [type=submit]")
    await browser.until(lambda _: broker.questions[1].answer == ["blue", "a dark one"])


@pytest.mark.long
async def test_dead_letters_are_requeued_and_dropped(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    broker = page.hive.broker
    for text in ("first", "second", "third"):
        broker.arrive("alice", "bob", text)
    broker.park(1)
    await log_in()
    await browser.sees("#waiting-dead", "1 dead letter")
    broker.park(2, "the turn took too long")
    await browser.sees("#waiting-dead", "2 dead letters")
    await browser.click("#waiting-dead")
    await browser.until_count(".flow li", 2)
    await browser.sees(".flow [data-key='2'] .why", "bob gave it up: the turn took too long")
    await browser.click(".flow [data-key='1'] [data-verb=requeue]")
    await browser.until(lambda _: broker.log[0].state == "queued")
    await browser.sees("#waiting-dead", "1 dead letter")
    await browser.click(".flow [data-key='2'] [data-verb=drop]")
    await browser.until(lambda _: broker.log[1].state == "dropped")
    await browser.sees(".scroller .empty", "No dead letters")


@pytest.mark.long
async def test_jobs_and_states_are_shown_in_words(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    lifecycle = page.hive.lifecycle
    await log_in()
    for number, (verb, words) in enumerate(
        [("rebuild", "being rebuilt"), ("update", "being updated")], 1
    ):
        path = names.job_path(number)
        lifecycle.JobNew(number, path, "alice", verb)
        await browser.sees("#agents tr[data-key=alice] .state", words)
        lifecycle.JobRemoved(number, path, "alice", verb, "done", "")
        await browser.sees("#agents tr[data-key=alice] .state", "running")
    page.hive.agents["alice"].become("paused")
    await browser.sees("#agents tr[data-key=alice] .state", "paused")
    await browser.click("tr[data-key=alice] .menu-of")
    verbs = "[...document.querySelectorAll('.menu [data-verb]')].map((one) => one.dataset.verb)"
    assert {"kill", "restart", "resume"} < set(await browser.value(verbs))
    assert not {"start", "pause", "cancel"} & set(await browser.value(verbs))


async def test_on_a_phone_the_page_is_as_wide_as_the_screen_and_ends_with_the_message_box(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    for number in range(60):
        page.hive.broker.arrive("alice", "operator", f"message {number}\nand more")
    await browser.resize(360, 800)
    await log_in()
    await browser.until_count(".flow > .message", 60)
    # Messages that come near the screen are laid out then, and change the height of the page.
    end = "document.getElementById('compose').getBoundingClientRect().bottom"
    script = f"window.scrollTo(0, 1e6); return Math.abs({end} - window.innerHeight) < 2"
    await browser.until(lambda d: d.execute_script(script))
    await browser.sees(".message:last-child .body", "message 59")
    assert await browser.overflow() == 0


@pytest.mark.long
async def test_a_long_message_is_folded_and_fetched_when_it_is_unfolded(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    page.hive.broker.arrive("alice", "operator", "\n".join(f"line {n}" for n in range(30)))
    page.hive.broker.arrive("alice", "operator", f"{'x' * PREVIEW} the end")
    await log_in()
    await browser.sees("#message-1 .more", "Show all (30 lines)")
    await browser.sees("#message-2 .more", "Show all (4 k characters)")
    await browser.until_count(".flow .folded", 2)
    shown = "document.querySelector('#message-2 .body').textContent.endsWith('the end')"
    assert not await browser.value(shown)
    await browser.click("#message-2 .more")
    await browser.sees("#message-2 .more", "Show less")
    assert await browser.value(shown)
    await browser.until_count(".flow .folded", 1)


@pytest.mark.long
async def test_a_change_is_read_and_approved_in_the_middle_of_a_turn(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    head = "--- a/agent.toml\n+++ b/agent.toml\n@@ -1 +1,4000 @@\n"
    approvals.diff = f"{head}-{'a' * 500}\n" + "+b\n" * 4000
    approvals.ask("alice", "more", "apply")
    await log_in()
    await browser.click(".pending summary")
    await browser.sees(".diff p", "1004 more lines. To see all of them, run hivectl diff 1.")
    await browser.sees(".diff summary", "agent.toml\n+2996\n−1")  # noqa: RUF001 - as shown
    await browser.unfold(".diff summary")
    await browser.sees(".diff .line.removed", "-a")
    assert await browser.value("document.querySelectorAll('.diff .line.added').length") == 2996
    for part in (".side", ".diff"):  # long lines are wrapped
        shown = f"document.querySelector('{part}')"
        assert await browser.value(f"{shown}.scrollWidth - {shown}.clientWidth") <= 0
    approvals.diff = ""
    await browser.click(".pending summary")
    await browser.click(".pending summary")
    await browser.sees(".diff", "This request changes nothing.")
    await browser.click(".pending .buttons button:nth-child(2)")
    await browser.sees(".working", "approved")
    assert approvals.calls == [("approve now", 1)]
    approvals.settle(1, "failed", "No package jq.\nE: no jq")
    await browser.unfold(".decided > summary")
    await browser.sees(".settled .note", "No package jq.")
    await browser.click(".settled summary")
    await browser.sees(".settled pre", "E: no jq")


@pytest.mark.long
async def test_hostile_text_is_text(page: Page, browser: Browser, log_in: LogIn) -> None:
    hostile = '<img src=x onerror="window.harm = 1"><script>window.harm = 2</script> \u202egnp.exe'
    page.hive.broker.arrive("alice", "operator", hostile)
    approvals = page.hive.approvals
    approvals.diff = f"+{hostile}\n-gone\u2028+not added\n"
    approvals.settle(approvals.ask("dave", "x", "apply"), "failed", f"{hostile}\n{hostile}")
    approvals.ask("carol", hostile)
    await log_in()
    await browser.sees(".message .body", '<img src=x onerror="window.harm = 1">')
    await browser.sees(".message .hidden-character", "U+202E")
    page.hive.broker.arrive("bob", "operator", hostile + " live")
    await browser.sees(".message:last-child .body", "live")
    await browser.sees(".pending .reason", "<script>")
    await browser.click(".pending summary")
    await browser.sees(".diff .added", "<script>")
    await browser.sees(".diff .removed", "-goneU+2028+not added")
    await browser.unfold(".decided > summary")
    await browser.click(".settled summary")
    await browser.sees(".settled pre", "<script>")
    assert await browser.value("window.harm") is None
    assert await browser.violations() == []
    assert await browser.errors() == []


@pytest.mark.long
async def test_hidden_and_misleading_text_is_marked(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    selectors = "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE0127)]))
    hive = page.hive
    hive.approvals.diff = (
        f"+model = 'x{selectors}'\n"
        "+packages = ['\u3164']\n"
        "+url = 'https://cl\u0430ude.ai/mcp'\n"
        "+command = '\u0441\u043e\u0440\u0443'\n"
        "+note = 'schön'\n"
    )
    hive.approvals.ask("alice", f"Harmless.{selectors}", "apply")
    hive.broker.arrive("alice", "operator", "Привет 👩\u200d🔬, see https://cl\u0430ude.ai")
    hive.broker.ask("alice", "operator", "Which?", "left\u3164", "right")
    await log_in()
    await browser.click(".pending summary")
    await browser.sees(".diff", "schön")
    added = "[...document.querySelectorAll('.diff .added')]"
    lines = await browser.value(f"{added}.map((line) => line.textContent.trimEnd())")
    assert lines == [
        f"+model = 'x{' '.join(f'U+{ord(c):04X}' for c in selectors)}'",
        "+packages = ['U+3164']",
        "+url = 'https://xn--clude-5ve.ai/mcp'",
        "+command = 'U+0441 U+043E U+0440 U+0443'",
        "+note = 'schön'",
    ]
    marks = await browser.value(
        f"{added}.map((line) => line.querySelectorAll('.hidden-character').length)"
    )
    assert marks == [1, 1, 1, 1, 0]
    titles = "[...document.querySelectorAll('.diff .hidden-character')].map((mark) => mark.title)"
    assert (await browser.value(titles))[2] == "the host in its ASCII form: cl\u0430ude.ai"
    await browser.sees(".pending .reason .hidden-character", "U+FE00")
    await browser.sees(".message .body", "Привет 👩\u200d🔬, see https://xn--clude-5ve.ai")
    # The answer is the choice as the agent wrote it.
    await browser.click(".asked form label:nth-of-type(1)")
    await browser.click(".asked form [type=submit]")
    await browser.until(lambda _: hive.broker.questions[0].answer == ["left\u3164"])
    assert await browser.errors() == []


@pytest.mark.long
async def test_an_open_page_shows_a_service_that_stops_and_comes_back(
    page: Page, browser: Browser, log_in: LogIn, connect: Connect
) -> None:
    await log_in()
    await page.buses["broker"].close()
    await browser.sees(".away[data-service=broker]", "The broker does not answer")
    page.hive.broker.add("alice", "bob", "sent meanwhile")
    await page.hive.restart_broker(await connect())
    await browser.sees(".message .body", "sent meanwhile")
    await browser.until_hidden(".away[data-service=broker]")
