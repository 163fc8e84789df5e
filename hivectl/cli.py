"""The command `hivectl` and how its failures are told."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from hivectl.commands import (
    agents,
    approvals,
    completion,
    containers,
    dashboard,
    dead_letters,
    deployments,
    history,
    login,
    logs,
    maintenance,
    messages,
    questions,
    reminders,
    threads,
)
from hivectl.exit_codes import BY_ERROR, CommandError, Exit, ReaderLeftError, help_text
from hivectl.output.text import safe

_EPILOG = f"\b\nExit codes:\n{help_text()}"


class _Main(click.Group):
    """Lists commands in the order in which they were added, which is by topic."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Main, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hyperhive")
def cli() -> None:
    """Watch and steer a hive of agents."""


_ROOMS = (
    *(agents, containers, messages, questions, reminders, threads, history),
    *(dead_letters, approvals, dashboard, deployments, login, logs, maintenance, completion),
)
for _room in _ROOMS:
    for _command in _room.COMMANDS:
        cli.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code, after one sentence on stderr if it is not 0.

    Raises KeyboardInterrupt when it comes before click is there to catch it.
    """
    for stream in (sys.stdout, sys.stderr):
        # A locale without unicode must not turn somebody's message into our failure.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        result: Any = cli.main(list(arguments), prog_name="hivectl", standalone_mode=False)
    except click.Abort:
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except CommandError as failure:
        return _fail(failure.code, str(failure), failure.details)
    except ReaderLeftError:
        return Exit.READER_LEFT
    except Exception as error:
        return _explain(error)
    return result if isinstance(result, int) else Exit.OK


def _explain(error: Exception) -> int:
    from wire.errors import HiveError

    if isinstance(error, HiveError):
        code = BY_ERROR.get(error.name.rpartition(".")[2], Exit.FAILED)
        sentence = str(error)
        if "was not provided by any .service files" in sentence:
            sentence = "The hive is not installed on this bus, or not running: " + sentence
        elif sentence.startswith("Rejected send message"):
            # The bus's own refusal, which lists pids and rules.
            sentence = "You are not an operator of this hive: be root or a member of group hive."
        elif silent := re.match(r"org\.hyperhive\.([A-Z][a-z]+)1 did not answer ", sentence):
            sentence += f" `systemctl status hive-{silent[1].lower()}` may say why."
        return _fail(code, sentence)
    return _fail(Exit.FAILED, f"{type(error).__name__}: {error}")


def _fail(code: Exit, sentence: str, details: str = "") -> int:
    print(f"hivectl: {safe(sentence)}", file=sys.stderr)
    for line in details.split("\n") if details else []:
        print(f"  {safe(line.expandtabs())}", file=sys.stderr)
    return code
