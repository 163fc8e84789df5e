"""Commands in containers, properties of the hive, and waiting for it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hivectl.exit_codes import Exit
from tests.system.hive import CallError, Hive
from wire import names

MACHINED = (
    "org.freedesktop.machine1",
    "/org/freedesktop/machine1",
    "org.freedesktop.machine1.Manager",
)
PROBES = Path(__file__).parent / "probes"
APPLIED = "/var/lib/hyperhive/git/applied"
WEB = "/var/lib/hyperhive/web"
COMMIT = """
set -e
export GIT_DIR=$1
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t
test -d "$GIT_DIR" || git init --quiet --bare --initial-branch=main "$GIT_DIR"
blob=$(git hash-object -w --stdin)
tree=$(printf '100644 blob %s\\tagent.toml\\n' "$blob" | git mktree)
commit=$(git commit-tree -m test "$tree")
git update-ref "refs/tags/test-$commit" "$commit"
echo "$commit"
"""


@contextmanager
def configured(hive: Hive, agent: str, text: str, files: dict[str, str]) -> Iterator[None]:
    """Have an agent with this agent.toml and these files, and remove it at the end."""
    hive.hivectl("spawn", agent, timeout=120)
    try:
        for path, content in files.items():
            inside(hive, agent, "tee", path, stdin=content)
        reconfigure(hive, agent, text)
        yield
    finally:
        hive.hivectl("destroy", agent, "--purge", "--yes", timeout=120)
        hive.run("rm", "-rf", f"{APPLIED}/{agent}")


def reconfigure(hive: Hive, agent: str, text: str) -> None:
    """Deploy `text` as the agent.toml of an agent that approvals does not know."""
    answer = probe(hive, "deploy", agent, commit_file(hive, agent, text))
    assert (answer["result"], answer["note"]) == ("done", "")
    until_state(hive, agent, "idle", "TurnState")


def change_harness(hive: Hive, agent: str, **settings: Any) -> None:
    """Restart the harness of an agent with other values in harness.json, until the next start."""
    path = f"/var/lib/hyperhive/agents/{agent}/etc/hyperhive/harness.json"
    known = json.loads(hive.run("cat", path).stdout)
    hive.run("tee", path, input=json.dumps(known | settings))
    inside(hive, agent, "systemctl", "restart", "hive-harness")


def leader(hive: Hive, agent: str) -> int:
    """Return the pid that the container's init has in the sandbox."""
    [machine] = hive.call(
        *MACHINED, "GetMachine", signature="s", arguments=[names.machine_name(agent)]
    )
    return int(shown(hive, MACHINED[0], machine, f"{MACHINED[0]}.Machine", "Leader"))


def shown(hive: Hive, destination: str, path: str, interface: str, name: str) -> Any:
    """Return a property on the bus in the sandbox."""
    get = (destination, path, names.PROPERTIES, "Get")
    return hive.call(*get, signature="ss", arguments=[interface, name])[0]


def inside(
    hive: Hive, agent: str, *command: str, stdin: str | None = None, check: bool = True
) -> Any:
    """Run `command` as root of the container, with more rights than its harness has."""
    enter = ["nsenter", "--target", str(leader(hive, agent)), "--all", "--setuid=0", "--setgid=0"]
    return hive.run(*enter, *command, input=stdin, check=check, timeout=120)


def property_of(hive: Hive, agent: str, name: str) -> Any:
    """Return a property of an agent, as lifecycle shows it."""
    target = (names.LIFECYCLE, names.agent_path(agent), names.AGENT_INTERFACE)
    return shown(hive, *target, name)


def web(hive: Hive, agent: str, path: str) -> Any:
    """Ask the socket on which a harness shows its agent's turns."""
    socket = f"{WEB}/{agent}/web.sock"
    found = hive.run("curl", "-sf", "--max-time", "20", "--unix-socket", socket, f"http://x{path}")
    return json.loads(found.stdout)


def events(hive: Hive, agent: str, *types: str, after: int = 0) -> list[dict[str, Any]]:
    """Return an agent's events of these types (of all types without any), oldest first.

    Args:
        hive: the hive.
        agent: the agent.
        types: the types.
        after: the number of the last event before them; 0: of the newest events.
    """
    query = f"after={after}&limit=500" if after else "limit=500"
    found: list[dict[str, Any]] = web(hive, agent, f"/v1/events?{query}")["events"]
    return [event for event in found if not types or event["type"] in types]


def last_event(hive: Hive, agent: str) -> int:
    """Return the number of an agent's last event."""
    return int(web(hive, agent, "/v1/state")["last_seq"])


def message(hive: Hive, number: int) -> dict[str, Any]:
    """Return a message by its id."""
    found = hivectl(hive, "history", "--limit", "1000")
    return dict(next(one for one in found if one["id"] == number))


def mcp(hive: Hive, agent: str, **request: Any) -> Any:
    """Speak to the agent's socket from inside its container; see `probes/mcp_raw.py`."""
    source = (PROBES / "mcp_raw.py").read_text()
    done = inside(hive, agent, "python3", "-c", source, stdin=json.dumps(request))
    return json.loads(done.stdout)


def call(hive: Hive, agent: str, tool: str, client: str = "probe", **arguments: Any) -> Any:
    """Call one tool from inside the container, and return the whole JSON-RPC answer."""
    return mcp(hive, agent, client=client, calls=[[tool, arguments]])[0]


def refused(answer: dict[str, Any]) -> bool:
    """Return whether the answer is a protocol error, or a tool result that is an error."""
    return "error" in answer or answer["result"].get("isError") is True


def clone_anew(hive: Hive, agent: str) -> None:
    """Have the manager clone an agent's repository again, with what others have deployed."""
    clone = (
        f"rm -rf /agents/{agent}; git clone -q --origin applied /applied/{agent} /agents/{agent}"
    )
    inside(hive, "manager", "sh", "-c", clone)


def commit_file(hive: Hive, agent: str, text: str) -> str:
    """Commit `text` as the agent.toml of `agent` in its applied repository; return the commit.

    Only for agents that approvals does not know: it is passed over.
    """
    script = ("sh", "-c", COMMIT, "sh", f"{APPLIED}/{agent}")
    return hive.run("runuser", "-u", "hive-approvals", "--", *script, input=text).stdout.strip()


def until_state(hive: Hive, agent: str, wanted: str, key: str = "State") -> None:
    """Wait until an agent's property, its state by default, has a value."""
    target = (names.LIFECYCLE, names.agent_path(agent), names.AGENT_INTERFACE, key)
    hive.until(*target, wanted=[wanted])


def until_active(hive: Hive, unit: str, before: str) -> None:
    """Wait for the start that systemd has ordered by itself, after the life called `before`."""
    hive.until_unit(unit, after=before, ActiveState="active", timeout=30)


def until_idle(hive: Hive) -> None:
    """Wait until lifecycle has no job."""
    hive.until_absent(names.LIFECYCLE, names.LIFECYCLE_PATH, names.JOB_INTERFACE)


def until_asleep(hive: Hive, agent: str) -> None:
    """Wait until an agent sleeps, and the job that put it to sleep is over."""
    until_state(hive, agent, "sleeping")
    until_idle(hive)


def until_ended(hive: Hive, number: int) -> dict[str, Any]:
    """Wait until a request is in a final state that git records; return the request."""
    state = probe(hive, "until_request", str(number))
    [request] = [row for row in hivectl(hive, "pending", "--all") if row["id"] == number]
    assert request["state"] == state
    until_recorded(hive, request["agent"])
    return dict(request)


def shown_commit(hive: Hive, number: int | str) -> tuple[str, str]:
    """Return the option by which `hivectl approve` and `deny` are told what was read."""
    found = {row["id"]: row["commit"] for row in hivectl(hive, "pending", "--all")}
    return "--commit", found[int(number)]


def decide(
    hive: Hive, verb: str, number: int | str, *options: str, **run: Any
) -> "subprocess.CompletedProcess[str]":
    """Run `hivectl approve` or `deny` about a request as it is shown now."""
    return hive.hivectl(verb, str(number), *shown_commit(hive, number), *options, **run)


def until_recorded(hive: Hive, agent: str) -> None:
    """Wait until approvals has done to git what it is doing, and has recorded an agent's requests.

    Approvals does both before it looks for a tag.
    """
    approvals = (names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS)
    with suppress(CallError):
        hive.call(*approvals, "Revert", signature="ss", arguments=[agent, f"deployed/{2**32}"])


def until_told(hive: Hive, recipient: str, kind: str, words: str) -> str:
    """Wait for a message to `recipient` with these words, and return its body."""
    return hive.until_message(recipient, kind, words)


def probe(hive: Hive, name: str, *arguments: str, timeout: float = 180) -> Any:
    """Run one of the probes in the sandbox, and return its last line, which is JSON."""
    done = hive.script(PROBES / f"{name}.py", *arguments, timeout=timeout)
    return json.loads(done.stdout.strip().splitlines()[-1])


def hivectl(hive: Hive, *arguments: str, **options: Any) -> Any:
    """Run hivectl with `--json`, and return what it prints.

    `status` of an agent in trouble, which tests look at on purpose, has an exit code of its own.
    """
    ran = hive.hivectl(*arguments, "--json", check=False, **options)
    in_trouble = arguments[0] == "status" and ran.returncode == Exit.DEGRADED
    assert ran.returncode == Exit.OK or in_trouble, f"{arguments}: {ran.returncode}: {ran.stderr}"
    return json.loads(ran.stdout)


def wait_for_inbox(hive: Hive, text: str, sender: str = "", tries: int = 20) -> dict[str, Any]:
    """Wait for a message to the operator that contains `text`; return the message."""
    seen: list[str] = []
    for _ in range(tries):
        messages = hivectl(hive, "inbox", "--wait", "60", "--after", "0", "--ack", timeout=90)
        for message in messages:
            if text in message["body"] and sender in ("", message["from"]):
                return dict(message)
        seen += [message["body"] for message in messages]
    raise AssertionError(f"no message to the operator holds {text!r}; there were {seen}")
