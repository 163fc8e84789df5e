"""Makes and removes endpoints without containers, as root in the sandbox:

`python -m bench.messages.agents register|unregister NUMBER`.

The container is not on a message's way. So the socket of each agent is started directly, with the
directory that lifecycle would have made for it. A process in lifecycle's unit registers the names:
the caller's unit decides who may register an agent, and root may move itself.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient

SOCKETS: Final = Path("/run/hyperhive/agents")
_REGISTRAR: Final = "hive-lifecycle.service"
VERBS: Final = {
    "register": BrokerClient.register_agent,
    "unregister": BrokerClient.unregister_agent,
}


def agent_names(number: int) -> list[str]:
    """Return p01, p02, ..."""
    return [f"p{i:02}" for i in range(1, number + 1)]


def control_group(unit: str) -> Path | None:
    """Return the directory of a unit's control group; None when it does not run."""
    command = ["systemctl", "show", "--value", "--property=ControlGroup", unit]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    group = shown.stdout.strip()
    return Path(f"/sys/fs/cgroup{group}") if group else None


async def tell_broker(verb: str, agents: list[str]) -> None:
    """Register or unregister `agents` at the broker, as lifecycle does."""
    group = control_group(_REGISTRAR)
    if group is None:
        sys.exit(f"{_REGISTRAR} does not run.")
    (group / "cgroup.procs").write_text(str(os.getpid()))
    bus = await Bus.connect()
    broker = BrokerClient(bus)
    for agent in agents:
        await VERBS[verb](broker, agent)
    await bus.close()


def main(verb: str, number: int) -> None:
    """Make `number` agents that can be reached through their sockets, or remove them."""
    agents = agent_names(number)
    for agent in agents:
        (SOCKETS / agent).mkdir(mode=0o700, exist_ok=True)
    order = "start" if verb == "register" else "stop"
    subprocess.run(["systemctl", order, *map(names.socket_unit, agents)], check=True)
    asyncio.run(tell_broker(verb, agents))
    print(json.dumps(agents))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
