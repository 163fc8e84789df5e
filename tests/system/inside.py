"""Commands in containers, properties of the hive, and waiting for it."""

import json
import subprocess
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
APPLIED = "/var/lib/hyperhive/git/applied"
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
    now = f'"$(systemctl show -P InvocationID {unit})"'
    again = f"test {now} != {before} && systemctl is-active --quiet {unit}"
    source = f"until {again}; do sleep 0.2; done"
    hive.run("timeout", "30", "sh", "-c", source)


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
    """Run hivectl with `--json`, and return what it prints."""
    return json.loads(hive.hivectl(*arguments, "--json", **options).stdout)


def wait_for_inbox(hive: Hive, text: str, sender: str = "", tries: int = 20) -> dict[str, Any]:
    """Wait for a message to the operator that contains `text`; return the message."""
    seen: list[str] = []
    for _ in range(tries):
        messages = hivectl(hive, "inbox", "--wait", "60", "--ack", timeout=90)
        for message in messages:
            if text in message["body"] and sender in ("", message["from"]):
                return dict(message)
        seen += [message["body"] for message in messages]
    raise AssertionError(f"no message to the operator holds {text!r}; there were {seen}")
