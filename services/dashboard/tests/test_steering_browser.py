"""An agent's state, its buttons and its prompt in a real browser."""

import pytest
from selenium.webdriver.common.keys import Keys

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from wire.records.lifecycle import AgentState, TurnState

pytestmark = needs_chromium


@pytest.mark.long
async def test_the_state_has_its_age_its_reason_and_its_end(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    alice = page.hive.agents["alice"]
    await log_in()
    alice.show(
        turn_state=TurnState.RATE_LIMITED,
        turn_since=1_000_000,
        turn_reason="The usage limit is reached.",
        turn_until=4_000_000_000_000_000,
        model="opus",
        effort="high",
        context_tokens=150_000,
        context_limit=200_000,
    )
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("#agent .turn", "rate limited")
    await browser.sees("#agent .turn time", "for ")
    await browser.sees("#agent .why", "The usage limit is reached. · until")
    await browser.sees("#agent .why", "hivectl lift-limits")
    await browser.sees("[data-figure=model]", "opus")
    await browser.sees("[data-figure=effort]", "high")
    await browser.sees("[data-figure=context]", "75 % 150 k of 200 k")
    alice.show(turn_state=TurnState.NEEDS_LOGIN, turn_reason="", turn_until=0)
    await browser.sees("#agent .why", "Press Log in…, or run hivectl login alice")
    alice.show(
        turn_state=TurnState.WAITING,
        turn_reason="waits for the operator: Bash: ls",
        activity="Bash: ls",
    )
    await browser.sees("#agent .why", "waits for the operator: Bash: ls · Answer it.")
    alice.show(turn_state=TurnState.IDLE, turn_reason="the last turn failed: too long", activity="")
    await browser.sees(
        "#agent .why", "too long · Messages that were given up are under Dead letters"
    )
    alice.show(turn_state=TurnState.IDLE, turn_reason="")
    await browser.until_hidden("#agent .why")
    alice.show(turn_state=TurnState.ERROR, turn_reason="The API cannot be reached.")
    await browser.sees("#agent .why", "The API cannot be reached. Run hivectl status alice")
    alice.show(turn_state=TurnState.HELD, turn_reason="")
    await browser.sees("#agent .why", "hivectl unhold alice")
    await browser.sees("#agent .why", "an open question to you")
    alice.show(turn_state=TurnState.THINKING, activity="Bash: make")
    await browser.sees("#agent .why", "Bash: make")
    alice.show(turn_state=TurnState.IDLE, activity="")
    await browser.until_hidden("#agent .why")
    page.hive.ledger.record("alice", 1_500_000)
    await browser.sees("[data-figure=cost]", "$1.50")
    # A request of the turn that runs counts at once, and what the harness says does not.
    async with page.harness("alice") as harness:
        harness.say(cost_today_usd=900)
        page.hive.ledger.settle("alice", "opus", cost=250_000)
        await browser.sees("[data-figure=cost]", "$1.75")


@pytest.mark.long
async def test_the_buttons_steer_the_harness(page: Page, browser: Browser, log_in: LogIn) -> None:
    alice = page.hive.agents["alice"]
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("#agent .turn", "idle")
    assert await browser.value("document.querySelector('[data-command=cancel]').disabled")
    alice.show(turn_state=TurnState.THINKING)
    await browser.sees("#agent .turn", "thinking")
    await browser.click("[data-command=cancel]")
    await browser.sees("#said", "cancel is done.")
    await browser.click("[data-command=compact]")
    await browser.sees("#said", "compact is done.")
    await browser.click("[data-command=new-session]")
    await browser.sees("#agent .confirm", "forgets")
    assert alice.commands == [("cancel", False), ("compact",)]
    await browser.click("#agent .confirm .primary")
    await browser.sees("#said", "new-session is done.")
    await browser.until_hidden("#agent .confirm")
    alice.refusal = "The harness does not answer."
    await browser.click("[data-command=compact]")
    await browser.sees("#write .error", "The harness does not answer.")
    await browser.until_hidden("#said")  # it was about the command before
    alice.become("stopped")
    alice.show(turn_state=TurnState.OFFLINE)
    await browser.sees("#agent .turn", "offline")
    assert await browser.value(
        "[...document.querySelectorAll('[data-command]')].every((one) => one.disabled)"
    )


@pytest.mark.parametrize("state", [TurnState.RATE_LIMITED, TurnState.ERROR])
@pytest.mark.long
async def test_a_turn_is_cancelled_between_its_tries(
    page: Page, browser: Browser, log_in: LogIn, state: TurnState
) -> None:
    alice = page.hive.agents["alice"]
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("#agent .turn", "idle")
    alice.show(turn_state=state)
    await browser.sees("#agent .turn", state.replace("-", " "))
    await browser.click("[data-command=cancel]")
    await browser.sees("#said", "cancel is done.")
    assert alice.commands == [("cancel", False)]
    alice.refusal = "There is no turn to cancel."
    await browser.click("[data-command=cancel]")
    await browser.sees("#write .error", "There is no turn to cancel.")


@pytest.mark.long
async def test_the_prompt_sends_messages_and_runs_commands(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    alice, box = page.hive.agents["alice"], "#write-text"
    text = "document.getElementById('write-text').value"
    await log_in()
    async with page.harness("alice") as harness:
        harness.add("text", 1, text="shown")
        await browser.open_live(f"{page.url}/agents/alice")
        await browser.sees(".tail .event", "shown")
        await browser.type(box, "/")
        await browser.sees("#commands", "/new-session")
        await browser.type(box, "m", Keys.TAB)
        assert await browser.value(text) == "/model "
        await browser.sees("#commands", "claude-test")
        await browser.type(box, "op", Keys.TAB)
        assert await browser.value(text) == "/model opus"
        await browser.type(box, Keys.ENTER)
        await browser.sees("#said", "model is done.")
        await browser.type(box, "/effort hi", Keys.TAB, Keys.ENTER)
        await browser.sees("#said", "effort is done.")
        await browser.type(box, "/cancel requeue", Keys.ENTER)
        await browser.sees("#said", "cancel is done.")
        # An argument that is not typed is not taken from the list.
        alice.show(model="claude-opus-4-1", model_setting="opus")
        await browser.sees("[data-figure=model]", "claude-opus-4-1")
        await browser.type(box, "/model ", Keys.ENTER)
        await browser.sees("#said", "opus; claude-opus-4-1 has answered last")
        await browser.type(box, "/effort", Keys.ENTER)
        await browser.sees("#said", "default")
        await browser.type(box, "/model default", Keys.ENTER)
        await browser.until(lambda _: len(alice.commands) == 4)
        assert alice.commands == [
            ("model", "opus"),
            ("effort", "high"),
            ("cancel", True),
            ("model", "default"),
        ]
        await browser.type(box, "/help", Keys.ENTER)
        await browser.sees("#said", "/new-session")
        await browser.type(box, "/nonsense now", Keys.ENTER)
        await browser.sees("#write .error", "There is no command /nonsense")
        assert await browser.value(text) == "/nonsense now"
        await browser.type(box, *[Keys.BACKSPACE] * 13)
        await browser.type(box, "//etc/hosts is wrong", Keys.ENTER)
        await browser.sees("#said", "on its way")
        assert page.hive.broker.log[-1].body == "/etc/hosts is wrong"
        await browser.type(box, "first", Keys.SHIFT + Keys.ENTER + Keys.NULL, "second", Keys.ENTER)
        await browser.until(lambda _: page.hive.broker.log[-1].body == "first\nsecond")
        # The notice goes when the message has reached a turn.
        sent = {"id": page.hive.broker.log[-1].id, "from": "operator", "kind": "message"}
        await browser.sees("#said", f"#{sent['id']}")
        harness.add("wake", 2, messages=[sent], prompt="first")
        await browser.until_hidden("#said")
        # The state of the agent says when it reads a message.
        alice.show(turn_state=TurnState.HELD)
        await browser.type(box, "third", Keys.ENTER)
        await browser.sees(
            "#said", "is queued. alice is held: it reads the message when the hold ends."
        )
        alice.become("stopped")
        await browser.sees(
            "#said", "alice is stopped: it reads the message when it has been started."
        )
        alice.show(state=AgentState.RUNNING, turn_state=TurnState.IDLE)
        await browser.sees("#said", "is on its way to alice.")
        # The arrows bring sent texts back, also after a reload; a draft is kept.
        await browser.type(box, "a draft", *[Keys.ARROW_UP] * 2)
        assert await browser.value(text) == "first\nsecond"
        await browser.type(box, Keys.ARROW_UP, Keys.ARROW_UP)
        assert await browser.value(text) == "//etc/hosts is wrong"
        await browser.type(box, *[Keys.ARROW_DOWN] * 3)
        assert await browser.value(text) == "a draft"
        await browser.open_live(f"{page.url}/agents/alice")
        await browser.type(box, Keys.ARROW_UP)
        assert await browser.value(text) == "third"
        await browser.type(box, Keys.ARROW_DOWN)
        assert await browser.value(text) == "a draft"
        await browser.type(box, Keys.CONTROL + "a" + Keys.NULL, "/clear", Keys.ENTER)
        await browser.until_count(".tail .event", 0)
        harness.add("text", 1, text="after it")
        await browser.sees(".tail .event", "after it")
        # Without a list, Tab leads on to the next control.
        await browser.type(box, "word", Keys.TAB)
        assert await browser.value("document.activeElement.type") == "submit"
        await browser.click("#logout")
        await browser.sees("#how", "hivectl login-link")
        assert await browser.value("sessionStorage.length") == 0
