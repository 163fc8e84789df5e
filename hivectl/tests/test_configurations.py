"""The commands cat and edit."""

from pathlib import Path

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_approvals import BASE
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.test_terminal import terminal
from wire.records.approvals import ConfigureOptions
from wire.records.lifecycle import JobResult

TO_B = 'sed -i s/a.$/b\\"/'
"""An editor that changes the model to b."""


def kept(text: str) -> Path:
    """Return the file that `text` says the edited text is in."""
    return Path(text.split("The edited text is in ")[1].split()[0].rstrip("."))


async def test_a_file_is_printed_as_it_is_to_a_program_and_marked_on_a_terminal(
    hive: FakeHive, hivectl: Hivectl, environment: dict[str, str]
) -> None:
    assert (await hivectl("cat", "alice")).out == 'model = "a"\n'
    assert (await hivectl("cat", "alice", "notes.md")).out == "\u202eold\n"
    assert (await hivectl("cat", "alice", "--json")).json == {
        "agent": "alice",
        "path": "agent.toml",
        "text": 'model = "a"\n',
        "commit": BASE,
        "files": ["agent.toml", "notes.md"],
    }
    async with terminal(environment, "cat", "alice", "notes.md") as shown:
        await shown.shows("<U+202E>old")
    assert (await hivectl("cat", "alice", "nope")).code == Exit.NOT_FOUND


async def test_a_change_is_shown_and_deployed_after_a_yes(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    async with terminal(
        environment, "edit", "alice", "-m", "Smaller", "--now", EDITOR=TO_B
    ) as shown:
        await shown.shows('\x1b[32m+model = "b"\x1b[0m')
        await shown.shows("Deploy this change of agent.toml to alice? [y/N]:")
        assert hive.approvals.calls == []
        shown.type("y\n")
        await shown.shows("alice: deploy done")
        code, text = await shown.end()
    assert (code, "edited text" in text) == (Exit.OK, False)
    assert hive.approvals.calls == [
        (
            *("configure", "alice", "agent.toml", 'model = "b"\n', BASE),
            ConfigureOptions("Smaller", now=True),
        )
    ]


async def test_a_no_deploys_nothing_and_keeps_the_text(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    async with terminal(environment, "edit", "alice", VISUAL=TO_B, EDITOR="false") as shown:
        await shown.shows("Deploy this change")
        shown.type("n\n")
        await shown.shows("The edited text is in ")
        code, text = await shown.end()
    assert (code, hive.approvals.calls) == (Exit.FAILED, [])
    place = kept(text)
    assert place.read_text() == 'model = "b"\n'
    place.unlink()


async def test_a_text_that_is_not_valid_is_edited_again(
    hive: FakeHive, environment: dict[str, str], tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nif grep -q wrong "$1"; then echo right; else echo wrong; fi > n\nmv n "$1"\n'
    )
    editor.chmod(0o755)
    async with terminal(
        environment, "edit", "alice", EDITOR=f"sh -c 'cd {tmp_path}; ./editor $0'"
    ) as shown:
        await shown.shows("line 1: wrong is not a valid key.")
        shown.type("y\n")
        await shown.shows("Deploy this change")
        shown.type("y\n")
        await shown.shows("alice: deploy done")
    [call] = hive.approvals.calls
    assert call[3] == "right\n"


@pytest.mark.parametrize(
    ("editor", "code", "why"),
    [
        ("true", Exit.OK, "no changes"),
        ("false", Exit.FAILED, "ended with status 1"),
        ("/nonexistent/editor", Exit.USAGE, "Set $EDITOR"),
        ("sed -i s/model/wrong/", Exit.USAGE, "wrong is not a valid key"),
    ],
)
async def test_without_a_change_that_is_valid_nothing_is_deployed(
    hive: FakeHive, hivectl: Hivectl, editor: str, code: Exit, why: str
) -> None:
    ran = await hivectl("edit", "alice", "--yes", EDITOR=editor)
    assert (ran.code, hive.approvals.calls) == (code, [])
    assert why in ran.out + ran.err
    if "edited text" in ran.err:
        kept(ran.err).unlink()


async def test_what_was_deployed_meanwhile_is_not_replaced(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.approvals.deployed = "c" * 40
    ran = await hivectl("edit", "alice", "--yes", EDITOR=TO_B)
    assert (ran.code, hive.approvals.calls) == (Exit.CONFLICT, [])
    assert "has cccccccccccc deployed now, and you edited bbbbbbbbbbbb" in ran.err
    kept(ran.err).unlink()


async def test_without_a_terminal_edit_needs_yes(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("edit", "alice", EDITOR=TO_B)
    assert (ran.code, hive.approvals.calls) == (Exit.USAGE, [])


async def test_a_deploy_that_fails_is_told(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.result = (JobResult.FAILED, "no jq:\nlast line")
    ran = await hivectl("edit", "alice", "--yes", EDITOR=TO_B)
    assert (ran.code, "no jq" in ran.err) == (Exit.FAILED, True)
    kept(ran.err).unlink()
