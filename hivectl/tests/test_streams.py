"""Standard output that is closed, full, or read by somebody who leaves; the options about it."""

import asyncio
import sys

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.test_terminal import terminal

TIME_LIMIT = 20.0


async def redirected(
    environment: dict[str, str], redirection: str, *arguments: str
) -> tuple[int, str]:
    """Run hivectl with its output redirected by a shell; return the exit code and stderr."""
    line = f'exec "$0" -m hivectl "$@" {redirection}'
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", line, sys.executable, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    _, err = await asyncio.wait_for(process.communicate(), TIME_LIMIT)
    assert process.returncode is not None
    return process.returncode, err.decode()


FULL = "hivectl: Standard output cannot be written: No space left on device.\n"
CLOSED = "hivectl: Standard output is closed. Nothing was done.\n"


@pytest.mark.parametrize(
    ("redirection", "arguments", "told"),
    [
        (">/dev/full", ["list"], FULL),
        (">/dev/full", ["--help"], FULL),
        (">&-", ["stop", "alice"], CLOSED),
        ("<&- >&-", ["stop", "alice"], CLOSED),
    ],
)
async def test_output_that_cannot_be_written_is_one_sentence(
    hive: FakeHive, environment: dict[str, str], redirection: str, arguments: list[str], told: str
) -> None:
    assert await redirected(environment, redirection, *arguments) == (Exit.FAILED, told)
    assert hive.lifecycle.calls == []


@pytest.mark.parametrize("redirection", ["2>&- >/dev/null", "2>/dev/full", "<&- >/dev/null"])
async def test_other_streams_may_be_closed(
    hive: FakeHive, environment: dict[str, str], redirection: str
) -> None:
    assert (await redirected(environment, redirection, "list"))[0] == Exit.OK
    assert (await redirected(environment, redirection, "list", "--nonsense"))[0] == Exit.USAGE


async def test_the_form_may_be_chosen_before_or_after_the_command(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    line = await hivectl("-o", "json", "holds")
    assert line.out == "[]\n"
    assert (await hivectl("holds", "-o", "json-pretty")).out == (
        await hivectl("holds", "--json")
    ).out
    assert (await hivectl("holds", "-o", "yaml")).code == Exit.USAGE


async def test_legend_and_words_can_be_left_out(hive: FakeHive, hivectl: Hivectl) -> None:
    whole = (await hivectl("list")).out.splitlines()
    assert (await hivectl("list", "--no-legend")).out.splitlines() == whole[1:]
    ran = await hivectl("-q", "start", "alice")
    assert (ran.code, ran.out, ran.err) == (Exit.OK, "", "")
    assert hive.lifecycle.calls == [("start", "alice")]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["lst"], "There is no command 'lst'. Did you mean list? `hivectl --help` lists"),
        (["rm", "alice"], "There is no command 'rm'. Did you mean destroy?"),
        (["sessions", "revok"], "There is no command 'revok'. Did you mean revoke?"),
        (["list", "--jsno"], "There is no option --jsno. Did you mean --json?"),
        (["send"], "Missing argument 'TO'. `hivectl send --help` describes the command."),
        (["help", "lst"], "There is no command 'lst'. Did you mean list?"),
    ],
)
async def test_errors_of_the_usage_have_one_style_and_a_hint(
    hivectl: Hivectl, typed: list[str], told: str
) -> None:
    ran = await hivectl(*typed)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert ran.err.startswith(f"hivectl: {told}")
    assert ran.err.count("\n") == 1


async def test_aliases_and_help(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("ps")).out == (await hivectl("list")).out
    assert (await hivectl("help", "list")).out == (await hivectl("list", "--help")).out
    assert (await hivectl("-V")).out.startswith("hivectl, version ")


async def test_a_listing_longer_than_the_screen_is_paged(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    for number in range(40):
        hive.broker.queue("alice", f"body {number}", to="bob-2")
    pager = {"HIVECTL_PAGER": "sed s/^/paged:/", "COLUMNS": "100", "LINES": "24"}
    async with terminal(environment, "history", **pager) as shown:
        code, text = await shown.end()
    assert (code, text.count("paged:")) == (Exit.OK, 41)
    secure = {"HIVECTL_PAGER": "sh -c 'cat >/dev/null; echo secure: $LESSSECURE'", "SUDO_UID": "7"}
    async with terminal(environment, "history", **(pager | secure)) as shown:
        assert (await shown.end())[1] == "secure: 1\r\n"
    async with terminal(environment, "history", "--no-pager", **pager) as shown:
        code, text = await shown.end()
    assert (code, text.count("paged:")) == (Exit.OK, 0)
    async with terminal(environment, "history", "--limit", "3", **pager) as shown:
        code, text = await shown.end()
    assert (code, text.count("paged:")) == (Exit.OK, 0)
