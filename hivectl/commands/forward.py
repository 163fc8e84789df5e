"""The command that leads to a port in an agent's container: forward."""

import asyncio

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import number
from hivectl.output.terminal import Output
from hivectl.session import json_option

MAX_PORT = 65535


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.argument("port", type=number(1, MAX_PORT))
@click.option(
    "--local",
    type=number(1, MAX_PORT),
    metavar="PORT",
    help="The port of this host's 127.0.0.1.  [default: the same]",
)
@json_option
def forward(name: str, port: int, local: int | None, as_json: bool) -> None:
    """Forward a port of 127.0.0.1 to an agent's container.

    Runs until Ctrl-C. A program in the container must listen on PORT of its 127.0.0.1 or ::1, and
    `ports` in the agent's agent.toml must have PORT. Every user of this host can connect to the
    port of 127.0.0.1. The agent serves the pages there: do not trust them, and enter no passwords.
    """
    from wire.names import check_agent_name
    from wire.web_socket import connect_port

    check_agent_name(name)
    output = Output(as_json=as_json)

    async def run() -> None:
        from hivectl.host.forward import LOOPBACK, forwarding

        connect_port(name, port).close()  # a port that is not offered is said at once
        async with forwarding(
            port if local is None else local, lambda: connect_port(name, port), output.note
        ) as found:
            address = f"{LOOPBACK}:{found}"
            output.show(
                {"agent": name, "port": port, "address": address},
                [f"http://{address} leads to port {port} of {name}; Ctrl-C ends it"],
            )
            await asyncio.get_running_loop().create_future()

    asyncio.run(run())


COMMANDS = [forward]
