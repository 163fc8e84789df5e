"""A sandbox without Hyperhive, in which the tests install it."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sandbox import inside, lifecycle
from sandbox.hive import Ports
from sandbox.instance import Instance
from tests.system.hive import worker

REPO: Final = Path(__file__).resolve().parents[2]
CHECKOUT: Final = "/root/Çok güzel şey/hyper hive"
"""A path with spaces, and with letters that are not ASCII."""
ABROAD: Final = {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "LANGUAGE": "tr"}
"""A locale in which the small letter of I is not i."""
SECONDS: Final = 600.0

COPY: Final = """
set -e
umask {umask}
rm -rf "$1"
mkdir -p "$1" && cd "$1"
(cd "$2" && git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
    xargs -0 ls -d 2>/dev/null | tar --create --files-from=-) | tar --extract --no-same-permissions
cp -r --no-preserve=mode "$2/services/dashboard/vendor" services/dashboard/
ln -s "$2/.build" .build
"""
"""Makes a checkout that has fetched its packages already. Others may not write to .build, which is
mounted read-only."""


class BareHost:
    """A systemd host that has never seen Hyperhive."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        number = int((worker() or "gw0").removeprefix("gw"))
        self.port = Ports.dashboard + 40 + number
        """The port of the dashboard: sandboxes share the network of the machine."""

    def run(
        self,
        *command: str,
        check: bool = True,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program; its output is text."""
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        done = subprocess.run(
            inside.command_line(self._instance, ["env", *variables, *command]),
            env=inside.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if check:
            assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done

    def check_out(self, umask: str = "022") -> None:
        """Copy the repository to CHECKOUT, as a clone under a umask does."""
        self.run("sh", "-c", COPY.format(umask=umask), "sh", CHECKOUT, str(REPO))
        self.keep_the_port_free()

    def keep_the_port_free(self) -> None:
        """Let the dashboard listen on a port of its own."""
        self.write(
            "/etc/systemd/system/hive-dashboard.socket.d/50-test.conf",
            f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{self.port}\n",
        )

    def make(
        self, *arguments: str, umask: str = "022", check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run make in the checkout, in another locale and without a network."""
        script = f'umask {umask}; cd "$0"; exec unshare --net make "$@"'
        return self.run(
            *("sh", "-c", script, CHECKOUT, *arguments),
            check=check,
            stdin=stdin,
            environment=ABROAD,
        )

    def write(self, path: str, text: str) -> None:
        """Write a file, and the directories above it."""
        self.run("install", "-D", "-m", "0644", "/dev/stdin", path, stdin=text)

    def append(self, path: str, text: str) -> None:
        """Append to a file."""
        self.run("sh", "-c", 'cat >> "$0"', path, stdin=text)

    def exists(self, path: str) -> bool:
        """Return whether there is a file, or a link that leads nowhere."""
        return self.run("sh", "-c", 'test -e "$0" -o -L "$0"', path, check=False).returncode == 0

    def has(self, path: str) -> bool:
        """Return whether there is a file, or a directory that is not empty.

        Some directories of a sandbox are mounts, and cannot be removed.
        """
        script = 'if [ -d "$0" ]; then [ "$(ls -A "$0")" ]; else [ -e "$0" ]; fi'
        return self.run("sh", "-c", script, path, check=False).returncode == 0

    def units(self) -> str:
        """Return the units of the hive that systemd has loaded."""
        listing = ["systemctl", "list-units", "--all", "--plain", "--no-legend"]
        return self.run(*listing, "hive.*", "hive-*.service", "hive-*.socket").stdout

    def runs(self) -> dict[str, str]:
        """Return the id of the present run of each service of the hive that is active."""
        asked = ["systemctl", "show", "--property=Id,InvocationID,ActiveState", "hive-*.service"]
        found = {}
        for block in self.run(*asked).stdout.split("\n\n"):
            values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if values.get("ActiveState") == "active":
                found[values["Id"].removesuffix(".service")] = values["InvocationID"]
        return found

    def failed(self) -> str:
        """Return the failed units."""
        listing = ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "hive*"]
        return self.run(*listing).stdout

    def call(self, *arguments: str) -> object:
        """Call a method of the broker with busctl; return its answer."""
        broker = ["org.hyperhive.Broker1", "/org/hyperhive/Broker1", "org.hyperhive.Broker1"]
        answer = self.run("busctl", "--json=short", "call", *broker, *arguments).stdout
        return json.loads(answer)["data"]


@contextmanager
def bare_host() -> Iterator[BareHost]:
    """Boot a bare host, and remove it at the end."""
    instance = Instance(f"bare-{worker() or os.getpid()}")
    lifecycle.down(instance)  # an interrupted run may have left it
    try:
        lifecycle.up(instance, bare=True)
        yield BareHost(instance)
    finally:
        lifecycle.down(instance)
