"""The login: the output of a container stays harmless, and its end is reported."""

import sys

import pytest

from hivectl.exit_codes import CommandError, Exit
from hivectl.host.login import Login, is_known, login
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive

SCRIPT = r"""
import sys
print("Opening browser\x1b[2J\nIf it did not open, visit: https://claude.com/cai/authorize?a=b")
print("Paste code here if prompted > ", end="", flush=True)
code = sys.stdin.readline().strip()
print("Login successful." if code == "good" else "Couldn't log in:\x1b[31m no such code")
sys.exit(code != "good")
"""


def stand_in(script: str = SCRIPT) -> list[str]:
    return [sys.executable, "-c", script]


async def test_the_address_is_shown_and_the_code_handed_over() -> None:
    async with login("h-alice", lambda _machine: stand_in()) as session:
        assert await session.address() == "https://claude.com/cai/authorize?a=b"
        await session.enter("good")


async def test_a_wrong_code_is_told_without_what_a_terminal_would_obey() -> None:
    async with login("h-alice", lambda _machine: stand_in()) as session:
        await session.address()
        with pytest.raises(CommandError, match=r"The login failed: Couldn't log in:\\x1b\[31m no"):
            await session.enter("bad")


@pytest.mark.parametrize(
    "script", ["print('no page')", "import sys; sys.exit(3)", "print('x'*10**6)"]
)
async def test_one_that_names_no_page_is_told(script: str) -> None:
    async with login("h-alice", lambda _machine: stand_in(script)) as session:
        with pytest.raises(CommandError, match="The login printed no address"):
            await session.address()


async def test_one_that_never_ends_is_ended() -> None:
    async with login("h-alice", lambda _: stand_in("import time; time.sleep(1000)")) as session:
        assert isinstance(session, Login)
    assert session.process.returncode is not None


async def test_a_missing_program_is_told() -> None:
    with pytest.raises(CommandError) as refused:
        async with login("h-alice", lambda _machine: ["/nowhere/systemd-run"]):
            pass
    assert refused.value.code == Exit.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("https://claude.com/cai/oauth", True),
        ("https://platform.claude.com/x", True),
        ("https://claude.com.evil.example/x", False),
        ("https://notclaude.com/x", False),
        ("https://claude.com@evil.example/x", False),
    ],
)
def test_whose_page_it_is(address: str, known: bool) -> None:
    assert is_known(address) is known


async def test_an_agent_that_is_not_there_cannot_log_in(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("login", "carol")).code == Exit.NOT_FOUND
