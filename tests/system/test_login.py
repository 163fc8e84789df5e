"""The login of an agent from its page: the page, the bus, and a harness in a real container.

A program stands in for Claude Code, whose login needs a server of Anthropic.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from services.dashboard.tests.browser import needs_chromium, open_browser
from tests.system.hive import Hive
from tests.system.inside import inside, until_state
from tests.system.test_dashboard import Page

pytestmark = pytest.mark.system

ADDRESS = "https://claude.com/cai/oauth/authorize?code=true&state=s1"
CREDENTIALS = "/root/.claude/.credentials.json"
CODE = "secret-code-4711"
STAND_IN = """#!/bin/sh
[ "$*" = "auth login" ] || exit 4
echo "If the browser did not open, visit: ADDRESS"
printf "Paste code here if prompted > "
read -r code
if [ "$code" = CODE ]; then
    echo '{}' > "$CLAUDE_CONFIG_DIR/.credentials.json"
    echo "Login successful."
else
    echo "Login failed: no such code: $code"
    exit 1
fi
"""
PLACE = "from harness.claude.program import binary; print(binary())"
MOUNT = """
set -e
cat > /state/stand-in
chmod 755 /state/stand-in
mount --bind /state/stand-in "$1"
"""
PROCESSES = ("pgrep", "-f", "auth login$")

StandIn = Callable[[str], None]


@pytest.fixture
def stand_in(swarm: Hive) -> Iterator[StandIn]:
    """Return a function that has a program with an address stand in for bob's Claude Code."""
    program = inside(swarm, "bob", "/usr/lib/hyperhive/bin/python", "-P", "-c", PLACE)
    place = program.stdout.strip()

    def put(address: str = ADDRESS) -> None:
        text = STAND_IN.replace("ADDRESS", address).replace("CODE", CODE)
        inside(swarm, "bob", "sh", "-c", MOUNT, "sh", place, stdin=text)

    until_state(swarm, "bob", "idle", "TurnState")
    yield put
    inside(swarm, "bob", "umount", place, check=False)
    inside(swarm, "bob", "rm", "-f", "/state/stand-in", CREDENTIALS)


@pytest.fixture
def page(swarm: Hive) -> Iterator[Page]:
    page = Page(swarm.hivectl("login-link").stdout.strip())
    yield page
    page.close()


def post(page: Page, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = page.request("POST", f"/api/agents/bob/login{path}", body)
    return answer.status, json.load(answer)


@pytest.mark.long
def test_a_wrong_code_a_cancelled_login_and_two_tabs(
    swarm: Hive, stand_in: StandIn, page: Page
) -> None:
    stand_in(ADDRESS)
    status, first = post(page, "")
    assert (status, first["address"]) == (200, ADDRESS)
    assert post(page, "")[1] == first
    status, answer = post(page, "/code", login=first["login"], code="wrong")
    assert (status, answer["error"]) == (
        409,
        "The login failed: Login failed: no such code: [code]",
    )
    _, second = post(page, "")
    assert second["login"] > first["login"]
    status, answer = post(page, "/code", login=first["login"], code=CODE)
    assert (status, answer["error"]) == (409, "This login is over. Begin a new one.")
    assert inside(swarm, "bob", *PROCESSES).stdout.count("\n") == 1
    answer = post(page, "/cancel", login=second["login"])[1]
    assert answer == {"said": "The login was cancelled."}
    assert inside(swarm, "bob", *PROCESSES, check=False).stdout == ""
    assert inside(swarm, "bob", "ls", CREDENTIALS, check=False).returncode != 0


@pytest.mark.long
def test_a_login_ends_with_its_harness(swarm: Hive, stand_in: StandIn, page: Page) -> None:
    stand_in(ADDRESS)
    _, begun = post(page, "")
    inside(swarm, "bob", "systemctl", "kill", "-s", "KILL", "hive-harness")
    until_state(swarm, "bob", "harness-away", "TurnState")
    until_state(swarm, "bob", "idle", "TurnState")
    assert inside(swarm, "bob", *PROCESSES, check=False).stdout == ""
    status, answer = post(page, "/code", login=begun["login"], code=CODE)
    assert (status, answer["error"]) == (409, "This login is over. Begin a new one.")


@pytest.mark.parametrize(
    "address",
    [
        r"https://evil.example\\@claude.ai/oauth/authorize",
        pytest.param("https://evil.example;@claude.ai/oauth/authorize", marks=pytest.mark.long),
        pytest.param("https://evil.example%5c@claude.ai/oauth/authorize", marks=pytest.mark.long),
        pytest.param("https://claude.ai/public/artifacts/1", marks=pytest.mark.long),
    ],
)
def test_a_container_cannot_send_the_operator_to_its_own_page(
    swarm: Hive, stand_in: StandIn, page: Page, address: str
) -> None:
    stand_in(address)
    status, answer = post(page, "")
    assert status == 409
    assert "not a login page of Anthropic" in answer["error"]
    assert "://" not in str(answer)
    done = swarm.hivectl("login", "bob", check=False, input="code\n")
    assert done.returncode == Exit.CONFLICT
    assert "not a login page of Anthropic" in done.stderr
    assert "://" not in done.stdout + done.stderr
    assert inside(swarm, "bob", *PROCESSES, check=False).stdout == ""


def test_an_operator_who_is_not_root_logs_an_agent_in_on_the_command_line(
    swarm: Hive, stand_in: StandIn
) -> None:
    stand_in(ADDRESS)
    member = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=hive", "--")
    done = swarm.run(*member, "hivectl", "login", "bob", input="wrong\n", check=False)
    assert (done.returncode, done.stdout) == (Exit.CONFLICT, "")
    assert done.stderr.endswith("The login failed: Login failed: no such code: [code]\n")
    done = swarm.run(*member, "hivectl", "login", "bob", input=f"{CODE}\n")
    assert done.stdout == "bob is logged in.\n"
    assert done.stderr.splitlines()[-1] == ADDRESS
    inside(swarm, "bob", "ls", CREDENTIALS)


def test_a_login_ends_with_its_command(swarm: Hive, stand_in: StandIn) -> None:
    stand_in(ADDRESS)
    done = swarm.run("sh", "-c", "hivectl login bob </dev/null", check=False, timeout=20)
    assert done.returncode == Exit.USAGE
    assert "neither a terminal nor a code" in done.stderr
    assert inside(swarm, "bob", *PROCESSES, check=False).stdout == ""
    login = swarm.popen("hivectl", "login", "bob")
    assert login.stderr is not None
    assert ADDRESS in [line.strip() for line in itertools.islice(login.stderr, 2)]
    assert inside(swarm, "bob", *PROCESSES).stdout
    swarm.run("pkill", "-INT", "-f", "hivectl login bob$")
    login.communicate(timeout=30)
    assert inside(swarm, "bob", *PROCESSES, check=False).stdout == ""


@needs_chromium
@pytest.mark.long
async def test_the_operator_logs_an_agent_in_on_its_page(
    swarm: Hive, stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in(ADDRESS)
    async with open_browser(tmp_path) as browser:
        await browser.open(swarm.hivectl("login-link").stdout.strip())
        await browser.click("#with-link button")
        await browser.click("#agents a[href='/agents/bob']")
        await browser.sees("#link", "Live")
        await browser.settle()
        await browser.click("[data-command=login]")
        await browser.sees(".login-flow a", "claude.com/cai/oauth/authorize")
        assert await browser.value("document.querySelector('.login-flow a').href") == ADDRESS
        await browser.type("#login-code-bob", CODE)
        await browser.settle()
        await browser.click(".login-flow [type=submit]")
        await browser.sees(".login-flow .login-status", "bob is logged in.")
    assert inside(swarm, "bob", "cat", CREDENTIALS).stdout == "{}\n"
    inside(swarm, "bob", "rm", "/state/stand-in")
    # Neither the host nor the container keeps the code.
    search = "journalctl --no-pager -o cat | grep -c -- $1; grep -rl -- $1 $2"
    for run, places in (
        (swarm.run, "/var/lib/hyperhive /run/hyperhive /run/systemd"),
        (lambda *command, **how: inside(swarm, "bob", *command, **how), "/state /run /root /var"),
    ):
        found = run("sh", "-c", search.replace("$2", places), "sh", CODE, check=False)
        assert found.stdout == "0\n"
