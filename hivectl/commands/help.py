"""The command that describes a command: help."""

import click
from click.shell_completion import CompletionItem

from hivectl import command_table
from hivectl.arguments.hints import hint
from hivectl.exit_codes import CommandError, Exit


def _commands(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(name) for name in command_table.names() if name.startswith(incomplete)]


@click.command()
@click.argument("command", required=False, shell_complete=_commands)
@click.pass_context
def help(context: click.Context, command: str | None) -> None:
    """Describe hivectl, or one command.

    `hivectl COMMAND --help` prints the same.
    """
    root = context.find_root()
    if command is None:
        click.echo(root.get_help())
        return
    found = command_table.find(command)
    if found is None:
        meant = hint(command, command_table.names())
        raise CommandError(Exit.USAGE, f"There is no command {command!r}.{meant}")
    click.echo(found.get_help(click.Context(found, parent=root, info_name=found.name)))


COMMANDS = [help]
