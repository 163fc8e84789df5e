"""Try on the bus what a hijacked endpoint of an agent could try.

Runs inside the sandbox, as root: `python endpoint_attack.py AGENT VICTIM QUESTION`, the last being
the number of a question that the victim was asked. It moves itself into the cgroup of
`hive-agent@AGENT.service`, takes that unit's user and group, and then makes the calls. Prints a
JSON object: what was tried -> the error's name, or "allowed".
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from wire import names
from wire.bus import Bus
from wire.errors import HiveError


def become(unit: str) -> None:
    def prop(name: str) -> str:
        command = ["systemctl", "show", "--value", "-p", name, unit]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    pid = int(prop("MainPID"))
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    Path(f"/sys/fs/cgroup{prop('ControlGroup')}/cgroup.procs").write_text(str(os.getpid()))
    os.setgroups([int(group) for group in fields["Groups"].split()])
    os.setgid(int(fields["Gid"].split()[0]))
    os.setuid(int(fields["Uid"].split()[0]))


async def main(agent: str, victim: str, question: int) -> None:
    become(names.endpoint_unit(agent))
    bus = await Bus.connect()
    outcome: dict[str, str] = {}

    async def attempt(what: str, *call: Any) -> None:
        try:
            reply = await bus.call(*call)
        except HiveError as error:
            outcome[what] = error.name
        except Exception as error:
            outcome[what] = str(error)
        else:
            outcome[what] = f"allowed {reply}"

    broker = (names.BROKER, names.BROKER_PATH, names.BROKER)
    lifecycle = (names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE)
    approvals = (names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS)
    agent1 = (names.LIFECYCLE, names.agent_path(victim), names.AGENT_INTERFACE)
    await attempt("own inbox", *broker, "ListMessages", "a{sv}u", {"to": agent}, 10)
    theirs = {"to": victim, "from": names.OPERATOR}
    await attempt("inbox of another", *broker, "ListMessages", "a{sv}u", theirs, 10)
    await attempt("register an agent", *broker, "RegisterAgent", "s", "mallory")
    await attempt("spawn", *lifecycle, "Spawn", "sa{sv}", "mallory", {})
    await attempt("destroy", *lifecycle, "Destroy", "sb", victim, True)
    await attempt("stop another", *agent1, "Stop")
    await attempt("report for another", *agent1, "Report", "a{sv}", {"turn_state": "error"})
    await attempt("cancel another's turn", *agent1, "CancelTurn", "a{sv}", {})
    await attempt("begin a login", *agent1, "BeginLogin")
    await attempt("enter a code", *agent1, "EnterLoginCode", "ts", 1, "code")
    await attempt("end a login", *agent1, "CancelLogin", "t", 1)
    await attempt("take another's commands", *agent1, "HarnessConnected", "b", True)
    await attempt("answer another's command", *agent1, "CommandDone", "ta{sv}", 1, {})
    spawn: tuple[Any, ...] = ("RequestSpawn", "ssa{sv}", "mallory", "because", {})
    await attempt("request a spawn", *approvals, *spawn)
    await attempt("approve", *approvals, "Approve", "tsa{sv}", 1, "c" * 40, {})
    dashboard = (names.DASHBOARD, names.DASHBOARD_PATH, names.DASHBOARD)
    await attempt("login link", *dashboard, "LoginLink", "s", "operator")
    await attempt("list sessions", *dashboard, "ListSessions")
    await attempt("end a session", *dashboard, "RevokeSession", "t", 1)
    system = {"kind": "container-crash"}
    await attempt("speak as the system", *broker, "Send", "ssa{sv}", "manager", "x", system)
    await attempt("answer for another", *broker, "Answer", "tas", question, ["yes"])
    await attempt("take back another's question", *broker, "Cancel", "t", question)
    await attempt("take back another's reminder", *broker, "CancelReminder", "t", 1)
    await attempt("requeue", *broker, "Requeue", "at", [1])
    await attempt("drop", *broker, "Drop", "at", [1])
    await attempt("vacuum", *broker, "Vacuum")
    await attempt("backup", *broker, "Backup", "s", "copy")
    await attempt("very many values", *broker, "Acknowledge", "at", [1] * 20_000)
    daemon = ("org.freedesktop.DBus", "/org/freedesktop/DBus")
    await attempt("own a name", *daemon, daemon[0], "RequestName", "su", names.DASHBOARD, 4)
    monitoring = f"{daemon[0]}.Monitoring"
    await attempt("listen to all", *daemon, monitoring, "BecomeMonitor", "asu", [], 0)
    systemd = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
    await attempt("stop a unit", *systemd, f"{systemd[0]}.Manager", "StopUnit", "ss",
                  names.endpoint_unit(victim), "replace")  # fmt: skip
    print(json.dumps(outcome))
    await bus.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
