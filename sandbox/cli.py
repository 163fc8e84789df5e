"""The command line `sandbox/sandbox`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from sandbox import hive, inside, lifecycle
from sandbox.instance import DEFAULT, Instance, SandboxError

_DESCRIPTION = """\
Run a throw-away systemd host: an overlay over this machine's root, with its own systemd as PID 1.
The host uses the machine's network. Inside, this repository is mounted read-only at the same path,
and its .venv at /usr/lib/hyperhive."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 1, with a sentence on stderr, if it fails."""
    options = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        return _fail("The sandbox needs root. Run this command with sudo or as root.")
    run: Callable[[Instance, argparse.Namespace], int] = options.run
    # The users of the services inside must be able to read what is made here.
    os.umask(0o022)
    try:
        return run(Instance(options.name), options)
    except SandboxError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("Interrupted. Run the same command again to continue, or `down` to clean up.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description=_DESCRIPTION)
    parser.add_argument("--name", default=DEFAULT, help="the sandbox's name (default: hive)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    boot = add("up", _up, "Boot the sandbox, and return when it is ready.")
    boot.add_argument(
        "--bare", action="store_true", help="do not mount the venv at /usr/lib/hyperhive"
    )
    start = add("hive", _hive, "Boot the sandbox, and start a hive inside.")
    for name, what, port in (
        ("dashboard", "dashboard", hive.Ports.dashboard),
        ("model", "scripted model", hive.Ports.model),
    ):
        text = f"the port of the {what} (default: {port})"
        option = f"--{name}-port"
        start.add_argument(option, type=int, default=port, metavar="PORT", help=text)
    start.add_argument(
        "--nixos", action="store_true", help="run a stand-in for a NixOS system in the containers"
    )
    start.add_argument("agents", nargs="*", metavar="AGENT", help="an agent to spawn or start")
    down = add("down", _down, "Stop the sandbox, and remove every trace of it.")
    down.add_argument("--keep", action="store_true", help="keep the data for the next `up`")
    add(
        "install",
        _install,
        "Install the units, policies, users and directories that the venv ships.",
    )
    execute = add("exec", _exec, "Run a command inside, on this terminal.")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    add("shell", _shell, "Open a shell inside.")
    add("status", _status, "Print whether the sandbox is up; exit with status 3 if it is not.")
    logs = add("logs", _logs, "Show the journal, or the console of a boot that failed.")
    logs.add_argument("options", nargs=argparse.REMAINDER, help="options for journalctl")
    return parser


def _up(instance: Instance, options: argparse.Namespace) -> int:
    lifecycle.up(instance, bare=options.bare)
    return 0


def _hive(instance: Instance, options: argparse.Namespace) -> int:
    ports = hive.Ports(options.dashboard_port, options.model_port)
    hive.start(instance, ports, options.agents, nixos=options.nixos)
    if options.agents:
        hive.greet(instance, ports)
    return 0


def _down(instance: Instance, options: argparse.Namespace) -> int:
    lifecycle.down(instance, keep=options.keep)
    return 0


def _install(instance: Instance, _: argparse.Namespace) -> int:
    return inside.become(instance, inside.INSTALL)


def _exec(instance: Instance, options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise SandboxError("The command is missing. Run: sandbox exec COMMAND...")
    return inside.become(instance, command)


def _shell(instance: Instance, _: argparse.Namespace) -> int:
    return inside.become(instance, ["/bin/bash", "-i"])


def _status(instance: Instance, _: argparse.Namespace) -> int:
    if instance.init() is None:
        print(f"sandbox {instance.name} is down")
        return 3
    print(f"sandbox {instance.name} is up", flush=True)
    return inside.become(instance, ["systemctl", "is-system-running"])


def _logs(instance: Instance, options: argparse.Namespace) -> int:
    if instance.init() is None:
        if not instance.console.exists():
            raise SandboxError(f"Sandbox {instance.name} is down, and there is no log of it.")
        print(instance.console.read_text(errors="replace"))
        return 0
    return inside.become(instance, ["journalctl", "--no-hostname", *options.options])


def _fail(sentence: str) -> int:
    print(f"sandbox: {sentence}", file=sys.stderr)
    return 1
