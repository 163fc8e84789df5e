"""The operator's terminal in a real container: who gets one, and what ends with it."""

import json

import pytest

from tests.system.hive import Hive
from tests.system.inside import inside

pytestmark = pytest.mark.system

PYTHON = "/usr/lib/hyperhive/bin/python"
SHELL = """
import json, socket, struct, sys
from wire import web_socket
def frame(kind, data): return struct.pack(">BI", kind, len(data)) + data
try:
    connection = web_socket.connect_terminal("alice")
except Exception as error:
    sys.exit(str(error))
connection.settimeout(30)
typed = sys.argv[1].encode() + b"; exit\\n"
connection.sendall(frame(1, struct.pack(">HH", 40, 132)) + frame(0, typed))
output = b""
while data := connection.recv(4096):
    output += data
print(json.dumps(output.decode()))
"""
KNOCK = """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/hive-web/terminal.sock")
connection.settimeout(30)
try:
    connection.sendall(b"\\1\\0\\0\\0\\4\\0\\30\\0\\120")
    print("got", connection.recv(100))
except ConnectionError:
    print("got b''")
"""
DASHBOARD = ("--reuid=hive-dashboard", "--regid=hive-dashboard", "--clear-groups")
NOBODY = ("--reuid=nobody", "--regid=nogroup", "--clear-groups")


def typed(hive: Hive, text: str, *user: str) -> str:
    """Type a line into a new terminal of alice, as a user of the host; return the output."""
    done = hive.run("setpriv", *user, PYTHON, "-c", SHELL, text, timeout=60)
    output: str = json.loads(done.stdout)
    return output


def test_the_dashboard_gets_a_shell_of_the_containers_root(swarm: Hive) -> None:
    shown = typed(swarm, "id -un; hostname; stty size; echo proxy=$HTTPS_PROXY.", *DASHBOARD)
    for wanted in ("root\r\n", "alice\r\n", "40 132\r\n", "proxy=http://127.0.0.1:"):
        assert wanted in shown, shown
    # The programs that it leaves running end with it.
    typed(swarm, "nohup sleep 4242 >/dev/null 2>&1 & sleep 0.2", *DASHBOARD)
    units = (
        "while systemctl list-units --no-legend 'hive-terminal@*' | grep -q .; do sleep 0.1; done"
    )
    inside(swarm, "alice", "timeout", "30", "sh", "-c", units)
    assert inside(swarm, "alice", "pgrep", "-f", "sleep 424[2]", check=False).returncode == 1


def test_nobody_else_gets_one(swarm: Hive) -> None:
    done = swarm.run("setpriv", *NOBODY, PYTHON, "-c", SHELL, "id", check=False, timeout=60)
    assert "You may not watch agents" in done.stderr
    assert inside(swarm, "alice", "python3", "-c", KNOCK).stdout.strip() == "got b''"
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert inside(swarm, "alice", *other, "python3", "-c", KNOCK).stdout.strip() == "got b''"
