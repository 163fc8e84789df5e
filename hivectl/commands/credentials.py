"""The commands about the credentials of gateways and projects: credentials set, list, remove."""

import os
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from hivectl.arguments.completers import complete_agents, complete_projects
from hivectl.command_table import Group
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.formats import iso_time, local_time
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output, confirm
from hivectl.output.text import literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from hivectl.host.credentials import Place, Places, Stored


@click.group(cls=Group)
def credentials() -> None:
    """Store the API keys and tokens that the hive uses.

    No container gets a credential: the gateway of an agent adds the credential to each request. The
    gateway uses the credential of the agent, or else the one of all agents. The credentials of
    projects are for hive-projects alone. Only root can run these commands.
    """


def _complete(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer projects with the options of projects, else agents."""
    of_projects = context.params.get("project") or context.params.get("webhook")
    return (complete_projects if of_projects else complete_agents)(context, parameter, incomplete)


_name = click.argument("name", required=False, shell_complete=_complete)


def _purposes(command: "Callable[..., None]") -> "Callable[..., None]":
    """Add the options for credentials that are not for the model."""
    for option, text in (
        ("--webhook", "Use the secret of the webhook of the project NAME."),
        ("--project", "Use the deploy key or token NAME, for upstreams of projects."),
        ("--forge", "Use the token of the agent's account in the forge."),
    ):
        command = click.option(option, is_flag=True, help=text)(command)
    return command


@credentials.command("set")
@_name
@_purposes
@click.option(
    "--github-app",
    metavar="ID",
    help="With --project: the secret is the private key of the GitHub App with this client id.",
)
@click.option("--plain", is_flag=True, help="Do not encrypt: store it readable, for root alone.")
@output_options
def set_credential(
    name: str | None,
    forge: bool,
    project: bool,
    webhook: bool,
    github_app: str | None,
    plain: bool,
) -> None:
    """Store the credential of the agent NAME, or that of all agents.

    You type the secret at the prompt, or pass it on standard input; it is never an argument, which
    every user of the host could read. It is an API key, or a token that `claude setup-token`
    prints. systemd-creds encrypts the secret for this host, if the host has that program.

    With --forge, it is the token of the account that NAME has in the forge. With --project, it is a
    token, or a private key of ssh without a passphrase, for `hivectl project add ... --credential
    NAME`. With --webhook, it is the secret of the webhook of the project NAME.

    The gateways that hold the former credential are stopped, and the next request uses the new
    one. hive-projects is restarted, and does the fetches again that this ends.
    """
    from hivectl.host import credentials as files
    from hivectl.host import secret_input

    place = _place(name, forge=forge, project=project, webhook=webhook)
    secret = secret_input.read(place, github_app)
    program = None if plain else files.encrypter()
    file = files.store(place, secret, program)
    output = Output()
    output.show(
        {**_owner_fields(place), "file": str(file), "encrypted": program is not None},
        [f"{place.words} is stored in {file}{'' if program else ', unencrypted'}"],
    )
    _apply(place, output)


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
                **_owner_fields(one),
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
    from hivectl.host.credentials import Purpose

    kinds = {Purpose.FORGE: "forge", Purpose.PROJECT: "project", Purpose.WEBHOOK: "webhook"}
    name = literal(stored.owner or "all agents")
    return f"{name} ({kinds[stored.purpose]})" if stored.purpose in kinds else name


def _owner_fields(one: "Place | Stored") -> dict[str, str | bool | None]:
    """Return the fields of the JSON form that say for what a credential is."""
    from hivectl.host.credentials import Purpose

    of_projects = one.purpose.is_of_projects
    return {
        "agent": None if of_projects else one.owner,
        "forge": one.purpose is Purpose.FORGE,
        "project": one.owner if of_projects else None,
        "webhook": one.purpose is Purpose.WEBHOOK,
    }


def _remark(stored: "Stored", bad: bool) -> str:
    if bad:
        return f" (this host cannot decrypt it, so {stops(stored)}: store it again)"
    return "" if stored.used else " (not used)"


def stops(stored: "Stored") -> str:
    """Return the consequence of a credential that cannot be decrypted, for a sentence."""
    if stored.purpose.is_of_projects:
        return "hive-projects does not start"
    return "its gateways do not start"


@credentials.command("remove")
@_name
@_purposes
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@output_options
def remove_credential(
    name: str | None, forge: bool, project: bool, webhook: bool, yes: bool
) -> None:
    """Delete the credential of the agent NAME, or that of all agents.

    With --forge, the token of the account that NAME has in the forge is deleted; with --project
    the credential NAME of projects, and with --webhook the secret of the webhook of the project
    NAME.
    """
    from hivectl.host import credentials as files

    place = _place(name, forge=forge, project=project, webhook=webhook)
    if not yes and place.files:
        confirm(f"Delete {place.words}?", "credentials remove")
    gone = [str(file) for file in files.remove(place)]
    output = Output()
    output.show({**_owner_fields(place), "removed": gone}, [f"deleted {file}" for file in gone])
    _apply(place, output)


def _apply(place: "Place", output: Output) -> None:
    """Have the units use the stored credential."""
    from hivectl.host.credentials import apply

    if command := apply(place):
        output.note(f"systemd could not be asked to use it. Run: {command}")


def _place(name: str | None, *, forge: bool, project: bool, webhook: bool) -> "Place":
    from wire.credentials import PROJECT_CREDENTIAL
    from wire.names import check_agent_name, check_project_name

    _need_root()
    if forge + project + webhook > 1:
        raise CommandError(Exit.USAGE, "Give one of --forge, --project and --webhook.")
    if name is None:
        if forge:
            raise CommandError(
                Exit.USAGE, "Each agent has a token of its own in the forge: name the agent."
            )
        if project or webhook:
            raise CommandError(Exit.USAGE, f"Name the {'project' if webhook else 'credential'}.")
        return places().of(None)
    if webhook:
        check_project_name(name)
        return places().of_webhook(name)
    if project:
        if not PROJECT_CREDENTIAL.fullmatch(name):
            raise CommandError(
                Exit.USAGE,
                f"{literal(name[:40])} is not a valid name of a credential: use at most 32 "
                "lower-case letters, digits and hyphens.",
            )
        return places().of_project(name)
    check_agent_name(name)
    return places().of_forge(name) if forge else places().of(name)


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
