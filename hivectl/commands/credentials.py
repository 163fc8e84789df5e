"""The commands about the credentials of the gateway: credentials set, list, remove."""

import os
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.command_table import Group
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.formats import iso_time, local_time
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output, confirm
from hivectl.output.text import literal

if TYPE_CHECKING:
    from hivectl.host.credentials import Place, Places, Stored


@click.group(cls=Group)
def credentials() -> None:
    """Store the API keys and tokens that the gateways use.

    No container ever holds one: the gateway of an agent puts it into the requests that leave. The
    gateway uses the credential of the agent, or else the one of all agents. Only root can run
    these commands.
    """


_name = click.argument("name", required=False, shell_complete=complete_agents)
_forge = click.option(
    "--forge", is_flag=True, help="Use the token of the agent's account in the forge."
)


@credentials.command("set")
@_name
@_forge
@click.option("--plain", is_flag=True, help="Do not encrypt: store it readable, for root alone.")
@output_options
def set_credential(name: str | None, forge: bool, plain: bool) -> None:
    """Store the credential of the agent NAME, or that of all agents.

    You type the secret at the prompt, or pass it on standard input; it is never an argument, which
    every user of the host could read. It is an API key, or a token that `claude setup-token`
    prints. With --forge, it is the token of the account that NAME has in the forge. systemd-creds
    encrypts the secret for this host, if the host has that program.

    The gateways that hold the former credential are stopped; the next request uses the new one.
    """
    from hivectl.host import credentials as files

    place = _place(name, forge)
    secret = files.read_secret(place.words)
    program = None if plain else files.encrypter()
    file = files.store(place, secret, program)
    output = Output()
    output.show(
        {"agent": name, "forge": forge, "file": str(file), "encrypted": program is not None},
        [f"{place.words} is stored in {file}{'' if program else ', unencrypted'}"],
    )
    _apply(name, output)


@credentials.command("list")
@output_options
def list_credentials() -> None:
    """List the stored credentials, without their values.

    The list marks those that this host cannot decrypt.
    """
    from hivectl.host import credentials as files
    from hivectl.output.terminal import Row

    _need_root()
    stored = places().stored()
    program = files.encrypter()
    bad = {one.file for one in stored if not files.can_decrypt(one, program)}
    rows: list[Row] = [
        [
            _owner(one),
            "yes" if one.encrypted else "no",
            local_time(one.changed),
            literal(f"{one.file}{_remark(one, one.file in bad)}"),
        ]
        for one in stored
    ]
    output = Output()
    lines = output.table(["FOR", "ENCRYPTED", "CHANGED", "FILE"], rows)
    output.show(
        [
            {
                "agent": one.agent,
                "forge": _is_of_forge(one),
                "encrypted": one.encrypted,
                "changed": iso_time(one.changed),
                "file": str(one.file),
                "used": one.used,
                "valid": one.file not in bad,
            }
            for one in stored
        ],
        lines or ["no credentials yet; `hivectl credentials set` stores one"],
    )


def _owner(stored: "Stored") -> str:
    name = literal(stored.agent or "all agents")
    return f"{name} (forge)" if _is_of_forge(stored) else name


def _is_of_forge(stored: "Stored") -> bool:
    from hivectl.host.credentials import Purpose

    return stored.purpose is Purpose.FORGE


def _remark(stored: "Stored", bad: bool) -> str:
    if bad:
        return " (this host cannot decrypt it, so its gateways do not start: store it again)"
    return "" if stored.used else " (not used)"


@credentials.command("remove")
@_name
@_forge
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@output_options
def remove_credential(name: str | None, forge: bool, yes: bool) -> None:
    """Delete the credential of the agent NAME, or that of all agents.

    With --forge, the token of the account that NAME has in the forge is deleted.
    """
    from hivectl.host import credentials as files

    place = _place(name, forge)
    if not yes and place.files:
        confirm(f"Delete {place.words}?", "credentials remove")
    gone = [str(file) for file in files.remove(place)]
    output = Output()
    output.show(
        {"agent": name, "forge": forge, "removed": gone}, [f"deleted {file}" for file in gone]
    )
    _apply(name, output)


def _apply(name: str | None, output: Output) -> None:
    """Have the next request use the stored credential."""
    from hivectl.host.credentials import stop_gateways

    if not stop_gateways(name):
        output.note(
            "systemd could not be asked to stop the gateways that run. Run: systemctl stop "
            f"'hive-gateway@{name or '*'}.service'"
        )


def _place(name: str | None, forge: bool) -> "Place":
    from wire.names import check_agent_name

    _need_root()
    if name is not None:
        check_agent_name(name)
    if not forge:
        return places().of(name)
    if name is None:
        raise CommandError(
            Exit.USAGE, "Each agent has a token of its own in the forge: name the agent."
        )
    return places().of_forge(name)


def places() -> "Places":
    """Return where the credentials of this host lie."""
    from hivectl.host.credentials import Places

    return Places.of_host()


def _need_root() -> None:
    if os.geteuid() != 0:
        raise CommandError(
            Exit.DENIED, "Only root can read and change credentials. Run this command as root."
        )


COMMANDS = [credentials]
