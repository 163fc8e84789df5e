"""The command `hivectl`, and how it reports failures."""

import re
import sys
from collections.abc import Sequence

import click

from hivectl import command_table
from hivectl.arguments.hints import hint
from hivectl.exit_codes import BY_ERROR, CommandError, Exit, ReaderLeftError, help_text
from hivectl.output import streams
from hivectl.output.preferences import main_options
from hivectl.output.text import safe


@click.group(
    cls=command_table.Main,
    invoke_without_command=True,
    epilog=f"\b\nExit codes:\n{help_text()}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(None, "-V", "--version", package_name="hyperhive")
@main_options
@click.pass_context
def cli(context: click.Context) -> object:
    """Watch and control a hive of agents.

    Run it as root or as a member of the group hive. Without a command, it shows the state of the
    hive, as `hivectl status` does. `hivectl COMMAND --help` describes a command. The options below
    may also stand after the command.
    """
    if context.invoked_subcommand is not None:
        return None
    overview = command_table.find("status")
    return overview.main([], standalone_mode=False, parent=context) if overview else None


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        The exit code. If it is not 0, one sentence on stderr says why.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed before click handles it.
    """
    try:
        streams.prepare()
        result: object = cli.main(list(arguments), prog_name="hivectl", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return Exit.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return Exit.USAGE
    except click.ClickException as error:
        return _fail(Exit.USAGE, _sentence(error))
    except CommandError as failure:
        return _fail(failure.code, str(failure), failure.details)
    except ReaderLeftError:
        return Exit.READER_LEFT
    except Exception as error:
        return _explain(error)
    return result if isinstance(result, int) else Exit.OK


def _sentence(error: click.ClickException) -> str:
    """Return an error of the usage in the style of all errors, with the command that helps."""
    match error:
        case click.NoSuchOption():
            options = (error.possibilities or []) if error.ctx is None else _options(error.ctx)
            meant = hint(error.option_name, options)
            sentence = f"There is no option {error.option_name}.{meant}"
        case _:
            sentence = error.format_message().rstrip()
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return sentence
    end = "" if sentence.endswith((".", "?")) else "."
    does = "describes the command" if error.ctx.parent else "lists the commands"
    return f"{sentence}{end} `{error.ctx.command_path} --help` {does}."


def _options(context: click.Context) -> list[str]:
    """Return the options of a command."""
    return [name for parameter in context.command.get_params(context) for name in parameter.opts]


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
