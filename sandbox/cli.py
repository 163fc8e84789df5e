"""The command line of the sandbox."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from sandbox import hive, inside, lifecycle
from sandbox.instance import DEFAULT, REPO, Instance, SandboxError

_DESCRIPTION = """\
A throw-away systemd host: an overlay over this machine's root with a systemd of its own as PID 1.
It uses the machine's network and sees this repository, read-only, at its own path; the
repository's .venv appears at /usr/lib/hyperhive."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status (1 with a sentence on stderr when it fails)."""
    options = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        return _fail("The sandbox needs root: run this with sudo or as root.")
    run: Callable[[Instance, argparse.Namespace], int] = options.run
    try:
        return run(Instance(options.name), options)
    except SandboxError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("Interrupted. The same command goes on from here; `down` removes what there is.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description=_DESCRIPTION)
    parser.add_argument("--name", default=DEFAULT, help="which sandbox (default: hive)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    boot = add("up", _up, "Boot it; returns when it is ready. Nothing to do when it is up already.")
    boot.add_argument("--bare", action="store_true", help="without the venv at /usr/lib/hyperhive")
    start = add("hive", _hive, "Boot it, install the hive in it and start it with some agents.")
    start.add_argument("--dashboard-port", type=int, default=hive.Ports.dashboard)
    start.add_argument("--model-port", type=int, default=hive.Ports.model)
    start.add_argument("agents", nargs="*", help="who should run; default: nobody")
    down = add("down", _down, "End it and remove every trace of it.")
    down.add_argument("--keep", action="store_true", help="keep its data for the next `up`")
    add("install", _install, "Install the venv's units, policies, users and directories in it.")
    execute = add("exec", _exec, "Run a command in it, with this terminal.")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    add("shell", _shell, "Open a shell in it.")
    add("status", _status, "Say whether it is up; exit status 3 when it is not.")
    logs = add("logs", _logs, "Show its journal, or how its boot failed.")
    logs.add_argument("options", nargs=argparse.REMAINDER, help="options for journalctl")
    return parser


def _up(instance: Instance, options: argparse.Namespace) -> int:
    lifecycle.up(instance, bare=options.bare)
    return 0


def _hive(instance: Instance, options: argparse.Namespace) -> int:
    ports = hive.Ports(options.dashboard_port, options.model_port)
    hive.start(instance, ports, options.agents)
    if options.agents:
        hive.greet(instance, ports)
    return 0


def _down(instance: Instance, options: argparse.Namespace) -> int:
    lifecycle.down(instance, keep=options.keep)
    return 0


def _install(instance: Instance, _: argparse.Namespace) -> int:
    return inside.become(instance, ["/usr/bin/python3", f"{REPO}/sandbox/installer.py", "files"])


def _exec(instance: Instance, options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise SandboxError("Say what to run: sandbox exec COMMAND...")
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
            raise SandboxError(f"Sandbox {instance.name} is down and left no log.")
        print(instance.console.read_text(errors="replace"))
        return 0
    return inside.become(instance, ["journalctl", "--no-hostname", *options.options])


def _fail(sentence: str) -> int:
    print(f"sandbox: {sentence}", file=sys.stderr)
    return 1
