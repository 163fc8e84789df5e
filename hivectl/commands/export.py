"""The command that writes a turn to a file: export-turn."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from hivectl.arguments.completers import complete_agents, complete_turns
from hivectl.arguments.types import number
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive


@click.command("export-turn")
@click.argument("name", shell_complete=complete_agents)
@click.argument("turn", type=number(least=1), shell_complete=complete_turns)
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
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to FILE, which must not exist, readable only by you; or into a directory, with the "
    "name NAME-turn-TURN.jsonl or .html.",
)
@functools.partial(hive_command, formats=False)
async def export_turn(
    hive: "Hive", output: Output, name: str, turn: int, form: str | None, file: Path | None
) -> None:
    """Export the events of a turn.

    TURN is the number that `hivectl turns` shows. The first line of JSON is the turn, each other
    one an event. The page of HTML has no scripts and loads nothing, so it is safe to open. Without
    -o, the export goes to standard output. The agent must run: its harness has the events.
    """
    from wire.turn_export import Form

    if output.as_json and file is None:
        raise CommandError(Exit.USAGE, "With --json, give the file to write: -o FILE.")
    await hive.agents.get(name)
    is_page = form == "html" or (form is None and file is not None and file.suffix == ".html")
    chosen = Form.HTML if is_page else Form.JSONL
    export = hive.export(name, turn, chosen)
    if file is None:
        async for piece in export.pieces():
            output.show_next(None, piece.removesuffix("\n").split("\n") if piece else [])
    else:
        with _made(file, export.file_name) as made:
            async for piece in export.pieces():
                made.write(piece)
        output.show(
            {"file": made.name, "events": export.events, "left_out": export.left_out or None},
            [output.paint(f"{export.events} events written to {made.name}", "")],
        )
    if export.left_out:
        output.note(export.left_out)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


@contextmanager
def _made(file: Path, name: str) -> Iterator[TextIO]:
    """Make `file`, or a file with this name in it, readable only by its owner.

    When the block fails, there is no file.

    Raises:
        CommandError: there is such a file, or it cannot be written.
    """
    if file.is_dir():
        file /= name
    try:
        with open(file.absolute(), "x", encoding="utf-8", opener=_private) as made:
            try:
                yield made
            except BaseException:
                file.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise CommandError(
            Exit.CONFLICT, f"{file} already exists, and is not overwritten. Give another FILE."
        ) from None
    except OSError as error:
        raise CommandError(
            Exit.FAILED, f"{file} cannot be written: {error.strerror}. Give another FILE."
        ) from error


COMMANDS = [export_turn]
