"""The command that writes a turn to a file: export-turn."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import number
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive


@click.command("export-turn")
@click.argument("name", shell_complete=complete_agents)
@click.argument("turn", type=number(least=1))
@click.option("--jsonl", "form", flag_value="jsonl", help="Write lines of JSON.  [default]")
@click.option(
    "--html",
    "form",
    flag_value="html",
    help="Write a page that needs nothing else; the default if FILE ends with .html.",
)
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE, which must not exist, readable only by you.",
)
@hive_command
async def export_turn(
    hive: "Hive", output: Output, name: str, turn: int, form: str | None, file: Path | None
) -> None:
    """Export the events of a turn.

    TURN is the number that `hivectl turns` shows. The first line of JSON is the turn, each other
    one an event. The page has no scripts and loads nothing, so it is safe to open. Without -o, the
    export goes to standard output. The agent must run: its harness has the events.
    """
    from hivectl.clients.agent_events import MOST
    from wire.turn_export import html_page, json_lines

    if output.as_json and file is None:
        raise CommandError(Exit.USAGE, "With --json, give the file to write: -o FILE.")
    await hive.agents.get(name)
    events = hive.events(name)
    figures, found = await events.turn(turn), await events.newest(MOST, turn)
    if not found:
        raise CommandError(Exit.NOT_FOUND, "No events of this turn are kept.")
    if form == "html" or (form is None and file is not None and file.suffix == ".html"):
        parts: Iterable[str] = [html_page(name, figures, found), "\n"]
    else:
        parts = json_lines(name, figures, found)
    if len(found) >= MOST:
        output.note(f"The turn has more events: only the newest {MOST} are in the export.")
    if file is None:
        output.show(None, "".join(parts).splitlines())
        return
    path = _write(file, parts)
    output.show(
        {"file": str(path), "events": len(found)},
        [output.paint(f"{len(found)} events written to {file}", "")],
    )


def _write(file: Path, parts: Iterable[str]) -> Path:
    """Make `file` with the text, readable only by its owner; return its absolute path.

    Raises:
        CommandError: there is such a file, or it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as made:
            made.writelines(parts)
        return file.absolute()
    except FileExistsError:
        raise CommandError(
            Exit.CONFLICT, f"{file} already exists, and is not overwritten. Give another FILE."
        ) from None
    except OSError as error:
        raise CommandError(
            Exit.FAILED, f"{file} cannot be written: {error.strerror}. Give another FILE."
        ) from error


COMMANDS = [export_turn]
