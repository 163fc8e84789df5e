"""Logins that the operator begins on the agent's page: addresses, codes, outcomes, ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from harness.logins import Limits, LoginError, Logins, Page
from harness.tests.conftest import Harness
from harness.tests.hive import Hive

ADDRESS = "https://claude.com/cai/oauth/authorize?a=b"
SCRIPT = f"""
import sys
print("Opening browser\\nIf it did not open, visit: {ADDRESS}")
print("Paste code here if prompted > ", end="", flush=True)
code = sys.stdin.readline().strip()
print("Login successful." if code == "good" else f"Couldn't log in: no such code {{code}}")
sys.exit(code != "good")
"""
HANGS = f"import time; print('{ADDRESS}', flush=True); time.sleep(1000)"

Make = Callable[..., Logins]


async def until_ended(pid: int) -> None:
    """Wait for the end of a process that is not a child."""
    with suppress(ProcessLookupError):
        ended = asyncio.get_running_loop().create_future()
        descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(descriptor, lambda: ended.set_result(None))
        await ended
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Logins] = []

    def logins(script: str = SCRIPT, **limits: float) -> Logins:
        program = (sys.executable, "-c", script)
        made.append(Logins("bob", program=program, limits=Limits(**limits)))
        return made[-1]

    yield logins
    for one in made:
        await one.close()


async def test_a_code_logs_the_agent_in(make: Make) -> None:
    logins = make()
    assert await logins.begin(7) == Page(7, ADDRESS)
    assert await logins.enter(7, "good") == "bob is logged in."
    assert await logins.begin(8) == Page(8, ADDRESS)


async def test_a_wrong_code_is_told_and_not_repeated(make: Make) -> None:
    logins = make()
    await logins.begin(7)
    with pytest.raises(LoginError, match=r"Couldn't log in: no such code \[code\]$"):
        await logins.enter(7, "secret-1")
    with pytest.raises(LoginError, match="This login is over"):
        await logins.enter(7, "good")


async def test_two_tabs_share_a_login(make: Make) -> None:
    logins = make()
    first, second = await asyncio.gather(logins.begin(7), logins.begin(8))
    assert first == second == Page(7, ADDRESS)
    assert await logins.enter(7, "good") == "bob is logged in."
    with pytest.raises(LoginError, match="This login is over"):
        await logins.enter(7, "good")


async def test_a_code_for_an_earlier_login_does_not_reach_a_later_one(make: Make) -> None:
    logins = make()
    await logins.begin(7)
    assert await logins.cancel(7) == "The login was cancelled."
    await logins.begin(8)
    for refused in (logins.enter(7, "good"), logins.cancel(7)):
        with pytest.raises(LoginError, match="This login is over"):
            await refused
    assert await logins.enter(8, "good") == "bob is logged in."


async def test_a_login_is_cancelled_while_it_checks_a_code(make: Make) -> None:
    logins = make(HANGS)
    await logins.begin(7)
    checking = asyncio.create_task(logins.enter(7, "good"))
    await asyncio.sleep(0)
    with pytest.raises(LoginError, match="A code was entered already"):
        await logins.enter(7, "other")
    await logins.cancel(7)
    with pytest.raises(LoginError, match="The login was cancelled"):
        await checking


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('no page')", "The login printed no address: no page"),
        ("import sys; sys.exit(3)", "The login printed no address: it printed nothing"),
        ("print('x' * 10**6)", "The login printed no address: xxx"),
        ("import time; time.sleep(1000)", "The login printed no address within 0 s"),
    ],
)
async def test_one_that_names_no_page_is_told(make: Make, script: str, said: str) -> None:
    logins = make(script, address=0.5 if "sleep" in script else 60.0)
    with pytest.raises(LoginError, match=said):
        await logins.begin(7)
    with pytest.raises(LoginError, match="This login is over"):
        await logins.enter(7, "good")


async def test_one_that_does_not_end_is_ended(make: Make) -> None:
    logins = make(HANGS, end=0.1)
    await logins.begin(7)
    with pytest.raises(LoginError, match="The login did not end within 0 s"):
        await logins.enter(7, "good")


async def test_one_that_nobody_comes_back_to_is_ended(make: Make) -> None:
    logins = make(f"{HANGS}", whole=2.0)
    await logins.begin(7)
    checking = asyncio.create_task(logins.enter(7, "good"))
    with pytest.raises(LoginError, match="Nobody entered a code"):
        await checking


async def test_a_missing_program_is_told() -> None:
    logins = Logins("bob", program=("/nowhere/python",))
    with pytest.raises(LoginError, match="could not be started"):
        await logins.begin(7)


async def test_what_a_login_starts_ends_with_it(make: Make, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    # The login goes on when its child has written its number.
    script = f"""
import subprocess
child = subprocess.Popen(["sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
child.stdout.readline()
open({str(pid)!r}, "w").write(str(child.pid))
{HANGS}
"""
    logins = make(script)
    await logins.begin(7)
    await logins.close()
    async with asyncio.timeout(10):
        await until_ended(int(pid.read_text()))


async def test_one_whose_output_is_held_ends_all_the_same(make: Make, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"""
import subprocess
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
open({str(pid)!r}, "w").write(str(child.pid))
{HANGS}
"""
    logins = make(script, kill=0.2)
    await logins.begin(7)
    try:
        async with asyncio.timeout(10):
            await logins.cancel(7)
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_the_operator_logs_an_agent_in(harness: Harness, hive: Hive) -> None:
    """The real program names its page without a network; nobody has a code for it."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    # The operator's variables are those of turns, and of the login.
    variables = {
        "HTTPS_PROXY": f"http://127.0.0.1:{port}",
        "HTTP_PROXY": f"http://127.0.0.1:{port}",
    }
    await harness.start(api="none", environment=variables)
    await hive.until(lambda: hive.state == "needs-login")
    page = await hive.command("login", 60)
    assert page["address"].startswith("https://claude.com/cai/oauth/authorize?")
    assert (await hive.command("login"))["login"] == page["login"]
    refused = await hive.command("login-code", value="secret-1", login=page["login"] - 1)
    assert refused == {"error": "This login is over. Begin a new one."}
    state = page["address"].partition("state=")[2].partition("&")[0]
    failed = await hive.command("login-code", 120, value=f"secret-1#{state}", login=page["login"])
    assert failed["error"].startswith("The login failed")
    assert any(line.startswith(b"CONNECT ") for line in asked)
    again = await hive.command("login", 60)
    assert again["login"] > page["login"]
    assert (await hive.command("login-cancel", login=again["login"])) == {
        "text": "The login was cancelled."
    }
    assert "secret-1" not in harness.log() + str(failed)
    proxy.close()
