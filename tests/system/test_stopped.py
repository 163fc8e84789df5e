"""A stop is the operator's: only root starts what root has stopped, and hivectl says so."""

import time
from collections.abc import Iterator

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import hivectl, until_state
from wire import names

pytestmark = pytest.mark.system

NOBODY = ("runuser", "-u", "nobody", "--")
DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
UNITS = [*names.SERVICE_UNITS.values(), "hive-*.socket"]


@pytest.fixture
def stopped(swarm: Hive) -> Iterator[Hive]:
    """Stop the hive, and start it again afterwards."""
    swarm.run("systemctl", "stop", "hive.target", timeout=120)
    # The target is inactive first: wait for the others, whose jobs have begun.
    swarm.run(
        "systemctl",
        "stop",
        *UNITS,
        "hive-agent@*",
        "hive-gateway@*",
        "systemd-nspawn@*",
        timeout=120,
    )
    yield swarm
    swarm.run("systemctl", "start", "hive.target", timeout=120)
    for agent in ("manager", "alice", "bob"):
        until_state(swarm, agent, "running")


def start_by_name(hive: Hive, *user: str) -> None:
    """Ask the bus to start each service, and call each."""
    for name in names.SERVICE_UNITS:
        path = f"/{name.replace('.', '/')}"
        for call in (
            ("--timeout=5", "call", *DAEMON, "StartServiceByName", "su", name, "0"),
            ("--timeout=5", "call", name, path, names.PEER, "Ping"),
        ):
            done = hive.run(*user, "busctl", *call, check=False)
            assert done.returncode != 0, (name, done.stdout)


def active(hive: Hive, *units: str) -> list[str]:
    """Return which of the units are active or about to be."""
    states = "--state=active,activating,deactivating,reloading"
    listing = ["systemctl", "list-units", "--plain", "--no-legend", states, *units]
    return [line.split()[0] for line in hive.run(*listing).stdout.splitlines()]


def test_a_single_service_stays_stopped_too(swarm: Hive) -> None:
    swarm.run("systemctl", "stop", "hive-approvals")
    try:
        start = ("busctl", "call", *DAEMON, "StartServiceByName", "su", names.APPROVALS, "0")
        assert swarm.run(*NOBODY, *start, check=False).returncode != 0
        done = swarm.hivectl("pending", check=False)
        assert done.returncode == Exit.UNAVAILABLE
        assert "Start it with: systemctl start hive-approvals.service" in done.stderr
        assert active(swarm, "hive-approvals.service") == []
        assert hivectl(swarm, "list"), "the others go on"
    finally:
        swarm.run("systemctl", "start", "hive-approvals")


@pytest.mark.parametrize("number", ["KILL", pytest.param("TERM", marks=pytest.mark.long)])
@pytest.mark.parametrize("service", ["broker", "lifecycle", "approvals", "dashboard"])
def test_a_service_that_ended_is_there_for_the_next_call(
    swarm: Hive, service: str, number: str
) -> None:
    calls = {"broker": "history", "lifecycle": "list", "approvals": "pending"}
    unit = f"hive-{service}.service"
    before = swarm.run("systemctl", "show", "-P", "InvocationID", unit).stdout
    # Wait for its end: a service that is stopping refuses calls.
    kill = f"p=$(systemctl show -P MainPID {unit}); kill -{number} $p; tail -s 0.05 --pid=$p -f"
    swarm.run("sh", "-c", kill)
    swarm.hivectl(calls.get(service, "login-link"), timeout=60)
    swarm.run("systemctl", "start", unit)
    assert swarm.run("systemctl", "show", "-P", "InvocationID", unit).stdout != before


@pytest.mark.long
def test_a_stopped_hive_stays_stopped_and_hivectl_says_so(stopped: Hive) -> None:
    start_by_name(stopped, *NOBODY)
    start_by_name(stopped)  # root: a call is no order to start
    port = str(stopped.ports.dashboard)
    connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    assert stopped.run(*NOBODY, "python3", "-c", connect, check=False).returncode != 0
    for command in ("list", "inbox", "pending", "login-link"):
        began = time.monotonic()
        done = stopped.run("hivectl", command, check=False)
        assert time.monotonic() - began < 15, "the bus waits 25 s for a service to start"
        assert (done.returncode, done.stdout) == (Exit.UNAVAILABLE, "")
        sentence = "The hive is stopped. Start it with: systemctl start hive.target"
        assert done.stderr == f"hivectl: {sentence}\n"
    assert active(stopped, *UNITS, "systemd-nspawn@h*", "hive-agent@*", "hive-gateway@*") == []
    assert stopped.run("systemctl", "list-jobs", "--no-legend").stdout == ""
