"""The commands about the credentials of the gateway: credentials set, list, remove."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.formats import iso_time, local_time
from hivectl.output.terminal import Output, confirm
from hivectl.output.text import literal
from hivectl.session import json_option

if TYPE_CHECKING:
    from hivectl.host.credentials import Place, Places, Stored


@click.group()
def credentials() -> None:
    """Store the API keys and tokens that the gateway uses.

    No container ever holds one: the gateway of an agent puts it into the requests that leave. The
    gateway uses the credential of the agent, or else the one of all agents. Only root can run
    these commands.
    """


_name = click.argument("name", required=False, shell_complete=complete_agents)


@credentials.command("set")
@_name
@click.option("--plain", is_flag=True, help="Do not encrypt: store it readable, for root alone.")
@json_option
def set_credential(name: str | None, plain: bool, as_json: bool) -> None:
    """Store the credential of the agent NAME, or that of all agents.

    You type the secret at the prompt, or pass it on standard input; it is never an argument, which
    every user of the host could read. It is an API key, or a token that `claude setup-token`
    prints. systemd-creds encrypts it for this host, if the host has that program.

    The gateways that hold the former credential are stopped; the next request uses the new one.
    """
    from hivectl.host import credentials as files

    place = _place(name)
    secret = files.read_secret(place.words)
    program = None if plain else files.encrypter()
    file = files.store(place, secret, program)
    output = Output(as_json=as_json)
    output.show(
        {"agent": name, "file": str(file), "encrypted": program is not None},
        [f"{place.words} is stored in {file}{'' if program else ', unencrypted'}"],
    )
    _apply(name, output)


@credentials.command("list")
@json_option
def list_credentials(as_json: bool) -> None:
    """List the stored credentials, without their values.

    The list marks those that this host cannot decrypt.
    """
    from hivectl.host import credentials as files
    from hivectl.output.terminal import Row

    _need_root()
    stored = _places().stored()
    program = files.encrypter()
    bad = {one.file for one in stored if not files.can_decrypt(one, program)}
    rows: list[Row] = [
        [
            literal(one.agent or "all agents"),
            "yes" if one.encrypted else "no",
            local_time(one.changed),
            literal(f"{one.file}{_remark(one, one.file in bad)}"),
        ]
        for one in stored
    ]
    output = Output(as_json=as_json)
    lines = output.table(["FOR", "ENCRYPTED", "CHANGED", "FILE"], rows)
    output.show(
        [
            {
                "agent": one.agent,
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


def _remark(stored: "Stored", bad: bool) -> str:
    if bad:
        return " (this host cannot decrypt it, so its gateways do not start: store it again)"
    return "" if stored.used else " (not used)"


@credentials.command("remove")
@_name
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def remove_credential(name: str | None, yes: bool, as_json: bool) -> None:
    """Delete the credential of the agent NAME, or that of all agents."""
    from hivectl.host import credentials as files

    place = _place(name)
    if not yes and place.files:
        confirm(f"Delete {place.words}?", "credentials remove")
    gone = [str(file) for file in files.remove(place)]
    output = Output(as_json=as_json)
    output.show({"agent": name, "removed": gone}, [f"deleted {file}" for file in gone])
    _apply(name, output)


def _apply(name: str | None, output: Output) -> None:
    """Have the next request use the stored credential."""
    from hivectl.host.credentials import stop_gateways

    if not stop_gateways(name):
        output.note(
            "systemd could not be asked to stop the gateways that run. Run: systemctl stop "
            f"'hive-gateway@{name or '*'}.service'"
        )


def _place(name: str | None) -> "Place":
    from wire.names import check_agent_name

    _need_root()
    if name is not None:
        check_agent_name(name)
    return _places().of(name)


def _places() -> "Places":
    from hivectl.host.credentials import Places
    from wire.credentials import GATEWAY_DIRECTORY, KEY_FILE

    return Places(Path(GATEWAY_DIRECTORY), Path(KEY_FILE))


def _need_root() -> None:
    if os.geteuid() != 0:
        raise CommandError(
            Exit.DENIED, "Only root can read and change credentials. Run this command as root."
        )


COMMANDS = [credentials]
