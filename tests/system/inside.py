"""What the system tests do inside a container, and what they read off the hive."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.system.hive import CallError, Hive
from wire import names

MACHINED = (
    "org.freedesktop.machine1",
    "/org/freedesktop/machine1",
    "org.freedesktop.machine1.Manager",
)
PROBES = Path(__file__).parent / "probes"


def leader(hive: Hive, agent: str) -> int:
    """The pid of the container's init, as the sandbox's host sees it."""
    [machine] = hive.call(
        *MACHINED, "GetMachine", signature="s", arguments=[names.machine_name(agent)]
    )
    return int(shown(hive, MACHINED[0], machine, f"{MACHINED[0]}.Machine", "Leader"))


def shown(hive: Hive, destination: str, path: str, interface: str, name: str) -> Any:
    """A property on the bus in the sandbox."""
    get = (destination, path, names.PROPERTIES, "Get")
    return hive.call(*get, signature="ss", arguments=[interface, name])[0]


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


def until_state(hive: Hive, agent: str, wanted: str, key: str = "State") -> None:
    """Wait, by lifecycle's signals, until an agent is in a state; `key` is another property."""
    target = (names.LIFECYCLE, names.agent_path(agent), names.AGENT_INTERFACE, key)
    hive.until(*target, wanted=[wanted])


def until_idle(hive: Hive) -> None:
    """Wait until lifecycle has no job."""
    hive.until_absent(names.LIFECYCLE, names.LIFECYCLE_PATH, names.JOB_INTERFACE)


def until_asleep(hive: Hive, agent: str) -> None:
    """Wait until an agent sleeps, and the job is over that put it to sleep."""
    until_state(hive, agent, "sleeping")
    until_idle(hive)


def until_ended(hive: Hive, number: int) -> dict[str, Any]:
    """Wait until a request is in a final state and git records that; returns it."""
    state = probe(hive, "until_request", str(number))
    [request] = [row for row in hivectl(hive, "pending", "--all") if row["id"] == number]
    assert request["state"] == state
    # Before approvals looks for a tag, it records in git what is to be recorded of the agent.
    with suppress(CallError):
        approvals = (names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS)
        nowhere = [request["agent"], f"deployed/{2**32}"]
        hive.call(*approvals, "Revert", signature="ss", arguments=nowhere)
    return dict(request)


def until_told(hive: Hive, recipient: str, kind: str, words: str) -> str:
    """Wait, by the broker's signals, for a message to somebody; returns its body."""
    return hive.until_message(recipient, kind, words)


def probe(hive: Hive, name: str, *arguments: str, timeout: float = 180) -> Any:
    """Run one of the probes on the sandbox's host; its last line is JSON."""
    done = hive.script(PROBES / f"{name}.py", *arguments, timeout=timeout)
    return json.loads(done.stdout.strip().splitlines()[-1])


def hivectl(hive: Hive, *arguments: str, **options: Any) -> Any:
    """Run hivectl with `--json` and read what it prints."""
    return json.loads(hive.hivectl(*arguments, "--json", **options).stdout)


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
