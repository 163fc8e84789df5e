"""Alice tries to use up what the whole host shares, and to reach more of the kernel."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.inside import (
    APPLIED,
    call,
    commit_file,
    configured,
    hivectl,
    inside,
    probe,
    refused,
    until_told,
)

pytestmark = pytest.mark.system

UNIT = "systemd-nspawn@h-alice.service"
GROUP = f"/sys/fs/cgroup/hive.slice/hive-agents.slice/{UNIT}"

SYSTEM_CALLS = """
import ctypes, errno, json, socket
libc = ctypes.CDLL(None, use_errno=True)
FAMILIES = dict(vsock=40, packet=17, alg=38, bluetooth=31, can=29, unix=1, inet=2, netlink=16)
# The numbers of x86-64 and, from 424 on, of every architecture.
CALLS = dict(
    io_uring_setup=425, io_uring_enter=426, bpf=321, userfaultfd=323, add_key=248,
    request_key=249, keyctl=250, perf_event_open=298, fanotify_init=300, io_setup=206,
    open_by_handle_at=304, kexec_load=246, quotactl_fd=443,
)
told = {}
for name, family in FAMILIES.items():
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
        told[name] = "allowed"
    except OSError as error:
        told[name] = errno.errorcode[error.errno]
for name, number in CALLS.items():
    ctypes.set_errno(0)
    libc.syscall(number, 0, 0, 0, 0, 0)
    told[name] = errno.errorcode.get(ctypes.get_errno(), "allowed")
print(json.dumps(told))
"""

INOTIFY = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
taken = 0
while taken < 5000 and libc.inotify_init1(0) >= 0:
    taken += 1
print(taken, flush=True)
sys.stdin.read()
"""

QUEUES = """
import ctypes, sys
libc = ctypes.CDLL("librt.so.1", use_errno=True)
class Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("flags", "most", "size", "now")]
taken = 0
shape = Attributes(0, 10, 8192, 0)
while taken < 64 and libc.mq_open(b"/hive%d" % taken, 0o102, 0o600, ctypes.byref(shape)) >= 0:
    taken += 1
print(taken, flush=True)
sys.stdin.read()
for number in range(taken):
    libc.mq_unlink(b"/hive%d" % number)
"""

PORTS = """
import resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held = []
for _ in range(12_000):
    held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    held[-1].bind(("", 0))
print(len(held), flush=True)
sys.stdin.read()
"""

GROUPS = """
import os
root, made = "/sys/fs/cgroup/test", []
try:
    os.mkdir(root)
    for number in range(3000):
        os.mkdir(f"{root}/{number}")
        made.append(number)
except OSError as error:
    print(os.strerror(error.errno))
finally:
    for number in made:
        os.rmdir(f"{root}/{number}")
    os.rmdir(root)
print(len(made))
"""


def as_agent(agent: str, *command: str) -> list[str]:
    """Return the command that runs `command` under all limits of the container, as its root."""
    return ["systemd-run", f"--machine=h-{agent}", "--wait", "--pipe", "--quiet", "--", *command]


def run(hive: Hive, agent: str, *command: str) -> Any:
    return hive.run(*as_agent(agent, *command), check=False, timeout=120)


def taken_by_alice(hive: Hive, source: str, on_the_host: str) -> tuple[int, str]:
    """Let alice take all she can get; meanwhile run a program on the host.

    Returns:
        How many she got, and what the program on the host printed.
    """
    with hive.popen(*as_agent("alice", "python3", "-c", source)) as holding:
        assert holding.stdout is not None
        assert holding.stdin is not None
        taken = int(holding.stdout.readline())
        told = hive.run(PYTHON, "-c", on_the_host, input="").stdout
        holding.stdin.close()
        holding.wait(60)
    return taken, told


def test_system_calls_and_sockets_that_reach_more_of_the_kernel(swarm: Hive) -> None:
    told = json.loads(run(swarm, "alice", "python3", "-c", SYSTEM_CALLS).stdout)
    assert {name for name, answer in told.items() if answer == "allowed"} == {
        "unix",
        "inet",
        "netlink",
    }
    assert {told[name] for name in ("vsock", "packet", "alg", "can")} == {"EAFNOSUPPORT"}
    # With these errors programs use other system calls.
    assert {told[name] for name in ("io_uring_setup", "io_setup")} == {"ENOSYS"}
    assert told["bpf"] == told["userfaultfd"] == told["keyctl"] == "EPERM"


def test_alice_does_not_use_up_the_hosts_inotify(swarm: Hive) -> None:
    host = int(swarm.run("cat", "/proc/sys/fs/inotify/max_user_instances").stdout)
    taken, left = taken_by_alice(swarm, INOTIFY, INOTIFY.replace("5000", "1"))
    assert taken <= max(32, min(256, host // 16))
    assert left == "1\n"


def test_alice_does_not_use_up_the_hosts_message_queues(swarm: Hive) -> None:
    taken, left = taken_by_alice(swarm, QUEUES, QUEUES.replace("taken < 64", "taken < 1"))
    assert taken >= 1
    assert left == "1\n"


def test_alice_does_not_use_up_the_hosts_control_groups(swarm: Hive) -> None:
    error, made = run(swarm, "alice", "python3", "-c", GROUPS).stdout.splitlines()
    assert error == "Resource temporarily unavailable"
    assert int(made) < 1024


def test_an_agent_uses_up_its_own_ports_only(swarm: Hive) -> None:
    source = PORTS.replace("12_000", "1")
    with swarm.popen(*as_agent("alice", "python3", "-c", PORTS)) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "12000\n"
        used = int(swarm.run("sh", "-c", "awk '/^UDP:/ {print $3}' /proc/1/net/sockstat").stdout)
        assert used < 12_000, "the host counts the sockets of a container"
        assert swarm.run(PYTHON, "-c", source, input="").stdout == "1\n"
        assert holding.stdin is not None
        holding.stdin.close()
        holding.wait(60)


@pytest.fixture
def neighbour(swarm: Hive) -> Iterator[str]:
    """Have an agent with the host's network."""
    with configured(swarm, "neighbour", 'network = "host"\n', {}):
        yield "neighbour"


@pytest.mark.long
def test_the_operator_is_told_before_an_agent_has_all_ports(swarm: Hive, neighbour: str) -> None:
    """Nothing limits the ports of an agent that shares the host's network."""
    take = as_agent(neighbour, "python3", "-c", PORTS)
    with swarm.popen(*take) as one, swarm.popen(*take) as other:
        for holding in (one, other):
            assert holding.stdout is not None
            assert holding.stdout.readline() == "12000\n"
        swarm.hivectl("send", "bob", "hello")  # a turn: lifecycle looks at what is shared
        told = until_told(swarm, "operator", "shared-limit", "UDP sockets")
        for holding in (one, other):
            assert holding.stdin is not None
            holding.stdin.close()
            holding.wait(60)
    assert "28232 ports" in told


RAISE = [
    "mount -o remount,bind,rw /proc/sys; echo 9999 > /proc/sys/user/max_user_namespaces",
    "mount -o remount,bind,rw /proc/sys; echo 9999 > /proc/sys/user/max_inotify_instances",
    "mkdir -p /tmp/p; mount -t proc proc /tmp/p && echo 9 > /tmp/p/sys/user/max_user_namespaces",
    "umount -R /proc/sys && echo 9 > /proc/sys/user/max_user_namespaces",
    "python3 -c 'import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (10**6, 10**6))'",
    "setpriv --inh-caps=+sys_resource --ambient-caps=+sys_resource true",
    f"echo max > {GROUP}/cgroup.max.descendants",
]


@pytest.mark.parametrize("attempt", RAISE)
def test_root_in_the_container_cannot_raise_its_limits(swarm: Hive, attempt: str) -> None:
    answer = run(swarm, "alice", "unshare", "--mount", "sh", "-c", attempt)
    assert answer.returncode != 0, answer.stdout


def test_each_agent_has_limits_without_any_setting(swarm: Hive) -> None:
    wanted = ["LimitNOFILE", "TasksMax", "MemoryMax"]
    shown = swarm.run("systemctl", "show", "--property", ",".join(wanted), UNIT).stdout
    assert dict(line.split("=") for line in shown.split()) == {
        "LimitNOFILE": "65536",
        "TasksMax": "4096",
        "MemoryMax": str(4 * 2**30),
    }
    assert hivectl(swarm, "status", "alice")["resources"]["memory_max"] == 4 * 2**30
    hard = run(swarm, "alice", "sh", "-c", "ulimit -Hn").stdout
    assert int(hard) <= 65536


def test_the_containers_journal_is_bounded(swarm: Hive) -> None:
    shown = inside(swarm, "alice", "systemd-analyze", "cat-config", "systemd/journald.conf").stdout
    assert "\nSystemMaxUse=64M\n" in shown


def test_nspawn_itself_cannot_change_the_host(swarm: Hive) -> None:
    nspawn = swarm.run("systemctl", "show", "--value", "--property=MainPID", UNIT).stdout.strip()
    enter = ["nsenter", f"--mount=/proc/{nspawn}/ns/mnt"]
    for path in ("/etc/x", "/usr/x", "/var/x", "/var/lib/hyperhive/agents/bob/state/x"):
        assert swarm.run(*enter, "touch", path, check=False).returncode != 0, path
    # The host's root owns this file: alice could not write a file of this name afterwards.
    made = "/var/lib/hyperhive/agents/alice/state/made-by-nspawn"
    swarm.run(*enter, "touch", made)
    swarm.run("rm", made)


NAMESPACES = ["unshare --user true", "unshare --net true", "unshare --user --map-root-user true"]
BUBBLEWRAP = (
    "bwrap --ro-bind / / --unshare-all --dev /dev --proc /proc --new-session --die-with-parent "
    "sh -c 'test $(id -u) = 0 && echo sandboxed'"
)


@pytest.mark.parametrize("command", [*NAMESPACES, BUBBLEWRAP])
def test_there_are_no_nested_namespaces(swarm: Hive, command: str) -> None:
    answer = run(swarm, "alice", "sh", "-c", command)
    assert answer.returncode != 0
    assert "sandboxed" not in answer.stdout


@pytest.fixture
def nested(swarm: Hive) -> Iterator[Hive]:
    """Add the agent nest, whose agent.toml asks for nested namespaces."""
    swarm.hivectl("spawn", "nest", timeout=120)
    commit = commit_file(swarm, "nest", "nested = true\n")
    assert probe(swarm, "deploy", "nest", commit)["result"] == "done"
    yield swarm
    swarm.hivectl("destroy", "nest", "--purge", "--yes", timeout=120)
    swarm.run("rm", "-rf", f"{APPLIED}/nest")


@pytest.mark.long
def test_an_agent_that_asks_for_them_has_nested_namespaces(nested: Hive) -> None:
    for command in NAMESPACES[:1] + NAMESPACES[2:]:
        answer = run(nested, "nest", "sh", "-c", command)
        assert answer.returncode == 0, answer.stderr
    if run(nested, "nest", "which", "bwrap").returncode == 0:
        answer = run(nested, "nest", "sh", "-c", BUBBLEWRAP)
        assert answer.stdout == "sandboxed\n", answer.stderr
    # The limits hold in there, too: they are those of all namespaces below together.
    raised = "mount -t tmpfs none /mnt; echo 9999 > /proc/sys/user/max_user_namespaces; "
    many = f"{raised} python3 -c 'import os; [os.unshare(0x10000000) for _ in range(400)]'"
    answer = run(nested, "nest", "unshare", "--user", "--map-root-user", "sh", "-c", many)
    assert answer.returncode != 0
    assert not refused(call(nested, "nest", "list_agents"))
