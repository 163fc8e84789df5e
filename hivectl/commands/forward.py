"""The command that leads to a port in an agent's container: forward."""

import asyncio
from typing import TYPE_CHECKING

import click

from hivectl import garbage
from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import number
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output

if TYPE_CHECKING:
    from wire.errors import HiveError

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
@output_options
def forward(name: str, port: int, local: int | None) -> None:
    """Forward a port of 127.0.0.1 to an agent's container.

    Runs until Ctrl-C. A program in the container must listen on PORT of its 127.0.0.1 or ::1, and
    PORT must be the port of the agent's own page, or one of `ports` in its agent.toml. Every user
    of this host can connect to the port of 127.0.0.1. The agent serves the pages there: do not
    trust them, and enter no passwords.
    """
    from wire.errors import Unavailable
    from wire.names import check_agent_name
    from wire.web_socket import connect_port

    garbage.collect()
    check_agent_name(name)
    output = Output()

    async def run() -> None:
        from hivectl.host.forward import LOOPBACK, forwarding

        try:
            connect_port(name, port).close()  # a port that is not offered is said at once
        except Unavailable as error:
            raise await _explained(error, name, port) from None
        async with forwarding(
            port if local is None else local, lambda: connect_port(name, port), output.note
        ) as found:
            address = f"{LOOPBACK}:{found}"
            output.show(
                {"agent": name, "port": port, "address": address},
                [f"http://{address} is forwarded to port {port} of {name}; Ctrl-C ends this"],
            )
            await asyncio.get_running_loop().create_future()

    asyncio.run(run())


async def _explained(error: "HiveError", name: str, port: int) -> "HiveError":
    """Return the reason why a port is not offered, as far as lifecycle knows it."""
    from hivectl.clients.hive import Hive
    from wire.errors import HiveError, NotFound, Unavailable
    from wire.records.lifecycle import AgentState, NetworkMode

    try:
        async with Hive.connect() as hive:
            agent = await hive.agents.get(name)
    except NotFound as missing:
        return missing
    except HiveError:
        return error
    configured = [str(one) for one in agent.network.ports if one != agent.port]
    offered = ", ".join(configured) or "none"
    if agent.state is not AgentState.RUNNING:
        why = f"{name} is {agent.state}. Start it: hivectl start {name}"
    elif agent.network.mode is NetworkMode.HOST:
        why = "its network is that of the host, whose own ports you reach directly"
    elif port not in agent.network.ports:
        why = f"`ports` in its agent.toml has {offered}. Add {port} there"
    else:
        return error
    return Unavailable(f"Port {port} of {name} is not offered: {why}.")


COMMANDS = [forward]
