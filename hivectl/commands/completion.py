"""The command that prints a shell's completion script: completion."""

import click
from click.shell_completion import get_completion_class

from hivectl.exit_codes import CommandError, Exit


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    `make install` installs the scripts. To load one into a running bash:
      source <(hivectl completion bash)
    """
    chosen = get_completion_class(shell)
    if chosen is None:
        raise CommandError(Exit.FAILED, f"There is no completion for {shell}.")
    root = context.find_root().command
    click.echo(chosen(root, {}, "hivectl", "_HIVECTL_COMPLETE").source())


COMMANDS = [completion]
