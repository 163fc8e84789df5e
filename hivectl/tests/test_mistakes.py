"""The output for users who are not the operator, mistype, or use the wrong machine."""

import os
from pathlib import Path
from typing import Any

import pytest

from hivectl import cli
from hivectl.exit_codes import Exit
from hivectl.host import journal
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from wire.errors import AccessDenied


def test_the_refusal_of_the_bus_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AccessDenied('Rejected send message, 2 matched rules; type="method_call"')

    monkeypatch.setattr(cli.cli, "main", refuse)
    assert cli.run(["list"]) == Exit.DENIED
    told = capsys.readouterr().err
    assert told == (
        "hivectl: You are not an operator of this hive. "
        "Run hivectl as root or as a member of the group hive.\n"
    )


@pytest.mark.parametrize("verb", ["start", "kill", "restart", "status"])
async def test_a_mistyped_agent_is_named(hive: FakeHive, hivectl: Hivectl, verb: str) -> None:
    ran = await hivectl(verb, "alcie")
    assert ran.code == Exit.NOT_FOUND
    assert ran.err == (
        "hivectl: There is no agent 'alcie'; `hivectl list` shows all. Did you mean alice?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["withdraw", "x"], "'x' is not a valid number."),
        (["withdraw", "0"], "0 is out of range: at least 1."),
        (["answer", "0", "yes"], "'0' is not a valid ID: IDs are whole numbers from 1."),
        (["history", "--limit", "1001"], "1001 is out of range: at least 1 and at most 1000."),
        (["inbox", "--wait", "x"], "'x' is not a valid number."),
        (["inbox", "--wait", "nan"], "nan is out of range: more than 0 and at most 31536000."),
    ],
)
async def test_a_number_that_is_not_valid_is_explained(
    hivectl: Hivectl, arguments: list[str], sentence: str
) -> None:
    ran = await hivectl(*arguments)
    assert ran.code == Exit.USAGE
    help_text = f"`hivectl {arguments[0]} --help` describes the command."
    assert ran.err.endswith(f": {sentence} {help_text}\n")
    assert ran.err.startswith("hivectl: ")


def test_a_journal_that_is_not_ours_to_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, closed = tmp_path / "ours", tmp_path / "closed"
    for place in (ours, closed):
        place.mkdir()
        (place / "system.journal").touch()
    (ours / "system.journal~").touch()
    whole = os.open

    def opened(path: str | Path, *arguments: Any, **options: Any) -> int:
        if path == closed.name:
            raise PermissionError(13, "Permission denied", path)
        return whole(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opened)
    places = [journal.Place(tmp_path, name) for name in (closed.name, ours.name, "nowhere")]
    [found] = journal.files(places)
    assert found.samefile(ours / "system.journal")


@pytest.mark.parametrize("group", ["credentials", "project", "assistant"])
async def test_a_group_without_a_command_shows_its_help(hivectl: Hivectl, group: str) -> None:
    ran = await hivectl(group)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert ran.err == (await hivectl(group, "--help")).out
