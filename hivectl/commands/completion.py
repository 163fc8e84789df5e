"""The command that prints a shell's completion script: completion."""

import click
from click.shell_completion import get_completion_class

from hivectl.exit_codes import CommandError, Exit

NO_SPACE = (
    "            COMPREPLY+=($value)\n",
    "            COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace\n",
)
"""A line of click's script for bash, and its replacement: a value follows `memory_max=` at once."""
NO_FILES = ("    local response\n", "    local response -\n    set -o noglob\n")
"""The same: the rule `[2001:db8::1]:443` would match a file of the working directory."""


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
    source = chosen(root, {}, "hivectl", "_HIVECTL_COMPLETE").source()
    if shell == "bash":
        source = source.replace(*NO_SPACE).replace(*NO_FILES)
    click.echo(source)


COMMANDS = [completion]
