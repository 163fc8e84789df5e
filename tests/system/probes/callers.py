"""Call each method of the ledger as a user of the host, in the cgroup of a unit or in none.

Runs inside the sandbox, as root: `python callers.py USER UNIT`; UNIT may be empty. The calls have
no valid arguments, so a method that may be called changes nothing. Prints a JSON object: the method
-> `bus` if the bus refused the call, `service` if the ledger did, else `called`.
"""

import asyncio
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from wire import names
from wire.bus import Bus
from wire.errors import AccessDenied, HiveError
from wire.types import Value

PEER = "org.freedesktop.DBus.Peer"
EMPTY: dict[str, Value] = {"a{sv}": {"": 0}, "s": "", "t": 0, "u": 0, "q": 0, "as": []}


def become(user: str, unit: str) -> None:
    """Move this process to a unit's cgroup, and take a user with its groups."""
    if unit:
        command = ["systemctl", "show", "--value", "-p", "ControlGroup", unit]
        cgroup = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        Path(f"/sys/fs/cgroup{cgroup}/cgroup.procs").write_text(str(os.getpid()))
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def methods(document: Path) -> dict[str, list[str]]:
    """Return the signatures of the arguments of each method."""
    [interface] = ElementTree.parse(document).getroot().iter("interface")
    return {
        str(method.get("name")): [
            str(arg.get("type")) for arg in method.iter("arg") if arg.get("direction") == "in"
        ]
        for method in interface.iter("method")
    }


async def main(user: str, unit: str, document: Path) -> None:
    found = methods(document)
    become(user, unit)
    bus = await Bus.connect()
    target = (names.LEDGER, names.LEDGER_PATH)
    outcome: dict[str, str] = {}
    for member, types in {**found, "Ping": []}.items():
        interface = PEER if member == "Ping" else names.LEDGER
        values = [EMPTY[one] for one in types]
        try:
            await bus.call(*target, interface, member, "".join(types), *values)
        except AccessDenied as error:
            outcome[member] = "bus" if "Rejected send message" in str(error) else "service"
        except HiveError:
            outcome[member] = "called"
        else:
            outcome[member] = "called"
    print(json.dumps(outcome))
    await bus.close()


asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
