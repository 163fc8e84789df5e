"""Commands about the deployed configuration of an agent: cat, edit."""

import functools
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hivectl.arguments.completers import complete_agents
from hivectl.commands.approvals import DEPLOY_SECONDS
from hivectl.exit_codes import CommandError, Exit
from hivectl.jobs import follow, job_options
from hivectl.output.terminal import Output, confirm, require_terminal
from hivectl.output.text import literal
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.approvals import Change, ConfigFile

AGENT_FILE: Final = "agent.toml"
EDITORS: Final = ("VISUAL", "EDITOR")
DEFAULT_EDITOR: Final = "vi"

_agent = click.argument("name", shell_complete=complete_agents)
_file = click.argument("file", default=AGENT_FILE)


@click.command()
@_agent
@_file
@hive_command
async def cat(hive: "Hive", output: Output, name: str, file: str) -> None:
    """Print a file of the deployed configuration of an agent.

    FILE is agent.toml unless you name another. On a terminal, hidden and misleading characters are
    spelled out.
    """
    found = await hive.approvals.get_file(name, file)
    # A program that reads it gets the text as it is.
    text = found.text if output.columns is None else literal(found.text, multiline=True)
    output.show(
        {"agent": name, "path": file, **found._asdict()},
        text.removesuffix("\n").split("\n") if text else [],
    )


@click.command()
@_agent
@_file
@click.option(
    "-m",
    "--message",
    metavar="TEXT",
    default="",
    help="The reason, which `deploy-log` shows.  [default: Edit FILE]",
)
@click.option("--now", is_flag=True, help="Deploy without waiting for the end of the agent's turn.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@functools.partial(job_options, default=DEPLOY_SECONDS)
@hive_command
async def edit(
    hive: "Hive",
    output: Output,
    name: str,
    file: str,
    message: str,
    now: bool,
    yes: bool,
    no_wait: bool,
    timeout: float,
) -> None:
    """Edit the configuration of an agent, and deploy the change.

    Opens FILE, which is agent.toml unless you name another, in $VISUAL, $EDITOR or vi. When the
    editor ends, hivectl checks the file, shows the change, and asks before it deploys the change.
    If something else was deployed meanwhile, nothing is done, and the edited text is kept.
    """
    found = await hive.approvals.get_file(name, file)
    if not yes:
        require_terminal("edit")
    with tempfile.TemporaryDirectory(prefix="hivectl-edit-") as folder:
        place = Path(folder) / Path(file).name
        place.write_text(found.text)
        try:
            text, change = await _edited(hive, output, name, file, place, found, yes=yes)
            if change is None:
                output.show({"agent": name, "path": file, "changed": False}, ["no changes"])
                return
            output.explain_diff(change.diff, always=not yes)
            if not yes:
                confirm(f"Deploy this change of {file} to {name}?", "edit")
            await _deploy(
                *(hive, output, name, file, text, change.base, message),
                now=now,
                no_wait=no_wait,
                timeout=timeout,
            )
        except BaseException:
            _keep(place, found.text, output)
            raise


async def _edited(
    hive: "Hive",
    output: Output,
    name: str,
    file: str,
    place: Path,
    found: "ConfigFile",
    *,
    yes: bool,
) -> "tuple[str, Change | None]":
    """Run the editor until the text is valid; return it and its change, None without one.

    Raises:
        CommandError: the editor failed, or the operator gives up.
        HiveError: another configuration was deployed meanwhile, for example.
    """
    from wire.errors import Conflict, InvalidArgument, LimitExceeded

    while True:
        written = _from_editor(place)
        try:
            text = written.decode()
            if text == found.text:
                return text, None
            change = await hive.approvals.compare_file(name, file, text)
        except (InvalidArgument, LimitExceeded, UnicodeDecodeError) as error:
            if yes:
                raise CommandError(Exit.USAGE, f"{file} cannot be deployed: {error}") from error
            output.explain([str(error)], always=True)
            confirm("Edit it again?", "edit")
            continue
        if change.base != found.commit:
            raise Conflict(
                f"{name} has {change.base[:12]} deployed now, and you edited {found.commit[:12]}: "
                f"nothing was done. Run `hivectl edit {name}` again."
            )
        return text, change


async def _deploy(
    hive: "Hive",
    output: Output,
    name: str,
    file: str,
    text: str,
    base: str,
    message: str,
    *,
    now: bool,
    no_wait: bool,
    timeout: float,
) -> None:
    from wire.records.approvals import NO_JOB, ConfigureOptions

    options = ConfigureOptions(reason=message, now=now)

    async def start() -> str:
        done = await hive.approvals.configure(name, file, text, base, options)
        if done.job == NO_JOB:
            raise CommandError(
                Exit.UNAVAILABLE,
                f"Request {done.request} is approved, but not deployed yet: {name} has another "
                "job, or hive-lifecycle does not answer. The change is deployed afterwards; "
                "`hivectl pending --all` shows its state.",
            )
        return done.job

    waits = "" if now else " after the agent's turn"
    await follow(
        *(hive, output, start, f"deploying {file} to {name}{waits}"),
        no_wait=no_wait,
        timeout=timeout,
    )


def _from_editor(place: Path) -> bytes:
    """Have the operator edit a file; return its content.

    Raises:
        CommandError: the editor cannot be run, or failed.
    """
    wanted = next((os.environ[key] for key in EDITORS if os.environ.get(key)), DEFAULT_EDITOR)
    try:
        ended = subprocess.run([*shlex.split(wanted), str(place)], check=False)
    except (OSError, ValueError) as error:
        raise CommandError(
            Exit.USAGE, f"The editor {wanted!r} cannot be run: {error}. Set $EDITOR."
        ) from error
    if ended.returncode:
        raise CommandError(
            Exit.FAILED, f"The editor {wanted!r} ended with status {ended.returncode}."
        )
    return place.read_bytes()


def _keep(place: Path, before: str, output: Output) -> None:
    """Keep an edited text that was not deployed, and say where."""
    if not place.exists() or place.read_bytes() == before.encode():
        return
    handle, kept = tempfile.mkstemp(prefix="hivectl-", suffix=f"-{place.name}")
    with os.fdopen(handle, "wb") as file:
        file.write(place.read_bytes())
    output.explain([f"The edited text is in {kept}."], always=True)


COMMANDS = [cat, edit]
