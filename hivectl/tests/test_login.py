"""The login: the output of a container stays harmless, and its end is reported."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from hivectl.exit_codes import CommandError, Exit
from hivectl.host.login import Login, has_code, login, python, read_code
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from wire.text.tests.login_addresses import REFUSED

SCRIPT = r"""
import sys
print("Opening browser\x1b[2J\nIf it did not open, visit: https://claude.com/cai/oauth/authorize?a=b")
print("Paste code here if prompted > ", end="", flush=True)
code = sys.stdin.readline().strip()
print("Login successful." if code == "good" else "Couldn't log in:\x1b[31m no such code")
sys.exit(code != "good")
"""


def stand_in(script: str = SCRIPT) -> list[str]:
    return [sys.executable, "-c", script]


async def test_the_address_is_shown_and_the_code_handed_over() -> None:
    async with login("h-alice", lambda _machine, _unit: stand_in()) as session:
        assert str(await session.page()) == "https://claude.com/cai/oauth/authorize?a=b"
        await session.enter("good")


async def test_a_wrong_code_is_told_without_what_a_terminal_would_obey() -> None:
    async with login("h-alice", lambda _machine, _unit: stand_in()) as session:
        await session.page()
        with pytest.raises(
            CommandError, match=r"The login failed: Couldn't log in:<U\+001B>\[31m no"
        ):
            await session.enter("bad")


@pytest.mark.parametrize(
    "script", ["print('no page')", "import sys; sys.exit(3)", "print('x'*10**6)"]
)
async def test_one_that_names_no_page_is_told(script: str) -> None:
    async with login("h-alice", lambda _machine, _unit: stand_in(script)) as session:
        with pytest.raises(CommandError, match="The login printed no address"):
            await session.page()


async def test_one_that_never_ends_is_ended() -> None:
    async with login(
        "h-alice", lambda _machine, _unit: stand_in("import time; time.sleep(1000)")
    ) as session:
        assert isinstance(session, Login)
    assert session.process.returncode is not None


async def test_the_unit_in_the_container_is_ended_too(tmp_path: Path) -> None:
    units: list[str] = []
    # The end of the process that starts the login does not end the login itself.
    script = f"import time; open({str(tmp_path / 'began')!r}, 'w'); time.sleep(1000)"

    def run(machine: str, unit: str) -> list[str]:
        units.append(unit)
        return stand_in(script)

    def end(machine: str, unit: str) -> list[str]:
        units.append(unit)
        return ["touch", str(tmp_path / unit)]

    with pytest.raises(RuntimeError):
        async with login("h-alice", run, end):
            raise RuntimeError
    assert units[0] == units[1]
    assert (tmp_path / units[0]).exists()


async def test_a_code_is_read_from_a_pipe_and_the_wait_can_be_cancelled() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream, os.fdopen(writing, "w") as other:
        assert has_code(stream), "a program may write a code later"
        waiting = asyncio.create_task(read_code(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waiting = asyncio.create_task(read_code(stream))
        other.write("the code\nmore\n")
        other.flush()
        async with asyncio.timeout(5):
            assert await waiting == "the code"
        other.close()
        async with asyncio.timeout(5):
            assert await read_code(stream) == ""
        assert not has_code(stream)


async def test_a_code_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "code"
    file.write_text("abc\n")
    with file.open() as stream:
        assert has_code(stream)
        assert await read_code(stream) == "abc"
        assert not has_code(stream)
    with os.fdopen(os.open(os.devnull, os.O_RDONLY)) as stream:
        assert not has_code(stream)
        assert await read_code(stream) == ""
    assert not has_code(None)


async def test_a_missing_program_is_told() -> None:
    with pytest.raises(CommandError) as refused:
        async with login("h-alice", lambda _machine, _unit: ["/nowhere/systemd-run"]):
            pass
    assert refused.value.code == Exit.UNAVAILABLE


@pytest.mark.parametrize("address", REFUSED)
async def test_any_other_address_is_refused_and_not_shown(address: str) -> None:
    script = f"import sys; sys.stdout.reconfigure(encoding='utf-8'); print({address!r}, flush=True)"
    async with login("h-alice", lambda _machine, _unit: stand_in(script)) as session:
        with pytest.raises(CommandError, match="not a login page of Anthropic") as refused:
            await session.page()
    assert refused.value.code == Exit.FAILED
    assert "://" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


async def test_what_a_login_says_makes_no_link() -> None:
    script = "print('Log in at http://evil.example/x or http:/\\evil.example')"
    async with login("h-alice", lambda _machine, _unit: stand_in(script)) as session:
        with pytest.raises(CommandError, match=r"Log in at \[address\] or \[address\]$"):
            await session.page()


async def test_an_agent_that_is_not_there_cannot_log_in(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("login", "carol")).code == Exit.NOT_FOUND


def test_the_python_of_containers_is_that_of_the_store_on_nixos() -> None:
    store = Path("/nix/store/0c4-hyperhive-prefix-0.1.0")
    assert python(store) == store / "bin/python"
    # A virtual environment that is mounted at the usual place knows another one.
    assert python(Path("/home/ann/hive/.venv")) == Path("/usr/lib/hyperhive/bin/python")
