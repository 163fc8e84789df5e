"""The command `hivectl`, and how it reports failures."""

import re
import sys
from collections.abc import Sequence

import click

from hivectl.commands import (
    agents,
    approvals,
    assistant,
    budgets,
    chat,
    completion,
    configurations,
    containers,
    credentials,
    dashboard,
    dead_letters,
    deployments,
    egress,
    export,
    forward,
    history,
    holds,
    import_nixos,
    login,
    logs,
    maintenance,
    messages,
    project,
    questions,
    reminders,
    steering,
    threads,
    turns,
    watch,
)
from hivectl.exit_codes import BY_ERROR, CommandError, Exit, ReaderLeftError, help_text
from hivectl.output.text import safe

SECTIONS: dict[str, list[click.Command]] = {
    "Agents": [
        *agents.COMMANDS,
        *containers.COMMANDS,
        *logs.COMMANDS,
        *login.COMMANDS,
        *forward.COMMANDS,
    ],
    "Turns": [
        *watch.COMMANDS,
        *chat.COMMANDS,
        *turns.COMMANDS,
        *export.COMMANDS,
        *steering.COMMANDS,
        *holds.COMMANDS,
    ],
    "Costs and budgets": [turns.cost, *budgets.COMMANDS],
    "Messages": [*messages.COMMANDS, *threads.COMMANDS, *history.COMMANDS, *dead_letters.COMMANDS],
    "Questions and reminders": [*questions.COMMANDS, *reminders.COMMANDS],
    "Approvals and deployments": [
        *approvals.COMMANDS,
        *deployments.COMMANDS,
        *configurations.COMMANDS,
        *egress.COMMANDS,
    ],
    "Projects": [*project.COMMANDS],
    "The hive": [
        *credentials.COMMANDS,
        *dashboard.COMMANDS,
        *assistant.COMMANDS,
        *maintenance.COMMANDS,
        *import_nixos.COMMANDS,
        *completion.COMMANDS,
    ],
}
"""The commands by topic, in the order in which the help lists them."""


class _Main(click.Group):
    """A group whose help lists the commands by topic."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(f"{c.name:<{width}}", c.get_short_help_str(limit=60)) for c in commands]
                )


@click.group(
    cls=_Main,
    epilog=f"\b\nExit codes:\n{help_text()}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="hyperhive")
def cli() -> None:
    """Watch and control a hive of agents.

    Run it as root or as a member of the group hive. `hivectl COMMAND --help` describes a command.
    """


for _commands in SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        The exit code. If it is not 0, one sentence on stderr says why.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed before click handles it.
    """
    for stream in (sys.stdout, sys.stderr):
        # A message with characters that the locale cannot encode must not fail the command.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        result: object = cli.main(list(arguments), prog_name="hivectl", standalone_mode=False)
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
            sentence = (
                "You are not an operator of this hive. Run hivectl as root or as a member of the "
                "group hive."
            )
        elif silent := re.match(r"org\.hyperhive\.([A-Z][a-z]+)1 did not answer ", sentence):
            sentence += f" `systemctl status hive-{silent[1].lower()}` may show why."
        return _fail(code, sentence)
    return _fail(Exit.FAILED, f"{type(error).__name__}: {error}")


def _fail(code: Exit, sentence: str, details: str = "") -> int:
    print(f"hivectl: {safe(sentence)}", file=sys.stderr)
    for line in details.split("\n") if details else []:
        print(f"  {safe(line.expandtabs())}", file=sys.stderr)
    return code
