"""The commands about the tokens of assistants: assistant create, list, revoke."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivectl.command_table import Group
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.formats import iso_time, local_time
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output, confirm
from hivectl.output.text import literal
from wire.credentials import ASSISTANT_DIRECTORY, AssistantRight

if TYPE_CHECKING:
    from hivectl.host.assistants import Assistants
    from hivectl.output.terminal import Row


@click.group(cls=Group)
def assistant() -> None:
    """Give assistants of yours access to the hive, over MCP.

    An assistant is a program with a model outside of the hive. With a token it reads the hive as
    you do, and acts in your name as far as the token allows. Only root can run these commands.
    """


_name = click.argument("name")


@assistant.command("create")
@_name
@click.option(
    "--allow",
    "rights",
    type=click.Choice([right.value for right in AssistantRight]),
    multiple=True,
    help="Let it act in your name: send messages, answer questions, or approve and deny requests. "
    "Can be repeated. Without it, the assistant only reads.",
)
@output_options
def create_assistant(name: str, rights: tuple[str, ...]) -> None:
    """Make a token for the assistant NAME, and print it.

    The token is printed once; only its hash is stored. The endpoint listens as long as there is a
    token.
    """
    from hivectl.host import assistants as host

    made = _assistants().create(name, map(AssistantRight, rights))
    listens = host.apply(any_left=True)
    url = host.address()
    output = Output()
    output.show(
        {"name": name, "token": made.token, "rights": sorted(set(rights)), "url": url},
        [
            output.paint(made.token, ""),
            f"{name} may read{''.join(f', {right}' for right in sorted(set(rights)))}.",
            f"The endpoint: {url or host.SOCKET}, with the header `Authorization: Bearer TOKEN`.",
        ],
    )
    _warn(output, listens)


@assistant.command("list")
@output_options
def list_assistants() -> None:
    """List the assistants that have a token, and their rights."""
    _need_root()
    stored = _assistants().stored()
    rows: list[Row] = [
        [
            literal(one.name),
            ", ".join(("read", *map(literal, one.rights))) if one.valid else "damaged",
            local_time(one.created) if one.created else "-",
        ]
        for one in stored
    ]
    output = Output()
    lines = output.table(["NAME", "MAY", "CREATED"], rows)
    output.show(
        [
            {
                "name": one.name,
                "rights": list(one.rights),
                "created": iso_time(one.created),
                "valid": one.valid,
            }
            for one in stored
        ],
        lines or ["no tokens yet; `hivectl assistant create` makes one"],
    )


@assistant.command("revoke")
@_name
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@output_options
def revoke_assistant(name: str, yes: bool) -> None:
    """Revoke the token of the assistant NAME, at once."""
    from hivectl.host import assistants as host

    _need_root()
    if not yes and name in [one.name for one in _assistants().stored()]:
        confirm(f"Revoke the token of {name}?", "assistant revoke")
    any_left = _assistants().revoke(name)
    stopped = host.apply(any_left=any_left)
    output = Output()
    output.show({"name": name, "revoked": True}, [f"the token of {name} is revoked"])
    _warn(output, stopped)


def _warn(output: Output, applied: bool) -> None:
    if not applied:
        output.note(
            "systemd could not be asked to apply this. Run: systemctl stop hive-assistant.service; "
            "systemctl restart hive-assistant.socket"
        )


def _assistants() -> "Assistants":
    from hivectl.host.assistants import Assistants

    _need_root()
    return Assistants(Path(ASSISTANT_DIRECTORY))


def _need_root() -> None:
    if os.geteuid() != 0:
        raise CommandError(
            Exit.DENIED,
            "Only root can make and revoke the tokens of assistants. Run this command as root.",
        )


COMMANDS = [assistant]
