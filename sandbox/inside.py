"""Commands that run inside a sandbox."""

import os
import subprocess
from collections.abc import Sequence
from typing import Final

from sandbox.instance import DEFAULT, REPO, Instance, SandboxError

_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_TERMINAL: Final = ("TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES")
INSTALL: Final = (
    *("env", f"--chdir={REPO}"),
    *("/usr/bin/python3", "-B", "-m", "installer", "files"),
)
"""The command that installs what the venv ships outside its own directory."""
_NAMESPACES: Final = ("-m", "-u", "-i", "-p", "-n", "-C", "-r", "-w")


def command_line(instance: Instance, command: Sequence[str]) -> list[str]:
    """Return the command of the machine that runs `command` inside, and kills it at its own end.

    Raises:
        SandboxError: the sandbox is down.
    """
    init = instance.init()
    if init is None:
        start = f"sandbox/sandbox --name {instance.name} up"
        if instance.name == DEFAULT:
            start = "make up"
        raise SandboxError(f"Sandbox {instance.name} is down. Run `{start}` to start it.")
    # Killing nsenter alone would leave its child running inside.
    tied = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    return ["nsenter", "-t", str(init), *_NAMESPACES, "--", *tied]


def environment() -> dict[str, str]:
    """Return the environment of commands inside; it has the terminal's variables only."""
    terminal = {name: os.environ[name] for name in _TERMINAL if name in os.environ}
    return {**_ENVIRONMENT, "TERM": "dumb", **terminal}


def become(instance: Instance, command: Sequence[str]) -> int:
    """Replace this process by `command` inside; return only by an exception."""
    arguments = command_line(instance, command)
    os.execvpe(arguments[0], arguments, environment())  # noqa: S606 - meant to be without a shell


def run(
    instance: Instance, *command: str, stdin: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `command` inside, wait for its end, and capture its output.

    Raises:
        SandboxError: the command failed and `check` is set; the text has its output.
    """
    done = subprocess.run(
        command_line(instance, command),
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise SandboxError(f"`{' '.join(command)}` failed in the sandbox:\n{said}")
    return done
