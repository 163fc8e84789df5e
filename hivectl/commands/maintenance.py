"""Commands that keep the store: backup, restore, vacuum."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivectl.exit_codes import BY_ERROR, CommandError, Exit
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@hive_command
async def backup(hive: "Hive", output: Output, file: Path | None) -> None:
    """Copy all that was said, while the hive runs.

    Without FILE the copy stays in the broker's directory. With FILE, which root alone may give
    and which must not exist, it is moved there, readable by root only.
    """
    from hivectl.host import backups

    if file is not None:
        _need_root("To write the copy to a file of your own")
        backups.check_free(file)
    path = Path(await hive.broker.backup(backups.new_name()))
    if file is not None:
        path = backups.move(path, file)
    output.show({"file": str(path)}, [output.paint(f"the copy is {path}", "")])


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def restore(file: Path, as_json: bool) -> None:
    """Put a backup in the place of what the broker has.

    The broker must be stopped: `systemctl stop hive.target` comes first, `systemctl start
    hive.target` last. What it had is kept beside the new store.
    """
    import subprocess
    import sys

    _need_root("To put a backup in its place")
    # Isolated: root must not import what lies in the directory it happens to be in.
    tool = [sys.executable, "-I", "-m", "services.broker.restore", str(file.absolute())]
    done = subprocess.run(tool, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        said = done.stderr.strip() or f"The tool exited with {done.returncode}."
        code = Exit(done.returncode) if done.returncode in BY_ERROR.values() else Exit.FAILED
        raise CommandError(code, said)
    output = Output(as_json=as_json)
    output.show({"restored": str(file.absolute())}, output.plain(done.stdout.strip()))


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise CommandError(Exit.DENIED, f"{what} you must be root.")


@click.command()
@hive_command
async def vacuum(hive: "Hive", output: Output) -> None:
    """Delete what is done and old.

    That is older than `broker.keep_days`. A timer does it every hour anyway.
    """
    deleted = await hive.broker.vacuum()
    what = "1 record was" if deleted == 1 else f"{deleted} records were"
    output.show({"deleted": deleted}, [f"{what} deleted"])


COMMANDS = [backup, restore, vacuum]
