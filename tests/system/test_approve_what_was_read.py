"""The manager's next request takes the place of the one that the operator reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from hivectl.exit_codes import Exit
from services.dashboard.tests.browser import needs_chromium, open_browser
from tests.system.hive import PYTHON, Hive
from tests.system.inside import hivectl, inside, mcp, refused, until_ended
from tests.system.test_approvals import CLONED
from wire import names

pytestmark = pytest.mark.system

APPROVALS = (names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS)
COMMIT = """
set -e
cd /agents/alice
git fetch --quiet applied
git checkout --quiet --detach applied/main
echo "environment.GREETING = \\"$1\\"" > agent.toml
git commit --quiet --all --message "Greet with $1"
git rev-parse HEAD
"""
BUTTON = ".pending [data-key='{}'] .primary"
HINT = ".too-early"


def submit(hive: Hive, greeting: str) -> int:
    """Submit a configuration of alice as the manager; return the number of the request."""
    commit = inside(hive, "manager", "sh", "-c", COMMIT, "sh", greeting).stdout.strip()
    arguments = {"agent": "alice", "commit": commit, "description": f"Greet with {greeting}"}
    [answer] = mcp(hive, "manager", client="probe", calls=[["request_apply_commit", arguments]])
    assert not refused(answer), answer
    return int(hivectl(hive, "pending")[-1]["id"])


def request(hive: Hive, number: int) -> dict[str, str]:
    [found] = [row for row in hivectl(hive, "pending", "--all") if row["id"] == number]
    return dict(found)


@pytest.fixture
def tidy(swarm: Hive) -> Iterator[Hive]:
    """Wait for the manager's clone, and withdraw what is pending afterwards."""
    inside(swarm, "manager", PYTHON, "-c", CLONED, "alice")
    yield swarm
    for row in hivectl(swarm, "pending"):
        swarm.hivectl("withdraw", str(row["id"]))


def test_a_decision_about_the_older_request_reaches_no_newer_one(tidy: Hive) -> None:
    read = request(tidy, submit(tidy, "harmless"))
    number = submit(tidy, "harmful")
    newer = request(tidy, number)
    old = str(read["commit"])
    for verb in ("approve", "deny"):
        # The number that the operator sees now, with the commit that was read.
        told = tidy.hivectl(verb, str(number), "--commit", old[:12], check=False)
        assert (told.returncode, newer["commit"] in told.stderr) == (Exit.CONFLICT, True)
        told = tidy.hivectl(verb, str(read["id"]), "--commit", old[:12], check=False)
        assert told.returncode == Exit.CONFLICT
        assert f"already superseded: Request {number} replaced it." in told.stderr
        told = tidy.hivectl(verb, str(number), check=False)
        assert (told.returncode, "--commit COMMIT" in told.stderr) == (Exit.USAGE, True)
    for member, *arguments in (
        ("Approve", "tsa{sv}", str(number), old, "0"),
        ("ApproveNow", "tsa{sv}", str(number), old, "0"),
        ("Deny", "tss", str(number), old, "no"),
    ):
        answer = tidy.run("busctl", "call", *APPROVALS, member, *arguments, check=False)
        assert f"is about commit {newer['commit']}, not {old}" in answer.stderr
    assert request(tidy, number) == newer


@needs_chromium
@pytest.mark.long
async def test_a_click_on_the_request_that_was_read_does_not_deploy_the_next_one(
    tidy: Hive, tmp_path: Path
) -> None:
    first = submit(tidy, "harmless")
    async with open_browser(tmp_path / "profile") as browser:
        await browser.open(tidy.hivectl("login-link").stdout.strip())
        await browser.click("#with-link button")
        await browser.sees(".pending .reason", "harmless")
        await browser.point_at(BUTTON.format(first))
        await browser.freeze()
        second = submit(tidy, "harmful")
        await browser.sees(".pending .reason", "harmful")
        assert await browser.under_mouse() == str(second)
        await browser.mouse(lambda on: on.click())

        def over(d: WebDriver) -> bool:
            told = any(hint.is_displayed() for hint in d.find_elements(By.CSS_SELECTOR, HINT))
            return told or not d.find_elements(By.CSS_SELECTOR, BUTTON.format(second))

        await browser.until(over)
        states = [request(tidy, number)["state"] for number in (first, second)]
        assert states == ["superseded", "pending"]
        await browser.thaw()
        await browser.click(BUTTON.format(second))
        assert until_ended(tidy, second)["state"] == "deployed"
