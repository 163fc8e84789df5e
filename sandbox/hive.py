"""A running hive in a sandbox, for `make up` and the system tests."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox import inside, lifecycle
from sandbox.instance import DEFAULT, REPO, Instance, SandboxError

AGENTS: Final = ("manager", "alice", "bob")
MODEL_HOST: Final = "127.0.0.1"
"""The address of the model. Only gateways reach it: containers have a loopback of their own."""

_UNITS: Final = "/etc/systemd/system"
_MODEL: Final = "/run/hive-model"
_COPY_MODEL: Final = (
    'rm -rf "$1"; mkdir "$1"; cp -r "$0" "$1"; chmod -R u=rwX,go=rX "$1"; rm -rf "$1"/*/tests'
)
"""Copies the model: a checkout may be below any path, and for its owner only."""
_KEY: Final = "/etc/hyperhive/credentials/gateway/default"
"""The credential of the gateways. No container sees it."""


@dataclass(frozen=True)
class Ports:
    """The ports on which a hive listens; sandboxes share the machine's network."""

    dashboard: int = 7000
    model: int = 7100


def start(instance: Instance, ports: Ports, agents: Sequence[str], *, nixos: bool = False) -> None:
    """Boot `instance`, install the hive, start it, and spawn or start `agents`.

    Skip what is done already.

    Args:
        instance: the sandbox.
        ports: the ports of the hive.
        agents: the agents.
        nixos: whether the containers run a stand-in for a NixOS system, and the units of the host
            cannot be written, as on NixOS.

    Raises:
        SandboxError: a unit failed; the text has its journal.
    """
    with step("the sandbox boots"):
        lifecycle.up(instance)
    with step("units, policies and users are installed"):
        inside.run(instance, *inside.INSTALL)
        if nixos:
            inside.run(instance, "sh", "-c", f"! mountpoint -q {_UNITS} || umount {_UNITS}")
        _configure(instance, ports, _nixos(instance) if nixos else "")
        if nixos:
            inside.run(instance, "mount", "--bind", _UNITS, _UNITS)
            inside.run(instance, "mount", "-o", "remount,bind,ro", _UNITS)
    with step("hive.target starts"):
        outdated = _start_units(instance)
    for agent in agents:
        with step(f"{agent} is up"):
            _ensure_agent(instance, agent, outdated)


def greet(instance: Instance, ports: Ports) -> None:
    """Print the dashboard's address and some commands to try."""
    link = inside.run(instance, "hivectl", "login-link", check=False)
    address = link.stdout.strip() or f"http://127.0.0.1:{ports.dashboard}/"
    run = "sandbox/sandbox exec hivectl"
    if instance.name != DEFAULT:
        run = f"sandbox/sandbox --name {instance.name} exec hivectl"
    print(f"\nThe hive is up. Its dashboard: {address}\n\nTry:")
    print(f'  {run} send manager "ask bob for six times seven" --wait')
    print(f"  {run}")


def _nixos(instance: Instance) -> str:
    """Return the settings for a stand-in for a NixOS system, which is made."""
    toplevel = inside.run(instance, "/usr/bin/python3", f"{REPO}/sandbox/nixos.py").stdout.strip()
    inside.run(instance, "mkdir", "-p", "/run/systemd/nspawn")
    drop_in = (REPO / "services/lifecycle/hive-lifecycle-nixos.conf").read_text()
    _write(instance, f"{_UNITS}/hive-lifecycle.service.d/50-nixos.conf", drop_in)
    return f'backend = "nixos"\ntoplevel = "{toplevel}"\n'


def _configure(instance: Instance, ports: Ports, settings: str = "") -> None:
    key = os.environ.get("ANTHROPIC_API_KEY", "")
    url = f"http://{MODEL_HOST}:{ports.model}"
    model = "" if key else f'[harness]\nscripted_model_url = "{url}"\n\n'
    # The command line names the agents, and `_ensure_agent` restarts them.
    agents = f"[lifecycle]\ncreate_manager = false\nauto_update = false\n{settings}"
    _write(instance, "/etc/hyperhive/hyperhive.toml", model + agents)
    if key:
        _write(instance, _KEY, key, mode="0600")
    _write(instance, f"{_UNITS}/hive-model.service", _text("hive-model.service"))
    inside.run(instance, "sh", "-c", _COPY_MODEL, f"{REPO}/sandbox", _MODEL)
    place = (
        f"[Service]\nWorkingDirectory={_MODEL}\nEnvironment=PYTHONDONTWRITEBYTECODE=1\n"
        f"Environment=MODEL_HOST={MODEL_HOST} MODEL_PORT={ports.model}\n"
    )
    _write(instance, f"{_UNITS}/hive-model.service.d/50-sandbox.conf", place)
    if ports.dashboard != Ports.dashboard:
        listen = f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{ports.dashboard}\n"
        _write(instance, f"{_UNITS}/hive-dashboard.socket.d/50-sandbox.conf", listen)
    inside.run(instance, "systemctl", "daemon-reload")


def _start_units(instance: Instance) -> bool:
    """Start the hive, or restart services of an older version; return whether there were any."""
    running = instance.run_dir / "package"
    stamp = REPO / ".venv/.hyperhive-package"
    installed = stamp.read_text() if stamp.exists() else ""
    outdated = running.exists() and running.read_text() != installed
    inside.run(instance, "systemctl", "reset-failed")
    if outdated:
        services = [unit for unit in _units(instance, "hive-*.service") if "@" not in unit]
        inside.run(instance, "systemctl", "try-restart", *services)
        # The sockets start the endpoints again.
        inside.run(instance, "systemctl", "stop", "hive-agent@*.service", "hive-gateway@*.service")
    inside.run(instance, "systemctl", "start", "hive-model.service", "hive.target")
    running.write_text(installed)
    if failed := _units(instance, "--failed", "hive*"):
        units = [f"--unit={unit}" for unit in failed]
        journal = inside.run(instance, "journalctl", "--lines=20", "--output=cat", *units)
        raise SandboxError(f"{', '.join(failed)} failed:\n{journal.stdout}")
    return outdated


def _units(instance: Instance, *selection: str) -> list[str]:
    listing = ["systemctl", "list-units", "--plain", "--no-legend", *selection]
    return [line.split()[0] for line in inside.run(instance, *listing).stdout.splitlines()]


def _ensure_agent(instance: Instance, agent: str, outdated: bool) -> None:
    agents = json.loads(inside.run(instance, "hivectl", "list", "--json").stdout)
    states = {known["name"]: known["state"] for known in agents}
    if agent not in states:
        inside.run(instance, "hivectl", "spawn", agent)
    elif states[agent] != "running":
        inside.run(instance, "hivectl", "start", agent)
    elif outdated:
        inside.run(instance, "hivectl", "restart", agent)


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def _write(instance: Instance, path: str, text: str, mode: str = "0644") -> None:
    """Write a file inside, with its final mode from the start."""
    inside.run(instance, "install", "-D", "-m", mode, "/dev/stdin", path, stdin=text)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print the step, and the time that it took."""
    began = time.monotonic()
    print(f"  {what} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)
