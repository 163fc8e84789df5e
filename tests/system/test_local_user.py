"""A user of the host who is not an operator: not root, and not in the group hive."""

import json
import time
from collections.abc import Callable

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.inside import PROBES, hivectl, inside
from wire import names

pytestmark = pytest.mark.system

NOBODY = ("runuser", "-u", "nobody", "--")

CALLS = [
    ("Broker1", "Send", "ssa{sv}", "manager", "obey", "0"),
    ("Broker1", "ListMessages", "a{sv}u", "0", "10"),
    ("Broker1", "Receive", "uu", "10", "0"),
    ("Broker1", "RegisterAgent", "s", "mallory"),
    ("Lifecycle1", "Spawn", "sa{sv}", "mallory", "0"),
    ("Lifecycle1", "Destroy", "sb", "bob", "true"),
    ("Approvals1", "RequestSpawn", "ssa{sv}", "mallory", "because", "0"),
    ("Approvals1", "Approve", "tsa{sv}", "1", "c" * 40, "0"),
    ("Dashboard1", "LoginLink", "s", "operator"),
    ("Dashboard1", "ListSessions"),
    ("Ledger1", "RecordTurn", "a{sv}", "0"),
    ("Ledger1", "Costs", "a{sv}", "0"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]}.{call[1]}")
def test_calls_are_refused_by_the_bus(swarm: Hive, call: tuple[str, ...]) -> None:
    room, member, *arguments = call
    name, path = f"org.hyperhive.{room}", f"/org/hyperhive/{room}"
    done = swarm.run(*NOBODY, "busctl", "call", name, path, name, member, *arguments, check=False)
    assert done.returncode != 0
    assert "Access denied" in done.stderr


def test_a_container_cannot_stop_machined(swarm: Hive) -> None:
    """machined would open os-release in the container, and wait for a pipe there for ever."""
    machined = "org.freedesktop.machine1"
    path, manager = "/org/freedesktop/machine1", f"{machined}.Manager"
    ask = ("busctl", "--timeout=20", "call", machined, path, manager, "GetMachineOSRelease")
    plant = "mount -t tmpfs none /etc && mkfifo /etc/os-release"
    inside(swarm, "alice", "sh", "-c", plant)
    try:
        for user in (NOBODY, ()):
            done = swarm.run(*user, *ask, "s", "h-alice", check=False)
            assert "Access denied" in done.stderr
        assert "h-alice" in swarm.run("machinectl", "list", "--no-legend", timeout=60).stdout
    finally:
        inside(swarm, "alice", "umount", "/etc")


FLOOD = """
import asyncio, json, sys
from wire import names
from wire.bus import Bus
from wire.errors import HiveError

async def flood(name, answers):
    bus = await Bus.connect()
    path = "/" + name.replace(".", "/")
    for _ in range(12):
        try:
            await bus.call(name, path, names.PEER, "Ping", "s", "x" * 15 * 2**20)
        except HiveError as error:
            answers.add(str(error).split(",")[0])
    await bus.close()

async def main():
    answers = set()
    print("flooding", flush=True)
    await asyncio.gather(*(flood(name, answers) for name in names.SERVICE_UNITS
        for _ in range(2) if name != names.TELEMETRY))  # it does not run
    print(json.dumps(sorted(answers)))

asyncio.run(main())
"""


@pytest.mark.long
def test_large_messages_of_others_reach_no_service(
    swarm: Hive, measured: Callable[[str], None]
) -> None:
    flood = swarm.popen(*NOBODY, PYTHON, "-c", FLOOD)
    assert flood.stdout
    assert flood.stdout.readline() == "flooding\n"
    began = time.monotonic()
    assert hivectl(swarm, "list", timeout=25)
    measured(f"hivectl list while another user floods the bus: {time.monotonic() - began:.2f} s")
    answers, _ = flood.communicate(timeout=120)
    assert json.loads(answers) == ["Rejected send message"], "a service answered"


@pytest.mark.parametrize("name", sorted({*names.SERVICE_UNITS} - {names.TELEMETRY}))
@pytest.mark.parametrize("user", ["nobody", "hive-agents", "hive-build", "hive-notify"])
def test_only_the_operator_introspects(swarm: Hive, user: str, name: str) -> None:
    path = f"/{name.replace('.', '/')}"
    for call in (("introspect", name, path), ("call", name, path, names.PEER, "Ping")):
        done = swarm.run("runuser", "-u", user, "--", "busctl", *call, check=False)
        assert done.returncode != 0
        assert "Access denied" in done.stderr
        assert swarm.run("busctl", *call).returncode == 0
        operator = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=hive", "--")
        assert swarm.run(*operator, "busctl", *call).returncode == 0


def test_hivectl_says_so(swarm: Hive) -> None:
    done = swarm.run(*NOBODY, "hivectl", "list", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("nobody", []),
        ("hive-agents", ["JobRemoved"]),
        # The containers and their invocations, and nothing of other services.
        ("hive-broker", ["InterfacesAdded", "InterfacesRemoved", "PropertiesChanged"]),
    ],
)
def test_who_hears_what_the_hive_does(swarm: Hive, user: str, expected: list[str]) -> None:
    source = (PROBES / "eavesdrop.py").read_text()
    ear = swarm.popen("runuser", "-u", user, "--", PYTHON, "-c", source)
    assert ear.stdout
    assert ear.stdout.readline() == "listening\n"
    swarm.run("hivectl", "send", "operator", "between us")
    swarm.run("hivectl", "restart", "bob", timeout=120)
    heard, _ = ear.communicate(timeout=30)
    assert json.loads(heard) == expected


def test_nothing_of_the_hive_can_be_read_but_its_configuration(swarm: Hive) -> None:
    places = ["/run/hyperhive", "/var/lib/hyperhive", "/etc/hyperhive", "/var/lib/machines"]
    found = swarm.run(
        *NOBODY, "find", *places, "(", "-type", "f", "-o", "-type", "s", ")", "-readable",
        check=False,
    ).stdout.split()  # fmt: skip
    assert found == ["/etc/hyperhive/hyperhive.toml"]
    base = hivectl(swarm, "status", "alice")["uid_base"]
    sockets = swarm.run("stat", "-c", "%u %g %a", "/run/hyperhive/agents/alice").stdout
    assert sockets.split() == ["0", str(base), "750"]


ASK = """
import sys, urllib.error, urllib.request
url, method, *headers = sys.argv[1:]
request = urllib.request.Request(url, method=method, headers=dict(zip(*[iter(headers)] * 2)))
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/login", "GET", [], 200),
        ("/api/state", "GET", [], 401),
        ("/login", "GET", ["Host", "evil.example"], 403),
        ("/login", "POST", ["Origin", "http://evil.example"], 403),
    ],
)
def test_the_dashboard_wants_a_login_and_its_own_name(
    swarm: Hive, path: str, method: str, headers: list[str], status: int
) -> None:
    url = f"http://127.0.0.1:{swarm.ports.dashboard}{path}"
    done = swarm.run(*NOBODY, "python3", "-c", ASK, url, method, *headers)
    assert int(done.stdout) == status
