"""Projects and changes in a real browser: read, commented on and decided."""

from functools import partial
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from services.dashboard.tests.browser import REFUSED, Browser, needs_chromium, open_browser
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fakes.changes import FakeChanges, commit_of
from services.dashboard.tests.fakes.projects import TIP
from services.dashboard.tests.late_relay import late
from wire.records.changes import (
    ChangeCommit,
    ChangedFile,
    ChangeDiffOptions,
    ChangeState,
    Comment,
    CommentOptions,
    LineComment,
    PublishMode,
)
from wire.records.dashboard import Role
from wire.records.lifecycle import ProjectAccess
from wire.records.projects import Branch, ProjectState

pytestmark = needs_chromium

HOSTILE = '<img src=x onerror="window.harm = 1">\u202etxt.exe'


async def keys(browser: Browser, *typed: str) -> None:
    """Press keys where the focus is."""
    await browser.type("body", *typed)


async def enter(browser: Browser, css: str) -> None:
    """Press Enter on a button until the page takes that: not while the button has just moved."""

    def taken(d: WebDriver) -> bool:
        button = d.find_element(By.CSS_SELECTOR, css)
        before = d.execute_script(REFUSED)
        button.send_keys(Keys.ENTER)
        return bool(d.execute_script(REFUSED) <= before)

    await browser.settle()
    await browser.until(taken)


async def unfold(browser: Browser, key: str, css: str) -> None:
    """Press a key until it has unfolded a form."""

    def unfolded(d: WebDriver) -> bool:
        if d.find_element(By.CSS_SELECTOR, css).is_displayed():
            return True
        d.find_element(By.TAG_NAME, "body").send_keys(key)
        return False

    await browser.until(unfolded)


def asked(changes: FakeChanges, options: ChangeDiffOptions, _: WebDriver) -> bool:
    return options in changes.asked


async def test_a_change_that_waits_is_read_commented_on_and_approved(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    changes, projects = page.hive.changes, page.hive.projects
    projects.add(how=PublishMode.REBASE)
    number = changes.submit(f"Better {HOSTILE}", description=f"**Bold** {HOSTILE}")
    await log_in()
    # The band leads to the change, and so does the count in the title.
    await browser.sees("#changes .change-card", "c1 Better <img src=x")
    await browser.sees("#waiting-changes", "1 change")
    await browser.click("#changes .change-card a.button")
    await browser.sees("#link", "Live")
    await browser.sees("#change-title", "U+202Etxt.exe")
    await browser.sees("#change .description strong", "Bold")
    await browser.sees(".merge", f"It merges into main at {TIP[:12]} without conflicts.")
    await browser.sees(".files li:nth-child(1)", "changed")
    await browser.sees(".files li:nth-child(2)", "mode 100644 → 100755")
    await browser.sees(".diff .line.added", "+zwei")
    # A comment on a line, by the keyboard: it waits, and goes with the request for changes.
    await browser.settle()
    await keys(browser, "j", "j", "c")
    await browser.type(".line-form textarea", "In English.", Keys.CONTROL + Keys.ENTER)
    await browser.sees(".remark", "you, not sent yet")
    await unfold(browser, "r", "[data-form=request]")
    await browser.sees("[data-form=request]", "1 comment on lines goes with it.")
    await browser.type("[data-form=request] textarea", "Nearly.")
    await enter(browser, "[data-form=request] [type=submit]")
    await browser.sees("#change .badge", "changes requested")
    commit = commit_of(number, 2)
    assert changes.calls == [
        ("request", number, commit, "Nearly.", [LineComment("app.py", 2, "In English.")])
    ]
    await browser.until_count("[data-draft]", 0)
    # Another revision comes while the old one is on the screen: it is shown when it is asked for.
    changes.update(number, "Now in English.", ("run.sh becomes executable.",))
    await browser.sees(".news", "Revision 3 was submitted. You see revision 2.")
    await browser.until_hidden("[data-verb=approve]")
    await browser.click(".news button")
    await browser.sees("#decision .about", f"Revision 3 on main at {TIP[:12]}")
    assert "as its project says: rebased" in await browser.value("how.options[0].text")
    await browser.sees(".findings", "run.sh becomes executable.")
    await keys(browser, "a")
    assert await browser.value("document.activeElement.dataset.verb") == "approve"
    await enter(browser, "[data-verb=approve]")
    await browser.sees("#change .badge", "approved")
    assert changes.calls[1:] == [("approve", number, commit_of(number, 3), TIP, None)]
    changes.become(number, state=ChangeState.MERGED, published="d" * 40)
    await browser.sees("#change .facts", "published as dddddddddddd")
    await browser.until_hidden("#decision")
    assert await browser.value("window.harm") is None
    assert await browser.violations() == []
    assert await browser.errors() == []


@pytest.mark.long
async def test_projects_are_shown_with_their_agents_and_fetched(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    projects, changes = page.hive.projects, page.hive.changes
    access = ProjectAccess("website", readonly=False, branches=[])
    page.hive.agents["alice"].show(projects=(access,))
    projects.branches = [Branch("main", TIP, 1, f"Fix {HOSTILE}")]
    projects.add(state=ProjectState.FAILED, message=f"It failed: `{HOSTILE}`")
    for number in range(52):
        changes.submit(f"Change {number}", state=ChangeState.MERGED)
    await log_in()
    await browser.open_live(f"{page.url}/projects")
    await browser.sees("#projects .message", "U+202E")
    await browser.sees("#projects .who", "Agents: alice")
    await browser.unfold("#projects details summary")
    await browser.sees("#projects .branches", "Fix <img src=x")
    await browser.click("[data-verb=fetch]")
    await browser.sees("#projects .badge", "fetching")
    projects.FetchProgress("website", "Receiving objects", 1, 3)
    await browser.sees("#projects .progress", "Receiving objects 33 %")
    await browser.click("[data-verb=cancel-fetch]")
    await browser.sees("#projects .badge", "ready")
    assert projects.calls == [("fetch", "website"), ("cancel", "website")]
    # The list has the changes that have ended, too, and follows what happens.
    await browser.until_count("#all-changes tbody tr", 50)
    await browser.click("#all-changes .older")
    await browser.until_count("#all-changes tbody tr", 52)
    number = changes.submit(f"New {HOSTILE}", note=HOSTILE)
    await browser.sees("#all-changes tbody tr:first-child", "New <img src=x")
    await browser.sees("#waiting-changes", f"c{number}")
    await browser.click("#all-changes [name=state] option[value=open]")
    await browser.until_count("#all-changes tbody tr", 1)
    changes.become(number, state=ChangeState.DENIED)
    await browser.until_count("#all-changes tbody tr", 0)
    await browser.until_hidden("#waiting-changes")
    assert await browser.value("window.harm") is None
    assert await browser.violations() == []


@pytest.mark.long
async def test_the_parts_of_a_change_are_looked_at_one_by_one(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    changes = page.hive.changes
    page.hive.projects.add()
    number = changes.submit("Better")
    changes.commits = [
        ChangeCommit(commit_of(1, 1), "alice", 1, "First"),
        ChangeCommit(commit_of(1, 2), "alice", 1, f"Second {HOSTILE}"),
    ]
    changes.conflicts = ["app.py"]
    changes.comments = [
        Comment("bob", 1, 2, "app.py", 3, "Why **three**?"),
        Comment("operator", 1, 1, "app.py", 1, "Of before."),
    ]
    await log_in()
    await browser.open_live(f"{page.url}/changes/{number}")
    await browser.sees(".merge", f"It conflicts with main at {TIP[:12]} in app.py.")
    await browser.sees(".remark", "Why three?")
    await browser.until_count(".remark", 1)
    await browser.until_count(".comments > li", 2)
    wanted = {
        "since revision 1": ChangeDiffOptions(revision=2, since=1),
        f"commit {commit_of(1, 1)[:12]} First": ChangeDiffOptions(
            revision=2, commit=commit_of(1, 1)
        ),
        "all of revision 1": ChangeDiffOptions(revision=1),
    }
    for label, options in wanted.items():
        choose = (
            "const view = document.getElementById('view');"
            f"view.value = [...view.options].find((one) => one.text === '{label}').value;"
            "view.dispatchEvent(new Event('change'));"
        )
        await browser.value(f"(() => {{ {choose} }})()")
        await browser.until(partial(asked, changes, options))
    # The lines of an older revision take no comments.
    await browser.until_count(".diff.numbered", 0)
    await browser.click("#functions")
    await browser.until(lambda _: ChangeDiffOptions(revision=1, functions=True) in changes.asked)
    assert await browser.violations() == []


@pytest.mark.long
async def test_a_file_that_the_diff_does_not_reach_is_fetched(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    changes = page.hive.changes
    odd = 'ä "b" \\ c.py'
    quoted = odd.replace("\\", "\\\\").replace('"', '\\"').replace("ä", "\\303\\244")
    changes.files.append(ChangedFile(odd, odd, "A", "000000", "100644", False, 1, 0, 0, 2))
    changes.cut = True
    changes.more_files = 7
    number = changes.submit("Long")
    await log_in()
    await browser.open_live(f"{page.url}/changes/{number}")
    await browser.sees(".diff", "The diff is too long, and ends here.")
    await browser.sees(".file-list > summary", "and 7 more files")
    changes.diff = (
        f'diff --git "a/{quoted}" "b/{quoted}"\nnew file mode 100644\n--- /dev/null\n'
        f'+++ "b/{quoted}"\n@@ -0,0 +1 @@\n+x\n'
    )
    await browser.click(".files li:nth-child(3) button")
    await browser.sees(".diff summary.file", odd)
    assert ChangeDiffOptions(revision=2, path=odd) in changes.asked
    # A comment names the file as it is.
    await browser.click(".diff .line[data-at='1'].added")
    await browser.click(".line-bar button")
    await browser.type(".line-form textarea", "Odd.")
    await browser.click(".line-form button[type=button]")
    await browser.sees(".remark", "Odd.")
    assert changes.calls == [("comment", number, "Odd.", CommentOptions(2, odd, 1))]
    await browser.type(".general textarea", "And all of it?")
    await browser.click(".general button")
    await browser.sees(".comments", "And all of it?")
    assert changes.calls[1] == ("comment", number, "And all of it?", CommentOptions())


@pytest.mark.long
async def test_an_approval_of_another_base_is_refused_and_the_page_says_so(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    changes, projects = page.hive.changes, page.hive.projects
    projects.add()
    number = changes.submit("Better", branch="next")
    await log_in()
    await browser.open_live(f"{page.url}/changes/{number}")
    await browser.sees("#decision .about", "Revision 2 on next at")
    # No event tells of a branch that is not the project's own.
    changes.base = "e" * 40
    await browser.click("[data-verb=approve]")
    await browser.sees("#decision > .error", "look at the change again")
    await browser.sees(".news", "next has moved to eeeeeeeeeeee since this was loaded.")
    await browser.click(".news button")
    await browser.sees("#decision .about", "Revision 2 on next at eeeeeeeeeeee")
    await browser.until_hidden(".news")
    await browser.do(lambda d: d.execute_script("document.getElementById('how').value = 'squash'"))
    await browser.click("[data-verb=approve]")
    await browser.sees("#change .badge", "approved")
    assert changes.calls[-1][2:] == (commit_of(number, 2), "e" * 40, PublishMode.SQUASH)
    # A push that failed waits for the operator, who may try again or take the approval back.
    changes.become(number, note="The push failed: it is refused.")
    await browser.sees("[data-verb=approve]", "Try again")
    await browser.sees("#change .note", "The push failed")
    await unfold(browser, "d", "[data-form=deny]")
    await browser.type("[data-form=deny] textarea", "Not now.")
    await enter(browser, "[data-form=deny] [type=submit]")
    await browser.sees("#change .badge", "denied")
    assert changes.calls[-1] == ("deny", number, commit_of(number, 2), "Not now.")


@pytest.mark.long
async def test_of_two_browsers_that_decide_about_a_change_the_second_is_told(
    page: Page, browser: Browser, log_in: LogIn, tmp_path: Path
) -> None:
    page.hive.projects.add()
    number = page.hive.changes.submit("Better")
    await log_in()
    await browser.open_live(f"{page.url}/changes/{number}")
    async with (
        late(int(page.url.rpartition(":")[2]), events=2.0) as url,
        open_browser(tmp_path / "second") as second,
    ):
        await second.open(f"{url}/login#token={await page.token()}")
        await second.click("#with-link button")
        await second.open(f"{url}/changes/{number}")
        await second.sees("[data-verb=approve]", "Approve")
        await second.settle()
        await unfold(browser, "d", "[data-form=deny]")
        await enter(browser, "[data-form=deny] [type=submit]")
        await browser.sees("#change .badge", "denied")
        # The event is still on its way to the second browser.
        await second.press("[data-verb=approve]")
        await second.sees(".told", f"c{number} is denied, which is final.")
        await second.sees("#change .badge", "denied")
        await second.until_hidden("#decision")
        assert await second.violations() == []


@pytest.mark.long
async def test_a_reviewer_decides_and_a_guest_reads_on_a_phone(
    page: Page, browser: Browser
) -> None:
    page.hive.projects.add()
    number = page.hive.changes.submit("Better")
    await browser.resize(360, 740)
    for role in (Role.GUEST, Role.REVIEWER):
        await browser.open(await page.link(role))
        await browser.click("#with-link button")
        await browser.sees("#link", "Live")
        await browser.open_live(f"{page.url}/projects")
        await browser.sees("#projects .badge", "ready")
        await browser.until_hidden("[data-verb=fetch]")
        await browser.open_live(f"{page.url}/changes/{number}")
        await browser.click(".diff .line.added")
        assert await browser.overflow() <= 0
        if role is Role.GUEST:
            for css in ("#decision", ".general", ".line-bar"):
                await browser.until_hidden(css)
            await keys(browser, "c", "r", "d")
            await browser.until_count(".line-form", 0)
            await browser.open(f"{page.url}/settings")
            await browser.click("#menu")
            await browser.click("#logout")
        else:
            await browser.click(".line-bar button")
            await browser.type(".line-form textarea", "Hm.")
            await browser.click(".line-form [type=submit]")
            await browser.sees(".remark", "Hm.")
            await browser.click("[data-verb=request]")
            await browser.click("[data-form=request] [type=submit]")
            await browser.sees("#change .badge", "changes requested")
    [(verb, _, _, _, comments)] = page.hive.changes.calls
    assert (verb, comments) == ("request", [LineComment("app.py", 2, "Hm.")])
