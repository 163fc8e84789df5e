"""Commands about deployments: request-spawn, apply, revert, deploy-log."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents, complete_deployed
from hivectl.arguments.types import number
from hivectl.commands.messages import stdin_text
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.terminal import Cell, Output, Row
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive

MAX_CONFIG_BYTES = 64 * 1024

_agent = click.argument("name", shell_complete=complete_agents)
_why = click.option(
    "-m",
    "--message",
    metavar="TEXT",
    required=True,
    help="The reason, which `pending` and `deploy-log` show.",
)


async def _requested(hive: "Hive", output: Output, number: int, what: str) -> None:
    from wire.records.approvals import ApprovalFilter

    [request] = await hive.approvals.list_approvals(ApprovalFilter(id=number))
    output.show(
        {"id": number, "state": "pending", "commit": request.commit},
        [
            f"request {number} waits for approval: {what}",
            f"  hivectl diff {number}",
            f"  hivectl approve {number}",
        ],
    )


@click.command("request-spawn")
@click.argument("name")
@_why
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="The agent's first agent.toml; `-` reads standard input.",
)
@hive_command
async def request_spawn(
    hive: "Hive", output: Output, name: str, message: str, config: str | None
) -> None:
    """Request a new agent, as the manager does.

    The request, with the agent's configuration, waits for approval. `hivectl spawn` creates an
    agent at once, but with an empty configuration.
    """
    from wire.records.approvals import SpawnRequestOptions

    text = None if config is None else _configuration(config)
    number = await hive.approvals.request_spawn(name, message, SpawnRequestOptions(config=text))
    await _requested(hive, output, number, f"spawn {name}")


def _configuration(typed: str) -> str:
    """Read a configuration from the file `typed`, or from standard input.

    Raises:
        CommandError: the file cannot be read, or it cannot be a configuration.
    """
    if typed == "-":
        return stdin_text()
    try:
        with Path(typed).open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise CommandError(Exit.NOT_FOUND, f"{typed}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(Exit.USAGE, f"{typed} is not UTF-8 text.") from error
    if len(content) > MAX_CONFIG_BYTES or "\0" in text:
        raise CommandError(
            Exit.USAGE,
            f"{typed} is not a valid agent.toml: it must be text of at most 64 KiB.",
        )
    return text


@click.command()
@_agent
@click.argument("commit")
@_why
@click.option(
    "--revert", is_flag=True, help="Accept a commit that is not based on the deployed one."
)
@hive_command
async def apply(
    hive: "Hive", output: Output, name: str, commit: str, message: str, revert: bool
) -> None:
    """Request the deployment of a commit, as the manager does.

    COMMIT is a hash in the agent's proposed repository, /var/lib/hyperhive/git/proposed/NAME.
    """
    from wire.records.approvals import ApplyRequestOptions

    options = ApplyRequestOptions(revert=revert)
    number = await hive.approvals.request_apply(name, commit, message, options)
    await _requested(hive, output, number, f"{name} gets {commit[:12]}")


@click.command()
@_agent
@click.argument("tag", shell_complete=complete_deployed)
@hive_command
async def revert(hive: "Hive", output: Output, name: str, tag: str) -> None:
    """Request that an agent goes back to an earlier deployment.

    TAG is a tag that `hivectl deploy-log NAME` shows, such as deployed/3, or its number, 3.
    """
    wanted = f"deployed/{tag}" if tag.isascii() and tag.isdigit() else tag
    number = await hive.approvals.revert(name, wanted)
    await _requested(hive, output, number, f"{name} goes back to {wanted}")


@click.command("deploy-log")
@click.argument("name", default="", shell_complete=complete_agents)
@click.option(
    "--limit",
    type=number(1, 1000),
    default=50,
    show_default=True,
    metavar="N",
    help="Show the newest N deployments, at most 1000.",
)
@hive_command
async def deploy_log(hive: "Hive", output: Output, name: str, limit: int) -> None:
    """List deployments, newest first.

    Lists the deployments of the agent NAME, or of all agents.
    """
    found = await hive.approvals.deploy_log(name, limit)
    if name and not found:
        await hive.agents.expect_or_kept(name)
        raise CommandError(
            Exit.NOT_FOUND,
            f"Nothing was deployed to {name!r} yet; `hivectl list` shows the agents.",
        )
    headers = ["TIME", "AGENT", "TAG", "COMMIT", "BY", "DESCRIPTION"]
    rows: list[Row] = [
        [
            local_time(d.at),
            d.agent,
            Cell(d.tag),
            d.commit[:12],
            d.requested_by,
            one_line(d.description) + ("" if d.kept else " (purged)"),
        ]
        for d in found
    ]
    nothing = ["no deployments yet"]
    output.show([json_forms.deploy(d) for d in found], output.table(headers, rows) or nothing)


COMMANDS = [request_spawn, apply, revert, deploy_log]
