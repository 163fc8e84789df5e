"""A network of its own: what a container has there, what it does not reach, and its ways out."""

import errno
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.inside import (
    PROBES,
    call,
    configured,
    hivectl,
    inside,
    leader,
    probe,
    reconfigure,
    until_state,
)
from tests.system.sleeping import settings

pytestmark = pytest.mark.system

PORT = 3000
WEB = "/var/lib/hyperhive/web"
SERVE = """
import http.server, os, socket, sys, threading
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[3].encode())
    def log_message(self, *arguments):
        pass
server = Server((sys.argv[1], int(sys.argv[2])), Handler)
# Killing nsenter leaves its child running in the container.
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print("listening", flush=True)
server.serve_forever()
"""
ABSTRACT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    try:
        client.connect("\\0" + sys.argv[1])
    except OSError as error:
        print(type(error).__name__)
    else:
        print("reached")
"""
LISTEN_ABSTRACT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.bind("\\0" + sys.argv[1])
    server.listen()
    print("listening", flush=True)
    sys.stdin.read()
"""
OWNER = """
import fcntl, os, sys
NS_GET_USERNS = 0xb701
pid = sys.argv[1]
net = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
owner = fcntl.ioctl(net, NS_GET_USERNS)
same = os.fstat(owner).st_ino == os.stat(f"/proc/{pid}/ns/user").st_ino
other = os.fstat(net).st_ino != os.stat("/proc/self/ns/net").st_ino
print(same and other)
"""


def as_service(agent: str) -> list[str]:
    """Return the beginning of a command in a container, as a service of its systemd runs it."""
    return ["systemd-run", f"--machine=h-{agent}", "--wait", "--pipe", "--quiet", "--collect"]


def run(hive: Hive, agent: str, *command: str, check: bool = True, **more: Any) -> Any:
    return hive.run(*as_service(agent), *command, check=check, timeout=180, **more)


@contextmanager
def serving(hive: Hive, agent: str, host: str, text: str, port: int = PORT) -> Iterator[None]:
    """Serve a text in a container; an empty name is the host."""
    enter = ["nsenter", "--target", str(leader(hive, agent)), "--all"] if agent else []
    server: subprocess.Popen[str] = hive.popen(
        *enter, "/usr/bin/python3", "-c", SERVE, host, str(port), text
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        yield
        server.communicate(timeout=30)


def fetched(hive: Hive, agent: str, url: str) -> str:
    """Return what a program in the container gets, or nothing."""
    command = ("curl", "-sf", "--noproxy", "*", "--max-time", "10", url)
    return str(run(hive, agent, *command, check=False).stdout)


def test_the_loopback_of_a_container_is_its_own(swarm: Hive) -> None:
    with (
        serving(swarm, "alice", "127.0.0.1", "alice, 4"),
        serving(swarm, "alice", "::1", "alice, 6"),
        serving(swarm, "bob", "127.0.0.1", "bob, 4"),
    ):
        assert fetched(swarm, "alice", f"http://127.0.0.1:{PORT}/") == "alice, 4"
        assert fetched(swarm, "alice", f"http://[::1]:{PORT}/") == "alice, 6"
        assert fetched(swarm, "bob", f"http://127.0.0.1:{PORT}/") == "bob, 4"
        assert fetched(swarm, "bob", f"http://[::1]:{PORT}/") == ""
        on_host = swarm.run(
            "curl", "-sf", "--max-time", "5", f"http://127.0.0.1:{PORT}/", check=False
        )
        assert on_host.returncode != 0, "the host reaches a port of a container"


URLLIB = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode(), end="")
"""


def test_programs_take_no_proxy_to_their_own_servers(swarm: Hive) -> None:
    before = hivectl(swarm, "egress", "alice")
    with serving(swarm, "alice", "::", "alice"):
        for host in ("localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]", "127.0.0.2", "alice"):
            url = f"http://{host}:{PORT}/"
            assert run(swarm, "alice", "curl", "-sS", "--max-time", "10", url).stdout == "alice"
        for host in ("localhost", "127.0.0.1", "0.0.0.0", "alice"):
            command = ("/usr/bin/python3", "-c", URLLIB, f"http://{host}:{PORT}/")
            assert run(swarm, "alice", *command).stdout == "alice"
    assert hivectl(swarm, "egress", "alice") == before
    # urllib does not find it in NO_PROXY.
    command = ("/usr/bin/python3", "-c", URLLIB, f"http://[::1]:{PORT}/")
    assert "HTTP Error 403" in run(swarm, "alice", *command, check=False).stderr
    assert not [one for one in hivectl(swarm, "pending") if one["agent"] == "alice"]


def test_no_listener_of_the_host_is_reached(swarm: Hive) -> None:
    own = swarm.run("hostname", "--all-ip-addresses", check=False).stdout.split()
    dashboard = swarm.ports.dashboard
    assert swarm.run("curl", "-s", f"http://127.0.0.1:{dashboard}/").returncode == 0
    for host in ("127.0.0.1", "localhost", "0.0.0.0", *own):
        shown = f"[{host}]" if ":" in host else host
        assert fetched(swarm, "alice", f"http://{shown}:{dashboard}/") == "", host
    links = json.loads(inside(swarm, "alice", "ip", "-json", "link").stdout)
    assert [link["ifname"] for link in links] == ["lo"]
    assert inside(swarm, "alice", "ls", "/sys/class/net").stdout == "lo\n"
    listening = inside(swarm, "alice", "cat", "/proc/net/tcp", "/proc/net/tcp6", "/proc/net/unix")
    assert f":{dashboard:04X} " not in listening.stdout
    assert "/run/hyperhive/agents/bob/" in swarm.run("cat", "/proc/net/unix").stdout
    assert "/run/hyperhive/agents/bob/" not in listening.stdout


def test_abstract_sockets_of_the_host_and_of_others_are_not_there(swarm: Hive) -> None:
    connect = ("/usr/bin/python3", "-c", ABSTRACT, "hive-test-abstract")
    enter = ["nsenter", "--target", str(leader(swarm, "bob")), "--all"]
    for place in ([], enter):
        listen = (*place, "/usr/bin/python3", "-c", LISTEN_ABSTRACT, "hive-test-abstract")
        with swarm.popen(*listen) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "listening\n"
            assert swarm.run(*place, *connect).stdout == "reached\n"
            assert run(swarm, "alice", *connect).stdout == "ConnectionRefusedError\n"
            listener.communicate(timeout=30)


def test_the_namespace_belongs_to_the_user_namespace(swarm: Hive) -> None:
    """So no right in it is one on the host, and nobody else may enter it."""
    assert swarm.run(PYTHON, "-c", OWNER, str(leader(swarm, "alice"))).stdout == "True\n"


NET_ADMIN = 12
ADMINISTER = """
import json, socket, struct
said = {}
# RTM_NEWLINK of an interface of the kind dummy: IFLA_LINKINFO with IFLA_INFO_KIND.
kind = struct.pack("=HH", 9, 1) + b"dummy" + bytes(3)
info = struct.pack("=HH", 4 + len(kind), 18) + kind
body = struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0) + info
for name, family, message in (
    ("interface", 0, struct.pack("=IHHII", 16 + len(body), 16, 0x605, 1, 0) + body),
    # NFNL_MSG_BATCH_BEGIN
    ("netfilter", 12, struct.pack("=IHHIIBBH", 20, 16, 5, 1, 0, 0, 0, 10)),
):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as link:
        link.sendto(message, (0, 0))
        answer = link.recv(4096)
        said[name] = struct.unpack_from("=i", answer, 16)[0]
print(json.dumps(said))
"""


def test_its_root_cannot_administer_even_its_own_network(swarm: Hive) -> None:
    """Netfilter and traffic control are where many attacks on the kernel begin."""
    status = inside(swarm, "alice", "cat", "/proc/1/status").stdout
    [bounds] = [line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")]
    assert not int(bounds, 16) & 1 << NET_ADMIN
    said = json.loads(run(swarm, "alice", "python3", "-c", ADMINISTER).stdout)
    assert said["interface"] == -errno.EPERM
    assert said["netfilter"] == -errno.EPERM


def test_a_name_is_not_looked_up_in_the_container(swarm: Hive) -> None:
    look = "import socket; socket.getaddrinfo('example.org', 443)"
    done = run(swarm, "alice", "timeout", "10", "/usr/bin/python3", "-c", look, check=False)
    assert "gaierror" in done.stderr


@pytest.mark.long
def test_ports_are_offered_to_the_operator_alone(swarm: Hive) -> None:
    with configured(swarm, "porter", f"ports = [{PORT}]\n", {}):
        socket = f"{WEB}/porter/port-{PORT}.sock"
        ask = ("curl", "-sf", "--max-time", "10", "--unix-socket", socket, "http://porter/")
        with serving(swarm, "porter", "::1", "a preview"):
            assert swarm.run(*ask).stdout == "a preview"
        with serving(swarm, "porter", "127.0.0.1", "another"):
            assert swarm.run(*ask).stdout == "another"
        assert swarm.run(*ask, check=False).returncode != 0
        nobody = swarm.run("runuser", "-u", "nobody", "--", *ask, check=False)
        assert nobody.returncode == 7, "a user of the host reaches a port of an agent"
        reconfigure(swarm, "porter", "ports = []\n")
        assert swarm.run(*ask, check=False).returncode != 0


SECRET = "sk-ant-api03-" + "nowhere-in-a-container-" * 3


@pytest.fixture
def with_key(swarm: Hive) -> Iterator[Hive]:
    """Give the gateways a key for the scripted model."""
    upstream = f'[gateway]\nupstream = "http://127.0.0.1:{swarm.ports.model}"\n'
    folder = "/etc/hyperhive/credentials/gateway"
    swarm.run("install", "-d", "-m", "0700", folder)
    swarm.run("install", "-m", "0600", "/dev/stdin", f"{folder}/default", input=SECRET)
    try:
        with settings(swarm, ("", upstream)):
            swarm.run("systemctl", "stop", "hive-gateway@*.service")
            swarm.hivectl("restart", "alice", timeout=120)
            yield swarm
    finally:
        swarm.run("rm", "-f", f"{folder}/default")
        swarm.run("systemctl", "stop", "hive-gateway@*.service")
        swarm.hivectl("restart", "alice", timeout=120)


@pytest.mark.long
def test_the_key_is_nowhere_in_the_container(with_key: Hive) -> None:
    swarm = with_key
    number = int(hivectl(swarm, "send", "alice", "what is 30 times 3?")["id"])
    swarm.until_message("operator", "message", "90")
    swarm.until_settled(number)
    status = hivectl(swarm, "status", "alice")
    assert (status["credential"], status["logged_in"]) == ("key", True)
    found = probe(swarm, "find_secret", "alice", SECRET, timeout=300)
    assert found["processes"] > 3, "Claude Code was not looked at"
    assert found["files"] > 20
    assert found["places"] == []


@pytest.mark.long
def test_agents_without_credentials_notice_those_of_the_gateway(swarm: Hive) -> None:
    """No agent is restarted for it."""
    folder = "/etc/hyperhive/credentials/gateway/agents"
    model = f'[harness]\nscripted_model_url = "http://127.0.0.1:{swarm.ports.model}"\n'
    with settings(swarm, (model, "")):
        try:
            swarm.hivectl("restart", "bob", timeout=120)
            until_state(swarm, "bob", "needs-login", "TurnState")
            life = hivectl(swarm, "status", "bob")["invocation_id"]
            swarm.run("install", "-d", "-m", "0700", folder)
            swarm.run("install", "-m", "0600", "/dev/stdin", f"{folder}/bob", input=SECRET)
            until_state(swarm, "bob", "idle", "TurnState")
            assert hivectl(swarm, "status", "bob")["invocation_id"] == life
            egress = hivectl(swarm, "status", "bob")["network"]["egress"]
            assert "platform.claude.com:443" not in egress, "who has a key needs no login"
        finally:
            swarm.run("rm", "-f", f"{folder}/bob")
    swarm.hivectl("restart", "bob", timeout=120)


NAME = "forge.hive.test"
OTHER = "other.hive.test"
FORGE = PROBES / "forge.py"
CA = "/state/forge.pem"


class Forge:
    """The servers of the sandbox: a forge, an index, a registry, a mirror."""

    def __init__(self, hive: Hive, root: str, port: int) -> None:
        self.hive, self.root, self.port = hive, root, port

    @property
    def https(self) -> str:
        return f"https://{NAME}:{self.port}"

    @property
    def http(self) -> str:
        return f"http://{NAME}:{self.port + 1}"


@pytest.fixture(scope="module")
def forge(swarm: Hive) -> Iterator[Forge]:
    """Serve on the host, and have an agent that may go there."""
    # Sandboxes share the ports of the machine.
    port = 7400 + 10 * (swarm.ports.dashboard - 7000)
    root = "/srv/forge"
    swarm.run("sh", "-c", f"echo '127.0.0.1 {NAME} {OTHER}' >> /etc/hosts")
    server = swarm.popen(PYTHON, str(FORGE), root, NAME, str(port))
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        certificate = swarm.run("cat", f"{root}/forge.pem").stdout
        places = [
            f"{name}:{number}" for number in range(port, port + 3) for name in (NAME, "127.0.0.1")
        ]
        text = f"egress = {json.dumps(places)}\n"
        with configured(swarm, "fetcher", text, {CA: certificate}):
            yield Forge(swarm, root, port)
        server.kill()


def brought(hive: Hive, name: str, *where: str) -> str:
    """Return the path in the container of a program of this machine; skip the test without one.

    A program that is not below /usr, which containers have, is copied into the agent's /state.

    Args:
        hive: the hive.
        name: the program.
        where: a command that prints the path of the program, for one that is only started by it.
    """
    found = shutil.which(where[0] if where else name)
    if found and where:
        found = subprocess.run(where, capture_output=True, text=True, check=False).stdout.strip()
    if not found:
        pytest.skip(f"there is no {name} on this machine")
    source = Path(found).resolve()
    if source.is_relative_to("/usr"):
        return str(source)
    state = "/var/lib/hyperhive/agents/fetcher/state"
    hive.run("install", "-m", "0755", str(source), f"{state}/{name}")
    return f"/state/{name}"


def test_curl_reaches_an_allowed_name_and_no_other(forge: Forge) -> None:
    hive = forge.hive
    curl = ("curl", "-sS", "--fail", "--cacert", CA, "--max-time", "20")
    assert run(hive, "fetcher", *curl, f"{forge.https}/hello").stdout == "hello\n"
    assert run(hive, "fetcher", *curl, f"{forge.http}/hello").stdout == "hello\n"
    for url in (
        f"https://{OTHER}:{forge.port}/hello",
        f"https://{NAME}:{forge.port + 7}/hello",
        f"http://127.0.0.1:{hive.ports.dashboard}/",
    ):
        done = run(hive, "fetcher", *curl, "--noproxy", "", url, check=False)
        assert done.returncode != 0, url
        assert "403" in done.stderr, url


def test_git_clones_over_https(forge: Forge) -> None:
    clone = f"git -c http.sslCAInfo={CA} clone --quiet {forge.https}/demo.git /tmp/https"
    show = "cat /tmp/https/README"
    done = run(forge.hive, "fetcher", "sh", "-c", f"rm -rf /tmp/https && {clone} && {show}")
    assert done.stdout == "a demo\n"


def test_git_clones_and_pushes_over_ssh(forge: Forge) -> None:
    hive = forge.hive
    key = hive.run("cat", f"{forge.root}/user").stdout
    inside(hive, "fetcher", "sh", "-c", "umask 077; cat > /state/ssh-key", stdin=key)
    host = hive.run("cat", f"{forge.root}/host.pub").stdout
    known = f"[{NAME}]:{forge.port + 2} {host}"
    inside(hive, "fetcher", "sh", "-c", "cat > /state/known-hosts", stdin=known)
    ssh = "ssh -i /state/ssh-key -o UserKnownHostsFile=/state/known-hosts"
    script = f"""
    set -e
    export GIT_SSH_COMMAND="{ssh}" GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t
    export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t
    rm -rf /tmp/ssh
    git clone --quiet ssh://git@{NAME}:{forge.port + 2}{forge.root}/demo.git /tmp/ssh
    cat /tmp/ssh/README
    head --bytes=3000000 /dev/urandom > /tmp/ssh/large
    git -C /tmp/ssh add large
    git -C /tmp/ssh commit --quiet --message=large
    git -C /tmp/ssh push --quiet origin HEAD:refs/heads/ours
    """
    assert run(hive, "fetcher", "sh", "-c", script).stdout == "a demo\n"
    pushed = hive.run("git", "-C", f"{forge.root}/demo.git", "log", "--format=%s", "ours")
    assert pushed.stdout == "large\ndemo\n"
    refused = run(hive, "fetcher", "ssh", "-p", "22", f"root@{OTHER}", check=False)
    assert refused.returncode != 0
    assert f"Hyperhive refused {OTHER}:22 for fetcher" in refused.stderr


def test_pip_installs_a_package(forge: Forge) -> None:
    hive = forge.hive
    if hive.run("/usr/bin/python3", "-m", "pip", "--version", check=False).returncode:
        pytest.skip("the host's Python has no pip")
    pip = f"/usr/bin/python3 -m pip install --quiet --cert {CA} --target /tmp/pip"
    index = f"--index-url {forge.https}/simple hive-demo"
    done = run(hive, "fetcher", "sh", "-c", f"rm -rf /tmp/pip && {pip} {index} && ls /tmp/pip")
    assert "hive_demo.py" in done.stdout.splitlines()


@pytest.mark.long
def test_npm_installs_a_package(forge: Forge) -> None:
    if forge.hive.run("test", "-x", "/usr/bin/npm", check=False).returncode:
        pytest.skip("there is no npm on this machine")
    npm = "npm install --no-audit --no-fund --no-update-notifier --loglevel=error --prefix /tmp/npm"
    source = f"--cafile {CA} --registry {forge.https}/npm/ hive-demo"
    show = "cat /tmp/npm/node_modules/hive-demo/index.js"
    done = run(forge.hive, "fetcher", "env", "HOME=/root", "sh", "-c", f"{npm} {source} && {show}")
    assert "module.exports = 1;" in done.stdout


def test_apt_downloads_packages(forge: Forge) -> None:
    if forge.hive.run("sh", "-c", "command -v apt-get dpkg-deb", check=False).returncode:
        pytest.skip("there is no apt on this machine")
    script = f"""
    set -e
    rm -rf /tmp/apt && mkdir -p /tmp/apt/lists/partial /tmp/apt/cache/archives/partial
    cd /tmp/apt
    echo 'deb [trusted=yes] {forge.http}/apt ./' > sources.list
    touch status
    options="-q -o Dir::Etc::sourcelist=/tmp/apt/sources.list -o Dir::Etc::sourceparts=-
      -o Dir::State=/tmp/apt -o Dir::State::status=/tmp/apt/status -o Dir::Cache=/tmp/apt/cache
      -o APT::Sandbox::User=root -o APT::Architecture=amd64"
    apt-get $options update >&2
    apt-get $options download $(seq --format=hive-demo-%g 8) >&2
    ls *.deb
    """
    done = run(forge.hive, "fetcher", "sh", "-c", script)
    assert done.stdout.splitlines() == [f"hive-demo-{number}_1.0_all.deb" for number in range(1, 9)]


def test_node_fetches(forge: Forge) -> None:
    node = brought(forge.hive, "node")
    version = run(forge.hive, "fetcher", node, "--version").stdout.strip("v\n")
    parts = [int(part) for part in version.split(".")]
    if parts < [22, 21] or [23] <= parts < [24]:
        pytest.skip("this node takes no notice of NODE_USE_ENV_PROXY")
    script = f"fetch('{forge.https}/hello').then(r => r.text()).then(t => console.log(t))"
    command = ("env", f"NODE_EXTRA_CA_CERTS={CA}", node, "-e", script)
    assert run(forge.hive, "fetcher", *command).stdout == "hello\n\n"


def test_uv_installs_a_package(forge: Forge) -> None:
    uv = brought(forge.hive, "uv")
    python = "--python /usr/bin/python3 --no-cache --no-config --target /tmp/uv"
    command = f"{uv} pip install --quiet {python} --index-url {forge.https}/simple hive-demo"
    script = f"rm -rf /tmp/uv && SSL_CERT_FILE={CA} HOME=/root {command} && ls /tmp/uv"
    done = run(forge.hive, "fetcher", "sh", "-c", script)
    assert "hive_demo.py" in done.stdout.splitlines()


def test_cargo_fetches_a_crate(forge: Forge) -> None:
    rustup = ("rustup", "which", "cargo") if shutil.which("rustup") else ()
    cargo = brought(forge.hive, "cargo", *rustup)
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=False).stdout
    # The compiler with its libraries is too large to be copied, and is asked for its version only.
    compiler = f"#!/bin/sh\ncat <<END\n{version}END\n"
    inside(forge.hive, "fetcher", "sh", "-c", "cat > /state/rustc", stdin=compiler)
    inside(forge.hive, "fetcher", "chmod", "755", "/state/rustc")
    script = f"""
    set -e
    rm -rf /tmp/cargo && mkdir -p /tmp/cargo/home /tmp/cargo/src && cd /tmp/cargo
    touch src/lib.rs
    cat > Cargo.toml <<END
    [package]
    name = "ours"
    version = "0.1.0"
    edition = "2021"
    [dependencies]
    hive-demo = "1"
END
    cat > home/config.toml <<END
    [source.crates-io]
    replace-with = "forge"
    [source.forge]
    registry = "sparse+{forge.https}/cargo/"
END
    export CARGO_HOME=/tmp/cargo/home CARGO_HTTP_CAINFO={CA} RUSTC=/state/rustc
    {cargo} vendor --quiet --respect-source-config vendor >&2
    ls vendor
    """
    done = run(forge.hive, "fetcher", "sh", "-c", script)
    assert done.stdout == "hive-demo\n"


def test_go_downloads_a_module(forge: Forge) -> None:
    go = Path(shutil.which("go") or "/none").resolve()
    if not go.is_relative_to("/usr"):
        pytest.skip("there is no go below /usr on this machine")
    script = f"""
    set -e
    rm -rf /tmp/go && mkdir -p /tmp/go && cd /tmp/go
    export HOME=/tmp/go GOPROXY={forge.https}/go GONOSUMDB=hive.test SSL_CERT_FILE={CA}
    {go} mod init ours
    {go} mod download hive.test/demo@v1.0.0
    ls go/pkg/mod/hive.test
    """
    done = run(forge.hive, "fetcher", "sh", "-c", script)
    assert done.stdout == "demo@v1.0.0\n"


@pytest.mark.long
def test_a_refused_name_is_allowed_without_a_restart(forge: Forge) -> None:
    hive, curl = forge.hive, ("curl", "-sS", "--fail", "--cacert", CA, "--max-time", "20", "-k")
    url = f"https://{OTHER}:{forge.port}/hello"
    refused = run(hive, "fetcher", *curl, url, check=False)
    assert refused.returncode != 0
    answer = call(hive, "fetcher", "request_egress", host=OTHER, port=forge.port, reason="a test")
    assert answer["result"]["structuredContent"]["allowed"] is False
    life = hivectl(hive, "status", "fetcher")["invocation_id"]
    before = hivectl(hive, "status", "fetcher")["network"]["egress"]
    text = f"egress = {json.dumps([*before, f'{OTHER}:{forge.port}'])}\n"
    reconfigure(hive, "fetcher", text)
    assert run(hive, "fetcher", *curl, url).stdout == "hello\n"
    assert hivectl(hive, "status", "fetcher")["invocation_id"] == life
    reconfigure(hive, "fetcher", f"egress = {json.dumps(before)}\n")
    assert run(hive, "fetcher", *curl, url, check=False).returncode != 0
    assert hivectl(hive, "status", "fetcher")["invocation_id"] == life


@pytest.mark.long
def test_without_a_way_out_the_model_is_reached_and_nothing_else(forge: Forge) -> None:
    hive = forge.hive
    with configured(hive, "monk", f'network = "none"\negress = ["{NAME}:{forge.port}"]\n', {}):
        assert hivectl(hive, "status", "monk")["network"]["mode"] == "none"
        number = int(hivectl(hive, "send", "monk", "what is 40 times 2?")["id"])
        hive.until_message("operator", "message", "80")
        hive.until_settled(number)
        curl = ("curl", "-sS", "--fail", "-k", "--max-time", "10")
        assert run(hive, "monk", *curl, f"{forge.https}/hello", check=False).returncode != 0
        direct = ("--proxy", "http://127.0.0.1:3128")
        assert (
            run(hive, "monk", *curl, *direct, f"{forge.https}/hello", check=False).returncode != 0
        )


@pytest.mark.long
def test_an_agent_of_an_earlier_version_keeps_the_hosts_network_until_a_deployment(
    swarm: Hive,
) -> None:
    with configured(swarm, "older", "# as usual\n", {}):
        stored = "/var/lib/hyperhive/lifecycle/lifecycle.sqlite"
        update = "update agent set keeps_host = 1, network = 'host' where name = 'older'"
        script = (
            f"import sqlite3; d = sqlite3.connect('{stored}'); d.execute(\"{update}\"); d.commit()"
        )
        swarm.run("systemctl", "stop", "hive-lifecycle")
        swarm.run("/usr/bin/python3", "-c", script)
        swarm.run("systemctl", "start", "hive-lifecycle")
        swarm.hivectl("restart", "older", timeout=120)
        assert hivectl(swarm, "status", "older")["network"]["mode"] == "host"
        assert "until the next deployment" in swarm.hivectl("status", "older").stdout
        reconfigure(swarm, "older", "# another\nmodel = 'm'\n")
        network = hivectl(swarm, "status", "older")["network"]
        assert (network["mode"], network.get("until_deploy")) == ("gateway", False)
        links = json.loads(inside(swarm, "older", "ip", "-json", "link").stdout)
        assert [link["ifname"] for link in links] == ["lo"]


@pytest.mark.long
def test_the_probe_finds_what_is_there(swarm: Hive, tmp_path: Path) -> None:
    """Otherwise a test that finds nothing would say nothing."""
    inside(swarm, "alice", "tee", "/state/planted", stdin=SECRET)
    # Of the type exec, so that it has its environment when the command is over.
    options = ("--unit=sleeper", "--quiet", "--service-type=exec", f"--setenv=SECRET={SECRET}")
    swarm.run(*as_service("alice")[:2], *options, "sleep", "1000")
    try:
        found = probe(swarm, "find_secret", "alice", SECRET, timeout=300)["places"]
        assert any("/state/planted" in place for place in found)
        assert any(place.endswith("/environ") for place in found)
        assert any(place.endswith("/mem") for place in found)
    finally:
        run(swarm, "alice", "systemctl", "stop", "sleeper", check=False)
        inside(swarm, "alice", "rm", "/state/planted")
