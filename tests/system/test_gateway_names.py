"""Names that lead where no agent may go, at once or a moment later, and names within TLS."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.system import gateway
from tests.system.hive import Hive
from tests.system.inside import PROBES, hivectl, inside

pytestmark = pytest.mark.system

RAW = (PROBES / "api_raw.py").read_text()
PROXY = "/run/hive/proxy.sock"
PRIVATE = {
    "loopback": ("127.0.0.1",),
    "another-loopback": ("127.9.9.9",),
    "ten": ("10.1.2.3",),
    "twelve-bits": ("172.16.0.1",),
    "sixteen-bits": ("192.168.1.1",),
    "shared": ("100.64.0.1",),
    "metadata": ("169.254.169.254",),
    "unspecified": ("0.0.0.0",),
    "loopback6": ("::1",),
    "mapped": ("::ffff:127.0.0.1",),
    "mapped-ten": ("::ffff:10.0.0.1",),
    "link-local6": ("fe80::1",),
    "unique-local6": ("fd00::1",),
    "teredo": ("2001:0:7f00:1::",),
    "six-to-four": ("2002:7f00:1::",),
    "nat64": ("64:ff9b::7f00:1",),
    "mixed": ("93.184.216.34", "127.0.0.1"),
}
MARK = "hive.test # of the test of names"


@pytest.fixture(scope="module")
def anywhere(swarm: Hive) -> Iterator[Hive]:
    """Let alice go to every name, some of which lead into private networks."""
    lines = [f"{a} {name}.{MARK}" for name, addresses in PRIVATE.items() for a in addresses]
    swarm.run("tee", "-a", "/etc/hosts", input="\n".join([*lines, ""]))
    with gateway.settings(swarm, network="gateway", egress=["*"]):
        yield swarm
    swarm.run("sed", "-i", f"/{MARK}/d", "/etc/hosts")
    for one in hivectl(swarm, "egress", "alice", "--pending"):
        host = f"[{one['host']}]" if ":" in one["host"] else one["host"]
        swarm.hivectl("deny-egress", "alice", f"{host}:{one['port']}")


def asked(hive: Hive, request: str) -> str:
    """Send a request to the proxy; return the answer."""
    text = f"{request} HTTP/1.1\r\nHost: x\r\n\r\n"
    return str(inside(hive, "alice", "python3", "-c", RAW, PROXY, "5", stdin=text).stdout)


@pytest.mark.parametrize("name", PRIVATE)
def test_no_name_leads_into_a_private_network(anywhere: Hive, name: str) -> None:
    for request in (f"CONNECT {name}.hive.test:443", f"GET http://{name}.hive.test/"):
        answer = asked(anywhere, request)
        assert answer.startswith("HTTP/1.1 403 "), answer
        assert "not an address of the public internet" in answer


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "169.254.169.254"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1%25lo]"),
        *("localhost", "LOCALHOST.", "a@127.0.0.1", "127.0.0.1#.example.org"),
    ],
)
def test_no_way_to_write_an_address_leads_to_it(anywhere: Hive, host: str) -> None:
    port = anywhere.ports.dashboard
    with gateway.settings(anywhere, egress=["*", f"*:{port}"]):
        for request in (f"CONNECT {host}:{port}", f"GET http://{host}:{port}/"):
            answer = asked(anywhere, request)
            assert answer.startswith(("HTTP/1.1 403 ", "HTTP/1.1 400 ")), answer


class Names(NamedTuple):
    """The servers of `probes/names.py`."""

    hive: Hive
    net: str
    port: int


@pytest.fixture(scope="module")
def names(swarm: Hive) -> Iterator[Names]:
    """Serve names in place of the host's name server."""
    # Sandboxes share the loopback of the machine.
    number = swarm.ports.dashboard - 7000
    net, port = f"127.0.{20 + number}", gateway.own_port(swarm, 3)
    command = (str(PROBES / "names.py"), "/run/names", net, str(port))
    with swarm.popen("/usr/bin/python3", "-I", *command) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n", server.communicate()
        swarm.run("tee", "/run/names/resolv.conf", input=f"nameserver {net}.53\n")
        swarm.run("mount", "--bind", "/run/names/resolv.conf", "/etc/resolv.conf")
        gateway.stop(swarm)
        try:
            yield Names(swarm, net, port)
        finally:
            swarm.run("umount", "/etc/resolv.conf")
            gateway.stop(swarm)
            server.kill()


def test_the_address_that_was_checked_is_the_one_that_is_connected(names: Names) -> None:
    """The name server gives the address that a rule names, and then another one, in turn."""
    rules = [f"changes.hive.test:{names.port}", f"{names.net}.1:{names.port}"]
    url = f"http://changes.hive.test:{names.port}/"
    with gateway.settings(names.hive, network="gateway", egress=rules):
        answers = [asked(names.hive, f"GET {url}") for _ in range(8)]
    first = [answer.split("\r\n")[0].split(" ")[1] for answer in answers]
    assert set(first) == {"200", "403"}, answers
    assert all(answer.strip().endswith("checked") for answer in answers if " 200 " in answer)
    assert not [answer for answer in answers if "changed" in answer]


TLS = """
import socket, ssl, sys
target, name = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with socket.create_connection(("127.0.0.1", 3128), 20) as client:
    client.sendall(f"CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n".encode())
    print(client.recv(4096).split(b"\\r\\n")[0].decode())
    try:
        with context.wrap_socket(client, server_hostname=name or None) as secret:
            secret.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            answer = b""
            while piece := secret.recv(4096):
                answer += piece
            print(answer.decode())
    except OSError as error:
        print(error)
"""


def test_the_name_within_tls_is_the_one_that_was_allowed(names: Names) -> None:
    port = names.port + 1
    target = f"tls.hive.test:{port}"
    rules = [target, f"other.hive.test:{port}", *(f"{names.net}.{n}:{port}" for n in (1, 2))]
    with gateway.settings(names.hive, network="gateway", egress=rules):

        def said(name: str) -> str:
            # The name server gives the address without a server every other time.
            for _ in range(2):
                found = inside(names.hive, "alice", "python3", "-c", TLS, target, name).stdout
                if "502" not in found:
                    break
            assert found.startswith("HTTP/1.1 200 "), found
            return str(found)

        for name in ("tls.hive.test", "TLS.hive.test"):
            assert said(name).endswith("over TLS\n")
        for name in ("other.hive.test", "", "127.0.0.1", "tls.hive.test.evil.example"):
            found = said(name)
            assert "over TLS" not in found
            assert "UNRECOGNIZED_NAME" in found.upper(), found
