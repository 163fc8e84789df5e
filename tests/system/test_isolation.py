"""Alice is hostile: she attacks from her container, and through a hijacked endpoint."""

import json

import pytest

from tests.system.hive import Hive
from tests.system.inside import call, hivectl, inside, leader, mcp, probe, refused, until_active

pytestmark = pytest.mark.system


def test_alice_cannot_send_as_bob(swarm: Hive) -> None:
    assert refused(call(swarm, "alice", "send", to="operator", body="x", **{"from": "bob"}))
    assert not refused(call(swarm, "alice", "send", to="operator", body="signed bob"))
    assert hivectl(swarm, "history", "--to", "operator")[-1]["from"] == "alice"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("start", {"name": "bob"}),
        ("kill", {"name": "bob"}),
        ("restart", {"name": "bob"}),
        ("request_spawn", {"name": "mallory", "reason": "more of me"}),
        ("request_apply_commit", {"agent": "alice", "commit": "0123abc", "description": "more"}),
        ("withdraw_request", {"id": 1}),
        ("update", {"name": "bob"}),
        ("approve", {"id": 1}),
    ],
)
def test_alice_cannot_call_lifecycle_or_approvals(
    swarm: Hive, tool: str, arguments: dict[str, object]
) -> None:
    assert refused(mcp(swarm, "alice", calls=[[tool, arguments]])[0])
    assert refused(mcp(swarm, "alice", client="hyperhive-harness", calls=[[tool, arguments]])[0])


def test_alice_cannot_read_bobs_inbox(swarm: Hive) -> None:
    mine = hivectl(swarm, "send", "bob", "for you alone")["id"]
    bobs = {message["id"] for message in hivectl(swarm, "history", "--to", "bob")}
    assert mine in bobs
    answer = call(swarm, "alice", "recv", wait_seconds=0, max=32)
    assert not refused(answer)
    received = {m["id"] for m in answer["result"]["structuredContent"]["messages"]}
    assert received.isdisjoint(bobs)
    asked = [["ack", {"ids": [mine]}]]
    assert refused(mcp(swarm, "alice", client="hyperhive-harness", calls=asked)[0])


def test_a_hijacked_endpoint_has_alices_rights_and_no_more(swarm: Hive) -> None:
    question = hivectl(swarm, "ask", "bob", "may I?")["id"]
    hivectl(swarm, "send", "bob", "from the operator")
    outcome = probe(swarm, "endpoint_attack", "alice", "bob", str(question))
    allowed = {what for what, answer in outcome.items() if answer.startswith("allowed")}
    # Asked for what is not hers, the broker answers with what is hers: nothing.
    if outcome["inbox of another"] == "allowed [[]]":
        allowed.discard("inbox of another")
    assert allowed == {"own inbox"}, outcome
    assert len(outcome) == 30


def test_alice_cannot_reach_the_hosts_etc_home_or_root(swarm: Hive) -> None:
    for place in ("etc", "home", "root", "run", "var/lib"):
        swarm.run("sh", "-c", f"mkdir -p /{place} && echo secret > /{place}/of-the-host")
        answer = inside(swarm, "alice", "cat", f"/{place}/of-the-host", check=False)
        assert answer.returncode != 0, f"alice reads the host's /{place}"
        assert "secret" not in answer.stdout
    shadow = inside(swarm, "alice", "cat", "/etc/shadow", check=False).stdout
    assert shadow != swarm.run("cat", "/etc/shadow").stdout
    assert inside(
        swarm, "alice", "test", "-e", "/etc/hyperhive/hyperhive.toml", check=False
    ).returncode
    # The host's tmpfiles.d makes the same directories in here; what counts is that they are empty.
    find = "find /var/lib/hyperhive /run/hyperhive ! -type d"
    assert swarm.run("sh", "-c", find).stdout != ""
    assert inside(swarm, "alice", "sh", "-c", find, check=False).stdout == ""


def test_the_hosts_bus_is_not_in_the_container(swarm: Hive) -> None:
    # The container may have a bus of its own; nobody of the hive is on it.
    answer = inside(swarm, "alice", "busctl", "list", "--acquired", check=False)
    assert "hyperhive" not in answer.stdout
    connect = "busctl --address=unix:path=/run/dbus/system_bus_socket status org.hyperhive.Broker1"
    assert inside(swarm, "alice", "sh", "-c", connect, check=False).returncode != 0
    assert swarm.run("busctl", "status", "org.hyperhive.Broker1").returncode == 0


def test_alice_cannot_write_what_she_shares_with_the_host(swarm: Hive) -> None:
    for path in ("/usr/bin/x", "/usr/lib/hyperhive/x", "/etc/ssl/x"):
        assert inside(swarm, "alice", "touch", path, check=False).returncode != 0, path
    assert inside(swarm, "alice", "mount", "-o", "remount,rw", "/usr", check=False).returncode != 0


BECOME_ROOT = [
    ("mknod /tmp/disk b 254 0 && head -c1 /tmp/disk", "the host's disk"),
    ("echo 1 > /proc/sys/kernel/sysrq", "a sysctl of the host"),
    ("echo h > /proc/sysrq-trigger", "sysrq"),
    ("echo '|/bin/true' > /proc/sys/kernel/core_pattern", "the core pattern"),
    ("echo 1 > /sys/kernel/uevent_helper", "the uevent helper"),
    ("mount -t debugfs none /mnt", "debugfs"),
    ("mount -o bind /proc/1/root /mnt && cat /mnt/etc/of-the-host", "the host's root"),
    ("nsenter -t 1 -m -- cat /etc/of-the-host", "the host's mount namespace"),
    ("dmesg -C", "the kernel's log"),
]


@pytest.mark.parametrize(("attempt", "what"), BECOME_ROOT, ids=[what for _, what in BECOME_ROOT])
def test_alice_cannot_become_root_on_the_host(swarm: Hive, attempt: str, what: str) -> None:
    answer = inside(swarm, "alice", "sh", "-c", attempt, check=False)
    assert answer.returncode != 0, f"alice got {what}: {answer.stdout}"


def test_root_in_the_container_is_nobody_on_the_host(swarm: Hive) -> None:
    base = hivectl(swarm, "status", "alice")["uid_base"]
    uid = swarm.run("stat", "-c", "%u", f"/proc/{leader(swarm, 'alice')}").stdout.strip()
    assert int(uid) == base >= 65536
    # A setuid file in alice's state belongs to her, not to root, whoever runs it on the host.
    inside(swarm, "alice", "sh", "-c", "cp /usr/bin/id /state/id && chmod 4755 /state/id")
    owner = swarm.run("stat", "-c", "%u %a", "/var/lib/hyperhive/agents/alice/state/id").stdout
    assert owner.split() == [str(base), "4755"]
    assert base != hivectl(swarm, "status", "bob")["uid_base"]


def test_alice_sees_no_process_but_her_own(swarm: Hive) -> None:
    seen = inside(swarm, "alice", "ls", "/proc").stdout.split()
    pid = int(swarm.run("systemctl", "show", "--value", "-p", "MainPID", "hive-broker").stdout)
    inside(swarm, "alice", "kill", "-9", str(pid), check=False)
    assert swarm.run("systemctl", "is-active", "hive-broker").stdout.strip() == "active"
    assert len([name for name in seen if name.isdigit()]) < 40


def test_what_a_link_in_alices_state_points_to_is_left_alone(swarm: Hive) -> None:
    swarm.run("sh", "-c", "echo safe > /etc/of-the-host && chown 0:0 /etc/of-the-host")
    inside(swarm, "alice", "sh", "-c", "ln -sf /etc/of-the-host /state/link")
    swarm.hivectl("restart", "alice", timeout=120)
    owner = swarm.run("stat", "-c", "%u", "/etc/of-the-host").stdout.strip()
    assert (owner, swarm.run("cat", "/etc/of-the-host").stdout) == ("0", "safe\n")


@pytest.mark.long
def test_what_systemd_starts_again_is_not_led_out_by_links(swarm: Hive) -> None:
    """nspawn, as root of the host, gets a container's root ready before it is locked in."""
    swarm.run("mkdir", "-p", "/prey")
    inside(swarm, "alice", "sh", "-c", "rm -rf /var/log/journal && ln -s /prey /var/log/journal")
    unit = "systemd-nspawn@h-alice.service"
    before = swarm.run("systemctl", "show", "-P", "InvocationID", unit).stdout.strip()
    swarm.run("kill", "-9", str(leader(swarm, "alice")))
    until_active(swarm, unit, before)
    assert swarm.run("ls", "/prey").stdout == ""
    inside(swarm, "alice", "sh", "-c", "rm -rf /var/* && ln -s /prey /var/log")
    inside(swarm, "alice", "sh", "-c", "umount /root/.claude && rmdir /root/.claude")
    inside(swarm, "alice", "ln", "-s", "/prey", "/root/.claude")
    swarm.run("kill", "-9", str(leader(swarm, "alice")))
    swarm.hivectl("restart", "alice", timeout=120)
    assert swarm.run("ls", "/prey").stdout == ""
    assert inside(swarm, "alice", "test", "-d", "/var/log").returncode == 0
    assert inside(swarm, "alice", "mountpoint", "/root/.claude").returncode == 0


@pytest.mark.long
def test_alice_owns_nothing_of_her_root(swarm: Hive) -> None:
    for attempt in ("touch /x", "chmod 777 /", "mv /etc /x", "touch /etc/x", "chmod 777 /etc"):
        answer = inside(swarm, "alice", "sh", "-c", attempt, check=False)
        assert "Read-only file system" in answer.stderr, attempt
    for remount in ("rw,bind /etc", "rw /etc", "rw,bind /usr"):
        answer = inside(swarm, "alice", "sh", "-c", f"mount -o remount,{remount}", check=False)
        assert answer.returncode != 0, remount
    inside(swarm, "alice", "touch", "/home/x", "/opt/x", "/root/x", "/srv/x", "/var/x", "/state/x")
    # Her own view of / is hers; the template on the host is not.
    inside(swarm, "alice", "mount", "-o", "remount,bind,rw", "/")
    inside(swarm, "alice", "sh", "-c", "rm -f /bin /lib64.x && ln -s /prey /lib64.x && touch /x")
    swarm.hivectl("restart", "alice", timeout=120)
    find = "find /var/lib/machines/h-alice /var/lib/hyperhive/agents/alice/etc ! -user root"
    assert swarm.run("sh", "-c", find).stdout == ""
    assert inside(swarm, "alice", "test", "-e", "/x", check=False).returncode
    assert inside(swarm, "alice", "test", "-e", "/home/x", check=False).returncode == 0


def test_alice_cannot_fill_the_hosts_run(swarm: Hive) -> None:
    for attempt in ("touch /run/hive/x", "rm /run/hive/mcp.sock", "mount -o remount,rw /run/hive"):
        assert inside(swarm, "alice", "sh", "-c", attempt, check=False).returncode != 0, attempt
    assert not refused(call(swarm, "alice", "list_agents"))


def test_alices_console_is_no_emergency_of_the_host(swarm: Hive) -> None:
    inside(swarm, "alice", "sh", "-c", "echo '<0>the house is on fire' > /dev/console")
    unit = "_SYSTEMD_UNIT=systemd-nspawn@h-alice.service"
    follow = ["journalctl", "--follow", "--lines=all", "--output=json", unit]
    source = f"{' '.join(follow)} | grep --max-count=1 'on fire'"
    line = json.loads(swarm.run("timeout", "20", "bash", "-c", source).stdout)
    assert int(line["PRIORITY"]) >= 5
    # Nor so many lines that others are lost; with much free space journald takes six times
    # the limit.
    inside(swarm, "alice", "sh", "-c", "seq -f 'flood %g' 20000 > /dev/console")
    written = swarm.run("sh", "-c", f"journalctl {unit} --grep=flood -q | wc -l").stdout
    assert int(written) < 8000


@pytest.mark.long
def test_a_deep_tree_of_alices_is_purged(swarm: Hive) -> None:
    swarm.hivectl("spawn", "deep", timeout=120)
    dig = "import os\nos.chdir('/state')\nfor _ in range(5000): os.mkdir('d'); os.chdir('d')"
    inside(swarm, "deep", "python3", "-c", dig)
    inside(swarm, "deep", "mkfifo", "/state/fifo")
    swarm.hivectl("destroy", "deep", "--purge", "--yes", timeout=120)
    assert swarm.run("test", "-e", "/var/lib/hyperhive/agents/deep", check=False).returncode


def test_the_operators_terminal_is_not_alices(swarm: Hive) -> None:
    body = "\x1b]0;owned\x07\x1b[2J\u202egood"
    assert not refused(call(swarm, "alice", "send", to="operator", body=body))
    shown = swarm.hivectl("history", "--from", "alice", "--limit", "1").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert json.loads(swarm.hivectl("history", "--from", "alice", "--json").stdout)
