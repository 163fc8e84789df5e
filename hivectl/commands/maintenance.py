"""Commands about the message store: backup, restore, vacuum."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivectl.exit_codes import BY_ERROR, CommandError, Exit
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive


MAINTENANCE_SECONDS = 600.0
"""The seconds that a backup or a vacuum of a large store may take."""


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@hive_command
async def backup(hive: "Hive", output: Output, file: Path | None) -> None:
    """Back up the broker's store while the hive runs.

    The store holds messages, questions and reminders. Without FILE, the backup is made in
    /var/lib/hyperhive/broker/backups. With FILE, which must not exist, the backup is moved to
    FILE, readable only by root. Only root can give FILE.
    """
    from hivectl.host import backups

    if file is not None:
        _need_root("Only root can write the backup to a file")
        backups.check_free(file)
    path = Path(await hive.broker.within(MAINTENANCE_SECONDS).backup(backups.new_name()))
    if file is not None:
        path = backups.move(path, file)
    output.show({"file": str(path)}, [output.paint(f"backed up to {path}", "")])


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@output_options
def restore(file: Path) -> None:
    """Replace the broker's store with a backup.

    Stop the broker first (`systemctl stop hive-broker`), and start it afterwards (`systemctl start
    hive-broker`). The replaced store is kept beside the new one. Only root can do this.
    """
    import subprocess
    import sys

    _need_root("Only root can restore a backup")
    # Isolated (-I): root must not import modules from its working directory.
    tool = [sys.executable, "-I", "-m", "services.broker.restore", str(file.absolute())]
    done = subprocess.run(tool, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        said = (
            done.stderr.strip()
            or f"The restore exited with status {done.returncode} and no message."
        )
        code = Exit(done.returncode) if done.returncode in BY_ERROR.values() else Exit.FAILED
        raise CommandError(code, said)
    output = Output()
    output.show({"restored": str(file.absolute())}, output.plain(done.stdout.strip()))


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise CommandError(Exit.DENIED, f"{what}. Run this command as root.")


@click.command()
@hive_command
async def vacuum(hive: "Hive", output: Output) -> None:
    """Delete completed records that are old.

    Deletes messages, questions and reminders that were completed more than `broker.keep_days`
    days ago, and turns, requests to the model, hosts and limits of providers that are older than
    `ledger.keep_days`. A timer does the same every hour.
    """
    broker = await hive.broker.within(MAINTENANCE_SECONDS).vacuum()
    ledger = await hive.ledger.within(MAINTENANCE_SECONDS).vacuum()
    what = "1 record" if broker == 1 else f"{broker} records"
    # The key is older than the other records of the ledger, and keys are never renamed.
    output.show(
        {"deleted": broker, "turns": ledger},
        [f"deleted {what} of the broker and {ledger} of the ledger"],
    )


COMMANDS = [backup, restore, vacuum]
