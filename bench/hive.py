"""A hive in a sandbox of its own, for measurements that need a real systemd.

with running("manager", broker={"messages_per_hour": 10**9}) as host:
    with step("64 endpoints start"):
        host.run("systemctl", "start", ...)
    figures = host.python("bench.messages.driver", "--pairs=32")
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sandbox import hive, inside, lifecycle
from sandbox.instance import REPO, Instance, SandboxError

NAME: Final = "bench"
PORTS: Final = hive.Ports(dashboard=7090, model=7190)
PYTHON: Final = "/usr/lib/hyperhive/bin/python"
_CONFIG: Final = "/etc/hyperhive/hyperhive.toml"


class Host:
    """The throw-away host that the benches run in."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def run(self, *command: str, stdin: str = "", check: bool = True) -> str:
        """Run `command` in it and return its output. Raises SandboxError when it fails."""
        return inside.run(self._instance, *command, stdin=stdin, check=check).stdout

    def python(self, module: str, *arguments: str) -> Any:
        """Run a module of this repository in it; return its last line, which is JSON.

        Its standard error, which reports progress, is shown as it comes. The caller names the type
        of the result, which is that of the module's figures.
        """
        command = ["env", "PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={REPO}"]
        done = subprocess.run(
            inside.command_line(self._instance, [*command, PYTHON, "-m", module, *arguments]),
            env=inside.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SandboxError(f"{module} failed in the sandbox:\n{done.stdout}")
        return json.loads(done.stdout.splitlines()[-1])

    def configure(self, section: str, settings: Mapping[str, object]) -> None:
        """Add a section to the hive's configuration; services read it when they start."""
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        text = self.run("cat", _CONFIG) + "\n".join([f"\n[{section}]", *lines, ""])
        self.run("install", "-m", "0644", "/dev/stdin", _CONFIG, stdin=text)


@contextmanager
def running(*agents: str, broker: Mapping[str, object] | None = None) -> Iterator[Host]:
    """Run a host with a hive in which `agents` run; `broker` are settings of the section [broker].

    The remains of an interrupted run are removed before, and everything after.

    Raises:
        SandboxError: the host or the hive did not start.
    """
    instance = Instance(NAME)
    lifecycle.down(instance)
    try:
        hive.start(instance, PORTS, agents)
        host = Host(instance)
        if broker:
            host.configure("broker", broker)
            host.run("systemctl", "restart", "hive-broker.service")
        yield host
    finally:
        lifecycle.down(instance)
