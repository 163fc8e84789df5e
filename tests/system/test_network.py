"""The addresses that a container with the host's network reaches: listeners on its loopback."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.hosts_network import CONFIG, hosts_network
from tests.system.inside import hivectl, inside, probe, until_active, until_state

pytestmark = pytest.mark.system

HOST, ALLOWED, OTHER = "127.0.0.1", "127.0.0.77", "127.0.0.78"
PORT = 7299

NEW = "203.0.113.77"
"""An address, reserved for documentation, that the host gets and loses."""
WILDCARD = 7298
"""The port of a service that listens at all addresses."""
DNS = 53

LISTEN = f"""
import socket, sys
places = (place.partition("#") for place in sys.argv[1:])
servers = [socket.create_server((host, int(port or {PORT}))) for host, _, port in places]
print("listening", flush=True)
sys.stdin.read()
"""
CONNECT = f"""
import json, socket, sys
def reached(place):
    host, _, port = place.partition("#")
    try:
        socket.create_connection((host, int(port or {PORT})), timeout=2).close()
    except OSError:
        return False
    return True
print(json.dumps([place for place in sys.argv[1:] if reached(place)]))
"""

Configure = Callable[[str], None]


@contextmanager
def listening(hive: Hive, *places: str) -> Iterator[None]:
    """Listen on the host, at addresses or at `ADDRESS#PORT`."""
    listener = hive.popen(PYTHON, "-c", LISTEN, *places)
    with listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        yield
        listener.kill()


@pytest.fixture(scope="module", autouse=True)
def network(swarm: Hive) -> Iterator[None]:
    """Give alice and bob the host's network."""
    with hosts_network(swarm, "alice", "bob"):
        yield


@pytest.fixture(scope="module")
def listeners(swarm: Hive) -> Iterator[Hive]:
    """Listen at three addresses of the hive's host."""
    with listening(swarm, HOST, ALLOWED, OTHER):
        yield swarm


@pytest.fixture
def configure(listeners: Hive) -> Iterator[Configure]:
    """Return a function that adds settings and restarts lifecycle; undo that afterwards."""
    before = listeners.run("cat", CONFIG).stdout

    def write(text: str) -> None:
        listeners.run("sh", "-c", f"cat > {CONFIG}", input=text)
        listeners.run("systemctl", "restart", "hive-lifecycle")

    with ExitStack() as stack:
        stack.callback(write, before)
        yield lambda text: write(f"{before}{text}")


def reached(hive: Hive, agent: str, *addresses: str) -> list[str]:
    """Return which addresses the container reaches; nsenter would not be under its filter."""
    enter = ["systemd-run", f"--machine=h-{agent}", "--wait", "--pipe", "--quiet"]
    done = hive.run(*enter, "/usr/bin/python3", "-c", CONNECT, *addresses, timeout=120)
    return list(json.loads(done.stdout))


def test_the_hosts_loopback_is_not_reached(listeners: Hive) -> None:
    everywhere = listeners.run("/usr/bin/python3", "-c", CONNECT, HOST, ALLOWED, OTHER)
    assert json.loads(everywhere.stdout) == [HOST, ALLOWED, OTHER]
    assert reached(listeners, "alice", HOST, ALLOWED, OTHER) == []
    network = hivectl(listeners, "status", "alice")["network"]
    assert network["filtered"]
    assert network["mode"] == "host"
    assert "localhost" in network["deny"]


@pytest.mark.long
def test_an_agent_is_narrowed_to_a_list_or_opened_while_it_runs(
    listeners: Hive, configure: Configure
) -> None:
    before = [hivectl(listeners, "status", name)["invocation_id"] for name in ("alice", "bob")]
    configure(
        f'[lifecycle.agents.alice]\nnetwork_deny = ["any"]\nnetwork_allow = ["{ALLOWED}"]\n'
        "[lifecycle.agents.bob]\nnetwork_deny = []\n"
    )
    assert reached(listeners, "alice", HOST, ALLOWED, OTHER) == [ALLOWED]
    assert reached(listeners, "bob", HOST, ALLOWED, OTHER) == [HOST, ALLOWED, OTHER]
    shown = hivectl(listeners, "status", "alice")["network"]
    assert shown["deny"] == ["any"]
    assert ALLOWED in shown["allow"]
    assert "all addresses" in listeners.hivectl("status", "bob").stdout
    after = [hivectl(listeners, "status", name)["invocation_id"] for name in ("alice", "bob")]
    assert after == before, "a container was restarted for it"
    listeners.hivectl("restart", "alice", timeout=120)
    assert reached(listeners, "alice", HOST, ALLOWED) == [ALLOWED]


@pytest.mark.long
def test_what_was_opened_is_closed_again(listeners: Hive) -> None:
    for name in ("alice", "bob"):
        assert reached(listeners, name, HOST, ALLOWED, OTHER) == []


def own_addresses(hive: Hive) -> list[str]:
    """Return the IPv4 addresses of the host's interfaces other than the loopback."""
    links = json.loads(hive.run("ip", "-json", "-4", "addr").stdout)
    infos = [info for link in links if link["ifname"] != "lo" for info in link["addr_info"]]
    return [info["local"] for info in infos]


def until_listed(hive: Hive, agent: str, key: str, address: str, *, listed: bool) -> None:
    """Wait until a list of an agent's network has an address, or no more."""
    probe(hive, "until_listed", agent, key, address, str(int(listed)))


def until_denied(hive: Hive, agent: str, address: str, *, denied: bool) -> None:
    """Wait until the filter of an agent denies an address by itself, or no more."""
    until_listed(hive, agent, "deny", address, listed=denied)


@pytest.mark.long
def test_a_service_at_all_addresses_is_not_reached_at_the_hosts_own(swarm: Hive) -> None:
    own = [f"{address}#{WILDCARD}" for address in own_addresses(swarm)]
    new = f"{NEW}#{WILDCARD}"
    assert own, "this machine has no interface but the loopback"
    with listening(swarm, f"0.0.0.0#{WILDCARD}"):
        assert json.loads(swarm.run("/usr/bin/python3", "-c", CONNECT, *own).stdout) == own
        assert reached(swarm, "alice", *own) == []
        before = hivectl(swarm, "status", "alice")["invocation_id"]
        swarm.run("ip", "addr", "add", f"{NEW}/32", "dev", "lo")
        try:
            until_denied(swarm, "alice", NEW, denied=True)
            assert json.loads(swarm.run("/usr/bin/python3", "-c", CONNECT, new).stdout) == [new]
            assert reached(swarm, "alice", new) == []
        finally:
            swarm.run("ip", "addr", "del", f"{NEW}/32", "dev", "lo")
        until_denied(swarm, "alice", NEW, denied=False)
        assert hivectl(swarm, "status", "alice")["invocation_id"] == before


BROADCAST = f"""
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    try:
        sender.sendto(sys.argv[2].encode(), (sys.argv[1], {WILDCARD}))
    except PermissionError:
        print("refused")
"""
HEAR = f"""
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
    service.bind(("", {WILDCARD}))
    print("listening", flush=True)
    print(service.recv(100).decode(), flush=True)
"""


@pytest.mark.parametrize(
    "place", ["255.255.255.255", pytest.param("203.0.113.255", marks=pytest.mark.long)]
)
def test_a_service_at_all_addresses_hears_no_broadcast(swarm: Hive, place: str) -> None:
    send = ("/usr/bin/python3", "-c", BROADCAST, place)
    enter = ("systemd-run", "--machine=h-alice", "--wait", "--pipe", "--quiet")
    swarm.run("ip", "addr", "add", f"{NEW}/24", "dev", "lo")
    try:
        until_denied(swarm, "alice", NEW, denied=True)
        # The entry is told a moment before systemd has the filter; a new container starts with it.
        swarm.hivectl("restart", "alice", timeout=120)
        with swarm.popen(PYTHON, "-c", HEAR) as service:
            assert service.stdout is not None
            assert service.stdout.readline() == "listening\n"
            assert swarm.run(*enter, *send, "of alice").stdout == "refused\n"
            assert swarm.run(*send, "of the host").stdout == ""
            assert service.stdout.readline() == "of the host\n"
    finally:
        swarm.run("ip", "addr", "del", f"{NEW}/24", "dev", "lo")
    until_denied(swarm, "alice", NEW, denied=False)


@pytest.mark.long
def test_a_name_server_is_reached_on_its_port_only(swarm: Hive, configure: Configure) -> None:
    before = swarm.run("cat", "/etc/resolv.conf").stdout
    swarm.run("sh", "-c", f"echo nameserver {OTHER} > /etc/resolv.conf")
    try:
        configure("")  # restarts lifecycle
        with listening(swarm, f"{OTHER}#{DNS}"):
            places = (f"{OTHER}#{DNS}", OTHER)
            assert reached(swarm, "alice", *places) == [f"{OTHER}#{DNS}"]
            network = hivectl(swarm, "status", "alice")["network"]
            assert network["name_servers"] == [OTHER]
            unit = "systemd-nspawn@h-alice.service"
            life = swarm.run("systemctl", "show", "-P", "InvocationID", unit).stdout.strip()
            swarm.run("systemctl", "kill", "--signal=KILL", unit)
            until_active(swarm, unit, life)
            until_state(swarm, "alice", "running")
            assert reached(swarm, "alice", *places) == [f"{OTHER}#{DNS}"]
            configure(f'[lifecycle.agents.alice]\nnetwork_allow = ["{OTHER}"]\n')
            assert reached(swarm, "alice", *places) == list(places)
    finally:
        swarm.run("sh", "-c", "cat > /etc/resolv.conf", input=before)


@pytest.mark.long
def test_name_servers_follow_the_host_while_containers_run(listeners: Hive) -> None:
    swarm = listeners
    before = swarm.run("cat", "/etc/resolv.conf").stdout
    life = hivectl(swarm, "status", "alice")["invocation_id"]
    places = (f"{OTHER}#{DNS}", OTHER)
    with listening(swarm, f"{OTHER}#{DNS}"):
        assert reached(swarm, "alice", *places) == []
        try:
            # As programs do that manage the file: a new one takes its name.
            swarm.run(
                "sh", "-c", f"echo nameserver {OTHER} > /etc/new && mv /etc/new /etc/resolv.conf"
            )
            until_listed(swarm, "alice", "name_servers", OTHER, listed=True)
            assert reached(swarm, "alice", *places) == [f"{OTHER}#{DNS}"]
            inner = inside(swarm, "alice", "cat", "/etc/resolv.conf").stdout
            assert inner == f"nameserver {OTHER}\n"
        finally:
            swarm.run("sh", "-c", "cat > /etc/resolv.conf", input=before)
        until_listed(swarm, "alice", "name_servers", OTHER, listed=False)
        assert reached(swarm, "alice", *places) == []
        assert inside(swarm, "alice", "cat", "/etc/resolv.conf").stdout == before
    assert hivectl(swarm, "status", "alice")["invocation_id"] == life


@pytest.fixture
def unfiltered(listeners: Hive, configure: Configure) -> Iterator[Configure]:
    """Make the host's test of its filter fail."""
    folder = "/run/systemd/system/hive-canfilter.service.d"
    listeners.run("mkdir", "-p", folder)
    listeners.run("sh", "-c", f"printf '[Service]\\nIPAddressDeny=\\n' > {folder}/no.conf")

    def try_again() -> None:
        listeners.run("systemctl", "daemon-reload")
        listeners.run("systemctl", "stop", "hive-canfilter")

    try_again()
    yield configure
    listeners.run("rm", "-r", folder)
    try_again()


@pytest.mark.long
def test_a_host_that_cannot_filter_says_so(listeners: Hive, unfiltered: Configure) -> None:
    unfiltered("require_filter = true\n")  # the file ends within [lifecycle]
    assert not hivectl(listeners, "status", "alice")["network"]["filtered"]
    assert "NOT FILTERED" in listeners.hivectl("status", "alice").stdout
    logged = listeners.run("journalctl", "--unit=hive-lifecycle", "--lines=40", "--output=cat")
    assert "does not filter addresses" in logged.stdout
    assert listeners.run("systemctl", "--failed", "--quiet", "list-units", "hive*").stdout == ""
    refused = listeners.hivectl("restart", "alice", check=False, timeout=120)
    assert refused.returncode == 1
    assert "alice is not started: this host does not filter addresses" in refused.stderr
    assert hivectl(listeners, "status", "alice")["state"] == "stopped"


@pytest.mark.long
def test_it_starts_again_where_the_host_can(listeners: Hive) -> None:
    listeners.hivectl("start", "alice", timeout=120)
    assert reached(listeners, "alice", HOST) == []
    assert hivectl(listeners, "status", "alice")["network"]["filtered"]
