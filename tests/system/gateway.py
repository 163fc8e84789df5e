"""The gateway of alice in the sandbox: her upstream, her requests, and what the ledger counts."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.system.hive import Hive
from tests.system.inside import PROBES, hivectl, inside
from wire import names

UNIT = "hive-gateway@alice.service"
LEDGER = names.SERVICE_UNITS[names.LEDGER]
SETTINGS = "/run/hyperhive/gateway/alice.json"
API = "/run/hive/api.sock"
LOAD = (PROBES / "api_load.py").read_text()
CLAUDE = "import claude_agent_sdk as s, os; print(os.path.dirname(s.__file__) + '/_bundled/claude')"


class Upstream:
    """The server of `probes/upstream.py`."""

    def __init__(self, hive: Hive, port: int) -> None:
        self._hive = hive
        self.port = port

    def url(self, mode: str) -> str:
        return f"http://127.0.0.1:{self.port}/{mode}"

    def seen(self) -> list[dict[str, Any]]:
        """Return the requests that it got."""
        found: list[dict[str, Any]] = json.loads(
            self._hive.run("curl", "-sf", f"http://127.0.0.1:{self.port}/seen").stdout
        )
        return found

    def of_load(self) -> list[dict[str, Any]]:
        """Return those of `load`: Claude Code in other agents names itself."""
        return [one for one in self.seen() if "user-agent" not in one["headers"]]


@contextmanager
def upstream(hive: Hive) -> Iterator[Upstream]:
    """Run the server while the block runs."""
    port = own_port(hive, 1)
    with hive.popen("/usr/bin/python3", "-I", str(PROBES / "upstream.py"), str(port)) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n", server.communicate()
        try:
            yield Upstream(hive, port)
        finally:
            server.kill()


def own_port(hive: Hive, number: int) -> int:
    """Return a port of this sandbox alone: sandboxes share the loopback of the machine."""
    return 7600 + 10 * (hive.ports.dashboard - 7000) + number


@contextmanager
def settings(hive: Hive, **changes: Any) -> Iterator[None]:
    """Change the settings of alice's gateway, as lifecycle does, while the block runs."""
    before = hive.run("cat", SETTINGS).stdout
    write(hive, json.loads(before) | changes)
    try:
        yield
    finally:
        write(hive, json.loads(before))


def write(hive: Hive, values: dict[str, Any]) -> None:
    new = f"{SETTINGS}.new"
    hive.run("cp", "--preserve=all", SETTINGS, new)
    hive.run("tee", new, input=json.dumps(values))
    hive.run("mv", new, SETTINGS)


def load(hive: Hive, threads: int, each: int, prompt: str) -> list[dict[str, Any]]:
    """Send requests from inside the container; return what came of each."""
    arguments = (str(threads), str(each), prompt)
    found: list[dict[str, Any]] = json.loads(
        inside(hive, "alice", "python3", "-c", LOAD, *arguments).stdout
    )
    return found


def claude(hive: Hive, prompt: str, *options: str) -> tuple[int, str]:
    """Let Claude Code in the container answer a prompt; return its status and what it said."""
    python = "/usr/lib/hyperhive/bin/python"
    program = inside(hive, "alice", python, "-c", CLAUDE).stdout.strip()
    done = inside(
        hive,
        "alice",
        *("env", "-i", "PATH=/usr/bin:/bin", "HOME=/tmp", f"ANTHROPIC_UNIX_SOCKET={API}"),
        *("ANTHROPIC_BASE_URL=http://hive.internal", "ANTHROPIC_API_KEY=placeholder"),
        *("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "CLAUDE_CODE_MAX_RETRIES=1"),
        *("DISABLE_AUTOUPDATER=1", "timeout", "100"),
        *(program, "-p", prompt, "--model", "claude-opus-5-5", *options),
        stdin="",
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def requests(hive: Hive, before: int) -> list[dict[str, Any]]:
    """Return the requests of alice that the ledger has counted, those after an id."""
    found = hivectl(hive, "usage", "alice", "--limit", "1000")
    return [one for one in found if one["id"] > before]


def last_request(hive: Hive) -> int:
    return max((one["id"] for one in requests(hive, 0)), default=0)


def total(hive: Hive) -> dict[str, Any]:
    """Return the budget of alice in total."""
    [*_, budget] = hivectl(hive, "budget", "alice")
    assert budget["period"] == "total"
    return dict(budget)


def stop(hive: Hive, agents: Sequence[str] = ("alice",)) -> None:
    hive.run("systemctl", "stop", *(names.gateway_unit(agent) for agent in agents))


def main_pid(hive: Hive) -> int:
    return int(hive.run("systemctl", "show", "--value", "-p", "MainPID", UNIT).stdout)
