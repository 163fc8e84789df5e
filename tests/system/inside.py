"""What the system tests do inside a container, and what they read off the hive."""

import json
from pathlib import Path
from typing import Any

from tests.system.conftest import Hive
from wire import names

PROBES = Path(__file__).parent / "probes"
PYTHON = "/usr/lib/hyperhive/bin/python"


def leader(hive: Hive, agent: str) -> int:
    """The pid of the container's init, as the sandbox's host sees it."""
    machine = names.machine_name(agent)
    return int(hive.run("machinectl", "show", machine, "-p", "Leader", "--value").stdout)


def inside(
    hive: Hive, agent: str, *command: str, stdin: str | None = None, check: bool = True
) -> Any:
    """Run `command` as root of the container, with more rights than its harness has."""
    enter = ["nsenter", "--target", str(leader(hive, agent)), "--all", "--setuid=0", "--setgid=0"]
    return hive.run(*enter, *command, input=stdin, check=check, timeout=120)


def mcp(hive: Hive, agent: str, **request: Any) -> Any:
    """Speak to the agent's socket from inside its container; see `probes/mcp_raw.py`."""
    source = (PROBES / "mcp_raw.py").read_text()
    done = inside(hive, agent, "python3", "-c", source, stdin=json.dumps(request))
    return json.loads(done.stdout)


def call(hive: Hive, agent: str, tool: str, client: str = "probe", **arguments: Any) -> Any:
    """One tool call from inside the container: the whole JSON-RPC answer."""
    return mcp(hive, agent, client=client, calls=[[tool, arguments]])[0]


def refused(answer: dict[str, Any]) -> bool:
    """Whether the answer is a protocol error or a tool result that is an error."""
    return "error" in answer or answer["result"].get("isError") is True


def probe(hive: Hive, name: str, *arguments: str, timeout: float = 180) -> Any:
    """Run one of the probes on the sandbox's host; its last line is JSON."""
    root = str(PROBES.parent.parent.parent)
    command = ["env", f"PYTHONPATH={root}", PYTHON, str(PROBES / f"{name}.py"), *arguments]
    done = hive.run(*command, timeout=timeout)
    return json.loads(done.stdout.strip().splitlines()[-1])


def hivectl(hive: Hive, *arguments: str, **options: Any) -> Any:
    """Run hivectl with `--json` and read what it prints."""
    return json.loads(hive.run("hivectl", *arguments, "--json", **options).stdout)


def wait_for_inbox(hive: Hive, text: str, tries: int = 20) -> dict[str, Any]:
    """Wait, by the broker's signal, for a message to the operator that holds `text`."""
    seen: list[str] = []
    for _ in range(tries):
        messages = hivectl(hive, "inbox", "--wait", "60", "--ack", timeout=90)
        for message in messages:
            if text in message["body"]:
                return dict(message)
        seen += [message["body"] for message in messages]
    raise AssertionError(f"no message to the operator holds {text!r}; there were {seen}")
