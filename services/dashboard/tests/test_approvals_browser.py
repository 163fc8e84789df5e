"""The pages of requests, deploys, kept data and configurations, in a real browser."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fakes.lifecycle import FakeJob
from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.records.approvals import ApprovalState, Deploy
from wire.records.dashboard import Role
from wire.records.lifecycle import Tombstone

pytestmark = needs_chromium

HOSTILE = '<img src=x onerror="window.harm = 1">\u202etxt.exe'
DIFF = (
    'The settings that change:\n  model: not set -> "big"\n\n'
    "diff --git a/agent.toml b/agent.toml\nindex 1..2 100644\n--- a/agent.toml\n+++ b/agent.toml\n"
    "@@ -1,13 +1,14 @@\n"
    + "".join(f" # line {number}\n" for number in range(12))
    + '--- "not a head"\n+model = "big"\n+++ two\n'
    f"diff --git a/notes/{HOSTILE} b/notes/{HOSTILE}\nnew file mode 100644\n--- /dev/null\n"
    f"+++ b/notes/{HOSTILE}\n@@ -0,0 +1 @@\n+{HOSTILE}\n"
)


def confirmed(driver: WebDriver) -> bool:
    """Press the button of a dialog, which takes no press at first; return whether it is gone."""
    for button in driver.find_elements(By.CSS_SELECTOR, "dialog [type=submit]:enabled"):
        button.click()
    return not driver.find_elements(By.CSS_SELECTOR, "dialog")


async def test_a_request_is_compared_with_three_bases_and_decided(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    approvals.diff = DIFF
    approvals.settle(approvals.ask("alice", "First", "apply"), "deployed", "")
    approvals.ask("alice", "Think harder", "apply")
    await log_in()
    await browser.open_live(f"{page.url}/approvals")
    await browser.sees(".pending .what", "#2 apply alice")
    await browser.sees(".pending .settings", 'model: not set -> "big"')
    await browser.sees(".pending summary.file", "agent.toml\n+2\n−1")  # noqa: RUF001 - as shown
    await browser.sees(".pending .line.removed", '--- "not a head"')
    await browser.sees(".pending .line.added", "+++ two")
    await browser.sees(".pending .unchanged summary", "9 unchanged lines")
    await browser.sees(
        ".pending summary.file", '<img src=x onerror="window.harm = 1">U+202Etxt.exe'
    )
    await browser.click(".pending [data-base=approved]")
    await browser.sees(".pending .diff", "+since the approved one")
    await browser.click(".pending [data-base=previous]")
    await browser.sees(".pending .diff", "There is no request for alice before 2.")
    # An approval is about the deployed configuration, whichever one was compared.
    approvals.base = "d" * 40
    await browser.click(".pending .primary")
    await browser.sees("#approvals > .error", f"shown against {'b' * 40}")
    await browser.click(".pending [data-base=deployed]")
    await browser.sees(".pending .settings", "model")
    await browser.click(".pending .primary")
    await browser.sees(".working", "approved")
    assert approvals.against == ["deployed", "approved", "previous", "previous", "deployed"]
    assert await browser.value("window.harm") is None
    assert await browser.violations() == []
    refused = "the server responded with a status of 40"
    assert [error for error in await browser.errors() if refused not in error] == []


@pytest.mark.long
async def test_what_is_built_has_a_live_log_and_what_is_decided_its_diff_and_a_way_back(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals, lifecycle = page.hive.approvals, page.hive.lifecycle
    for number in range(60):
        approvals.settle(approvals.ask("alice", f"change {number}", "apply"), "deployed", "")
    approvals.settle(approvals.ask("alice", "more", "apply"), "building", "")
    job = FakeJob("alice", "deploy", ["alice: building the configuration"])
    page.buses["lifecycle"].export(names.job_path(2), job)
    lifecycle.JobNew(2, names.job_path(2), "alice", "deploy")
    await log_in()
    await browser.open_live(f"{page.url}/approvals")
    job.print("Get:1 jq", HOSTILE)
    await browser.sees(".working .log", "Get:1 jq")
    await browser.sees(".working .log", "U+202Etxt.exe")
    order = "[...document.querySelectorAll('#approvals > h3')].map((title) => title.textContent)"
    assert await browser.value(order) == ["In progress", "Decided"]
    await browser.click(".working .cancel-job")
    await browser.sees(".working .badge", "being cancelled")
    await browser.until_hidden(".working .cancel-job")
    assert job.state == "cancelling"
    lifecycle.JobRemoved(2, names.job_path(2), "alice", "deploy", "failed", "no jq")
    approvals.settle(61, "failed", "No package jq.\nE: no jq")
    await browser.sees(".settled li:first-child", "failed")
    await browser.sees(".settled li:first-child .number", "61")
    await browser.until_count(".working li", 0)
    await browser.until_count(".settled li", 50)
    await browser.click(".older")
    await browser.until_count(".settled li", 61)
    await browser.until_hidden(".older")
    await browser.unfold(".settled li:nth-child(2) .change summary")
    await browser.sees(".settled li:nth-child(2) .diff", "a new line")
    await browser.click(".settled li:nth-child(2) .revert")
    await browser.sees(".pending .reason", "Back to deployed/60")
    await browser.click(".pending .buttons button:last-child")
    await browser.until(lambda _: approvals.calls == [("withdraw", 62)])
    await browser.until_count(".pending li", 0)
    assert await browser.violations() == []


@pytest.mark.long
async def test_of_two_browsers_that_decide_the_loser_is_told(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    approvals.ask("alice", "more", "apply")
    await log_in()
    await browser.open_live(f"{page.url}/approvals")
    await browser.sees(".pending .diff", "a new line")
    # Another browser has decided, and this one has not heard of that.
    [shown] = approvals.log
    approvals.log = [shown._replace(state=ApprovalState.DENIED, note="Not now.")]
    await browser.click(".pending .primary")
    await browser.sees("#approvals > .error", "Request 1 for alice is already denied.")
    # The card goes, with its error; the bottom of the page says it still.
    approvals.ApprovalResolved("alice", 1, "denied")
    await browser.sees(".settled", "Not now.")
    await browser.until_count(".pending li", 0)
    await browser.until_hidden("#approvals > .error")
    await browser.sees(".told", "Request 1 for alice is already denied.")


@pytest.mark.long
async def test_the_note_of_a_denial_survives_a_reload_and_enter_sends_it(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    approvals.ask("alice", "more", "apply")
    await log_in()
    await browser.open_live(f"{page.url}/approvals")
    await browser.click(".pending .buttons button:last-child")
    await browser.sees(".denial .hint", "Enter denies, Shift+Enter begins a line.")
    await browser.type(".denial textarea", "Not now:", Keys.SHIFT + Keys.ENTER)
    await browser.open_live(f"{page.url}/approvals")
    await browser.sees(".pending .diff", "a new line")
    await browser.click(".pending .buttons button:last-child")
    await browser.settle()
    await browser.type(".denial textarea", "later.", Keys.ENTER)
    await browser.until(lambda _: approvals.calls == [("deny", 1)])
    assert approvals.log[0].note == "Not now:\nlater."


@pytest.mark.long
async def test_an_agent_is_created_with_a_configuration(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    await log_in()
    await browser.open_live(f"{page.url}/approvals")
    await browser.type("#spawn [name=name]", "carol")
    await browser.type("#spawn [name=reason]", "to test")
    await browser.type("#spawn textarea", "model = ")
    await browser.open_live(f"{page.url}/approvals")
    await browser.type("#spawn textarea", "3")
    await browser.sees("#spawn .complaint", "agent.toml, line 1:")
    await browser.click("#spawn .template")
    await browser.until_hidden("#spawn .complaint")
    await browser.click("#spawn [type=submit]")
    await browser.sees("#spawn .said", "Request 1 creates carol now.")
    [(name, reason, config)] = approvals.spawned
    assert (name, reason) == ("carol", "to test")
    assert config
    assert config.startswith("# The configuration of this agent.")
    assert approvals.log[0].state == "approved"
    # The sentence about a request ends with the request; a failure takes its place.
    approvals.settle(1, "deployed", "")
    await browser.until_hidden("#spawn .said")
    await browser.type("#spawn [name=name]", "dora")
    await browser.type("#spawn [name=reason]", "to test\n")
    await browser.sees("#spawn .said", "Request 2 creates dora now.")
    approvals.settle(2, "failed", "No space left")
    await browser.until_hidden("#spawn .said")
    await browser.sees("#spawn .failed", "Request 2 has failed: No space left.")
    approvals.spawned.pop()
    await browser.type("#spawn [name=name]", "alice")
    await browser.type("#spawn [name=reason]", "again\n")
    await browser.sees("#spawn .failed", "The agent alice already exists")
    assert approvals.spawned == [(name, reason, config)]
    assert await browser.violations() == []


@pytest.mark.long
async def test_deploys_and_kept_data(page: Page, browser: Browser, log_in: LogIn) -> None:
    approvals, lifecycle = page.hive.approvals, page.hive.lifecycle
    approvals.settle(approvals.ask("gone", f"Long ago\n{HOSTILE}"), "deployed", "")
    asked = approvals.log[0].commit
    approvals.deploys = [
        Deploy(NOW + 3, "alice", "0123456789abcdef" * 2, 8, "manager", HOSTILE),
        Deploy(NOW + 2, "bob", "b" * 40, 7, "operator", "For bob"),
        Deploy(NOW + 1, "gone", asked, 1, "manager", "Long ago", kept=False),
        Deploy(NOW, "alice", "0123456789abcdef" * 2, 0, "operator", "The initial configuration"),
        Deploy(NOW, "manager", "c" * 40, 0, "operator", "The initial configuration"),
    ]
    page.hive.agents["manager"].show(deployed_commit="")
    lifecycle.kept = [Tombstone("carol", 3 * 2**20, NOW), Tombstone("dave", 0, NOW + 1)]
    await log_in()
    await browser.open_live(f"{page.url}/deploys")
    await browser.until_count(".log-of-deploys li", 5)
    await browser.sees(".log-of-deploys li:nth-child(1) .chip", "runs now")
    shown = "[...document.querySelectorAll('.log-of-deploys .revert')].map((one) => one.hidden)"
    assert await browser.value(shown) == [True, False, True, True, True]
    await browser.sees(".log-of-deploys li:nth-child(5) .chip", "runs now")
    await browser.unfold(".log-of-deploys li:nth-child(2) summary")
    await browser.sees(".log-of-deploys li:nth-child(2) .diff", "a new line")
    # The configurations of a purged agent are gone, and with it the page of the agent.
    purged = ".log-of-deploys li:nth-child(3)"
    await browser.sees(purged, "the configurations of gone were deleted when it was purged")
    await browser.until_count(f"{purged} a[href]", 0)
    await browser.until_count(".log-of-deploys a[href='/agents/bob']", 1)
    await browser.sees(f"{purged} summary", "Request 1")
    await browser.unfold(f"{purged} summary")
    await browser.sees(f"{purged} .request", "spawn requested by manager")
    await browser.sees(f"{purged} .request .reason", "U+202Etxt.exe")
    await browser.click(".log-of-deploys li:nth-child(2) .revert")
    await browser.sees("#deploys .said", "take bob back to deployed/7 waits for your approval")
    approvals.settle(2, "approved", "")
    await browser.until_hidden("#deploys .said")
    assert approvals.log[1].reason == "Back to deployed/7"
    await browser.click("#deploys select [value=alice]")
    await browser.until_count(".log-of-deploys li", 2)

    await browser.until_count(".kept li", 2)
    await browser.sees(".kept [data-key=carol]", "3.0 MiB")
    await browser.click(".kept [data-key=dave] button:first-child")
    await browser.until_count(".kept li", 1)
    await browser.click(".kept [data-key=carol] button:last-child")
    await browser.sees("dialog", "Purge carol?")
    await browser.type("dialog input", "caro")
    assert await browser.value("document.querySelector('dialog [type=submit]').disabled")
    await browser.type("dialog input", "l")
    await browser.until(confirmed)
    await browser.sees("#kept .empty", "No data of destroyed agents are kept.")
    assert lifecycle.orders == [("spawn", "dave"), ("purge", "carol")]
    assert await browser.value("window.harm") is None
    assert await browser.violations() == []


@pytest.mark.long
async def test_a_configuration_is_edited_shown_as_a_diff_and_deployed(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    approvals.configs["agent.toml"] = f'model = "small" # {HOSTILE}\n'
    approvals.deploys = []
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice/configuration")
    await browser.sees(".reading .lines", 'model = "small" # <img src=x')
    await browser.sees(".reading .lines .hidden-character", "U+202E")
    await browser.click("#configuration .edit")
    await browser.type("#text", "x = 1\n")
    await browser.sees(".complaint", "agent.toml, line 1:")
    await browser.do(lambda d: d.execute_script(SETS, 'model = "big"\n'))
    await browser.until_hidden(".complaint")
    await browser.type("#configuration [name=reason]", "Think harder")
    await browser.click(".review")
    await browser.sees(".reviewed .line.added", '+model = "big"')
    # A change after the review needs another one.
    await browser.type("#text", "#")
    await browser.until_hidden(".reviewed")
    await browser.click(".review")
    await browser.sees(".reviewed .line.added", "+#")
    await browser.click(".save")
    await browser.sees(
        "#configuration .said", "Request 9 deploys it when the agent's turn is over."
    )
    # Lifecycle runs the commit before the repositories say so; the page waits for these.
    page.hive.agents["alice"].show(deployed_commit="c" * 40)
    approvals.settle(approvals.ask("alice", "Think harder", "apply"), "deployed", "")
    await browser.sees(".reading .lines", 'model = "big"')
    await browser.sees("#configuration .commit", "cccccccccccc")
    [saved] = approvals.saved
    assert saved == ("alice", "agent.toml", 'model = "big"\n#', "Think harder", False)


@pytest.mark.long
async def test_a_draft_survives_a_reload_and_is_compared_with_what_is_deployed_now(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    approvals.base = "0123456789abcdef" * 2  # what alice runs
    path = f"{page.url}/agents/alice/configuration"
    box = "document.getElementById('text').value"
    await log_in()
    await browser.open_live(path)
    await browser.sees(".reading .lines", "small")
    await browser.click("#configuration .edit")
    await browser.until_hidden(".draft")
    await browser.do(lambda d: d.execute_script(SETS, 'model = "big"\n'))
    await browser.type("#configuration [name=reason]", "Think harder")
    await browser.open_live(path)
    await browser.sees(".draft", "at commit 0123456789ab.")
    await browser.sees("#configuration .commit", "0123456789ab")
    assert await browser.value(box) == 'model = "big"\n'
    await browser.until_hidden(".outdated")
    await browser.until_hidden(".reviewed")
    # Something else is deployed: the draft is kept, and says so.
    approvals.configs["agent.toml"], approvals.base = 'model = "other"\n', "e" * 40
    page.hive.agents["alice"].show(deployed_commit="e" * 40)
    await browser.sees(".outdated", "Another configuration was deployed meanwhile.")
    await browser.open_live(path)
    await browser.sees(".reviewed .line.removed", '-model = "other"')
    await browser.sees(".moved", "Commit eeeeeeeeeeee is deployed now, and has another")
    await browser.until_hidden(".outdated")
    await browser.click(".save")
    await browser.sees("#configuration .said", "Request 9 deploys it")
    assert approvals.saved == [("alice", "agent.toml", 'model = "big"\n', "Think harder", False)]
    await browser.open_live(path)
    await browser.sees(".reading .lines", 'model = "big"')
    # A draft can be discarded.
    await browser.click("#configuration .edit")
    await browser.type("#text", "#")
    await browser.click("#configuration .discard")
    await browser.sees("dialog", "What you have changed in agent.toml is lost.")
    await browser.until(confirmed)
    await browser.sees(".reading .lines", 'model = "big"')
    await browser.open_live(path)
    await browser.sees(".reading .lines", 'model = "big"')
    assert await browser.violations() == []


@pytest.mark.long
async def test_the_text_of_one_file_is_not_edited_as_another(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice/configuration")
    await browser.sees(".reading .lines", "small")
    approvals.hold.clear()
    await browser.click('#configuration select [value="notes/plan.md"]')
    assert await browser.value("document.querySelector('#configuration .edit').disabled")
    approvals.hold.set()
    await browser.sees(".reading .lines", "Wait.")
    await browser.click("#configuration .edit")
    assert await browser.value("document.getElementById('text').value") == "Wait.\n"


@pytest.mark.long
async def test_of_two_who_edit_a_configuration_the_second_is_told_and_keeps_the_text(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice/configuration")
    await browser.sees(".reading .lines", "small")
    await browser.click("#configuration .edit")
    await browser.do(lambda d: d.execute_script(SETS, "# mine\n"))
    await browser.click(".review")
    await browser.sees(".reviewed .line.added", "+# mine")
    approvals.base = "e" * 40
    await browser.click(".save-now")
    await browser.sees(
        "#configuration > .failed", "has eeeeeeeeeeee deployed now: nothing was done"
    )
    assert await browser.value("document.getElementById('text').value") == "# mine\n"
    assert approvals.saved == []
    await browser.sees(".outdated", "Another configuration was deployed meanwhile.")
    await browser.until_hidden(".reviewed")
    await browser.click(".outdated button")
    await browser.sees(".moved", f"{'b' * 12}. Commit eeeeeeeeeeee is deployed now, and has the")
    await browser.sees(".reviewed .line.added", "+# mine")
    await browser.open(f"{page.url}/agents/nobody/configuration")
    await browser.sees("#configuration > .failed", "There is no agent nobody.")


SETS = """
const box = document.getElementById("text");
box.value = arguments[0];
box.dispatchEvent(new Event("input", { bubbles: true }));
"""


@pytest.mark.parametrize(
    "path",
    ["/api/tombstones/carol/purge", "/api/tombstones/carol/revive", "/api/agents/alice/revert"],
)
async def test_a_wrong_body_does_nothing(page: Page, path: str) -> None:
    await page.log_in()
    page.hive.lifecycle.kept = [Tombstone("dave", 1, NOW)]
    status, _ = await page.post(path, {"name": "dave"})
    assert status in (400, 404)
    assert page.hive.lifecycle.orders == []


@pytest.mark.long
async def test_a_guest_reads_and_a_reviewer_approves_and_no_more(
    page: Page, browser: Browser
) -> None:
    approvals = page.hive.approvals
    approvals.settle(approvals.ask("bob", "Long ago", "apply"), "deployed", "")
    approvals.ask("alice", "more", "apply")
    shown = (
        "[...document.querySelectorAll('main :is(button, input, textarea)')]"
        ".filter((one) => one.checkVisibility()).map((one) => one.textContent)"
    )
    bases = ["Deployed", "Last approved", "Previous revision"]
    for role, wanted in (
        (Role.GUEST, bases),
        (Role.REVIEWER, [*bases, "Approve", "Approve now", "Deny…"]),
    ):
        await browser.open(await page.link(role))
        await browser.click("#with-link button")
        await browser.sees("#link", "Live")
        await browser.open_live(f"{page.url}/approvals")
        await browser.sees(".pending .diff", "a new line")
        await browser.sees(".settled", "Long ago")
        assert await browser.value(shown) == wanted, role
        await browser.open_live(f"{page.url}/agents/alice/configuration")
        await browser.sees(".reading .lines", "small")
        assert await browser.value(shown) == []
        await browser.click("#logout")
        await browser.sees("#how", "hivectl login-link")
