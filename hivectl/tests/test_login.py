"""The login: the words of a container stay harmless, and its end is reported."""

import asyncio
import os
from pathlib import Path

import pytest

from hivectl.exit_codes import Exit
from hivectl.host.codes import has_code, read_code
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import FakeAgent
from hivectl.tests.fake_hive import FakeHive
from wire.errors import Conflict, Unavailable
from wire.records.lifecycle import AgentState
from wire.text.tests.login_addresses import REFUSED

PAGE = "https://claude.com/cai/oauth/authorize?a=b"


@pytest.fixture
def alice(hive: FakeHive) -> FakeAgent:
    return hive.lifecycle.agents["alice"]


async def test_the_page_is_shown_and_the_code_handed_over(
    alice: FakeAgent, hivectl: Hivectl
) -> None:
    alice.sentence = "alice is logged in."
    ran = await hivectl("login", "alice", stdin=b"good\n")
    assert (ran.code, ran.out) == (Exit.OK, "alice is logged in.\n")
    assert ran.err.splitlines()[-1] == PAGE
    assert alice.steered == [("login",), ("login-code", "4 good")]


async def test_a_wrong_code_is_told_without_what_a_terminal_would_obey(
    alice: FakeAgent, hivectl: Hivectl
) -> None:
    ran = await hivectl("login", "alice", stdin=b"bad\n")
    assert ran.code == Exit.CONFLICT
    assert ran.err.endswith("The login failed: <U+001B>[2J no such code, see [address]\n")
    assert alice.steered[-1] == ("login-cancel", "4")


async def test_a_login_without_a_code_is_ended(alice: FakeAgent, hivectl: Hivectl) -> None:
    ran = await hivectl("login", "alice", stdin=b"\n")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert ran.err.endswith("No code was entered; nothing was changed.\n")
    assert alice.steered == [("login",), ("login-cancel", "4")]


async def test_without_a_terminal_or_a_code_none_is_begun(
    alice: FakeAgent, hivectl: Hivectl
) -> None:
    assert (await hivectl("login", "alice")).code == Exit.USAGE
    assert alice.steered == []


@pytest.mark.parametrize("address", REFUSED)
async def test_any_other_address_is_refused_and_not_shown(
    alice: FakeAgent, hivectl: Hivectl, address: str
) -> None:
    alice.login_page = address
    ran = await hivectl("login", "alice", stdin=b"good\n")
    assert (ran.code, ran.out) == (Exit.CONFLICT, "")
    assert "not a login page of Anthropic" in ran.err
    assert "://" not in ran.err
    assert "\x1b" not in ran.err
    assert alice.steered == [("login",), ("login-cancel", "4")]


async def test_a_login_that_does_not_begin_says_why(alice: FakeAgent, hivectl: Hivectl) -> None:
    alice.refusal = Conflict("Log in at http://evil.example/x or http:/\\evil.example")
    ran = await hivectl("login", "alice", stdin=b"good\n")
    assert ran.code == Exit.CONFLICT
    assert ran.err.endswith("Log in at [address] or [address]\n")
    alice.refusal = Unavailable("The harness of alice does not answer.")
    ran = await hivectl("login", "alice", stdin=b"good\n")
    assert (ran.code, ran.err) == (
        Exit.UNAVAILABLE,
        "hivectl: The harness of alice does not answer.\n",
    )


async def test_an_agent_that_does_not_run_cannot_log_in(alice: FakeAgent, hivectl: Hivectl) -> None:
    assert (await hivectl("login", "carol")).code == Exit.NOT_FOUND
    alice.show(state=AgentState.STOPPED)
    ran = await hivectl("login", "alice", stdin=b"good\n")
    assert ran.code == Exit.CONFLICT
    assert "Run `hivectl start alice` first" in ran.err
    assert alice.steered == []


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
