"""Real sandboxes: they boot, forget, and leave nothing behind, however they end."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import cgroup, inside, lifecycle
from sandbox.instance import MARK, REPO, RUN, STATE, Instance, SandboxError, is_init

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="a sandbox needs root"),
]
SANDBOX = str(Path(__file__).parents[1] / "sandbox")


def traces(instance: Instance) -> list[str]:
    """Return everything that the machine still has of a sandbox."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line for line in mounts if str(instance.run_dir) in line]
    found += [str(pid) for pid in instance.processes()]
    paths = [instance.run_dir, instance.state_dir, RUN / f"{instance.name}.lock"]
    return found + [str(path) for path in [*paths, *cgroup.directories(instance)] if path.exists()]


@pytest.fixture
def instance() -> Iterator[Instance]:
    instance = Instance(f"pytest-{os.getpid()}")
    yield instance
    lifecycle.down(instance)
    assert traces(instance) == []


def test_its_bus_does_not_wait_for_machined(instance: Instance) -> None:
    lifecycle.up(instance)
    inside.run(instance, "systemctl", "start", "dbus.service", "systemd-machined.service")
    # A machined that answers nothing: a bus that asks it stands still.
    inside.run(instance, "systemctl", "kill", "--signal=STOP", "systemd-machined.service")
    inside.run(instance, "systemctl", "kill", "--signal=HUP", "dbus.service")
    greet = ["busctl", "--timeout=5", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus"]
    # The first connection of a user is when the daemon asks for his groups.
    as_games = ["timeout", "10", "setpriv", "--reuid=games", "--clear-groups"]
    inside.run(instance, *as_games, *greet, "GetId")
    inside.run(instance, "systemctl", "kill", "--signal=CONT", "systemd-machined.service")


def test_it_boots_to_a_running_systemd_that_is_not_degraded(instance: Instance) -> None:
    lifecycle.up(instance)
    assert inside.run(instance, "systemctl", "is-system-running").stdout == "running\n"
    names = inside.run(instance, "busctl", "list", "--no-legend").stdout
    assert "org.freedesktop.systemd1" in names


def test_a_second_up_changes_nothing(instance: Instance) -> None:
    lifecycle.up(instance)
    init = instance.init()
    lifecycle.up(instance)
    assert instance.init() == init


def test_what_is_written_inside_does_not_reach_the_machine(instance: Instance) -> None:
    lifecycle.up(instance)
    inside.run(instance, "touch", "/etc/from-the-sandbox", "/usr/from-the-sandbox")
    assert not Path("/etc/from-the-sandbox").exists()
    assert not Path("/usr/from-the-sandbox").exists()


@pytest.mark.long
def test_a_tree_of_any_depth_that_an_agent_left_goes_too(instance: Instance) -> None:
    lifecycle.up(instance)
    dig = "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"
    inside.run(instance, "mkdir", "-p", "/var/lib/hyperhive")
    inside.run(instance, "env", "--chdir=/var/lib/hyperhive", "python3", "-c", dig)
    lifecycle.down(instance)
    assert traces(instance) == []


@pytest.mark.parametrize("victim", ["supervisor", "nspawn", "init", "all"])
def test_a_kill_at_any_point_leaves_nothing_after_down(instance: Instance, victim: str) -> None:
    lifecycle.up(instance)
    processes = {
        "supervisor": [pid for pid in instance.processes() if b"supervisor" in cmdline(pid)],
        "nspawn": [pid for pid in instance.processes() if b"systemd-nspawn" in cmdline(pid)],
        "init": [pid for pid in instance.processes() if is_init(pid)],
        "all": instance.processes(),
    }
    assert processes[victim]
    for pid in processes[victim]:
        os.kill(pid, signal.SIGKILL)
    lifecycle.down(instance)
    assert traces(instance) == []


def test_an_interrupted_up_is_repeated_by_the_next(instance: Instance) -> None:
    booting = subprocess.Popen([SANDBOX, "--name", instance.name, "up"])
    while not instance.processes():
        assert booting.poll() is None
    booting.kill()
    booting.wait()
    lifecycle.up(instance)
    assert inside.run(instance, "true").returncode == 0


@pytest.mark.long
def test_data_survives_a_down_that_keeps_it_and_no_other(instance: Instance) -> None:
    lifecycle.up(instance)
    inside.run(instance, "touch", "/var/lib/hyperhive/kept")
    lifecycle.down(instance, keep=True)
    assert instance.processes() == []
    lifecycle.up(instance)
    inside.run(instance, "test", "-e", "/var/lib/hyperhive/kept")
    lifecycle.down(instance)
    lifecycle.up(instance)
    assert inside.run(instance, "test", "-e", "/var/lib/hyperhive/kept", check=False).returncode


def test_exec_passes_input_output_and_status_and_needs_no_terminal(instance: Instance) -> None:
    lifecycle.up(instance)
    done = subprocess.run(
        [SANDBOX, "--name", instance.name, "exec", "sh", "-c", "cat; exit 7"],
        input="hello",
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout) == (7, "hello")


def test_killing_exec_ends_what_runs_inside(instance: Instance) -> None:
    lifecycle.up(instance)
    command = [SANDBOX, "--name", instance.name, "exec", "sh", "-c", "echo $$; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pid = running.stdout.readline().strip()
        running.kill()
    gone = ["timeout", "10", "tail", f"--pid={pid}", "-f", "/dev/null"]
    assert inside.run(instance, *gone).returncode == 0


@pytest.mark.long
def test_a_chatty_container_does_not_stop_the_sandbox(instance: Instance) -> None:
    """If nobody read systemd-nspawn's reports, PID 1 would block after some hundred messages."""
    lifecycle.up(instance)
    # The limit is for each of them, not for all: how long they take depends on the machine's load.
    reload = "for i in $(seq 200); do timeout 30 systemctl daemon-reload || exit 1; done"
    inside.run(instance, "sh", "-c", reload)
    assert inside.run(instance, "systemctl", "is-system-running").stdout == "running\n"


def test_address_filters_are_enforced(instance: Instance) -> None:
    lifecycle.up(instance)
    connect = "import socket; socket.create_connection(('127.0.0.1', 1), 2)"
    for denied, error in ((False, "ConnectionRefused"), (True, "PermissionError|TimeoutError")):
        options = ["--property=IPAddressDeny=any"] if denied else []
        done = inside.run(
            instance, "systemd-run", "--quiet", "--wait", "--pipe", *options,
            "/usr/bin/python3", "-c", connect, check=False,
        )  # fmt: skip
        assert any(name in done.stderr for name in error.split("|")), done.stderr


def test_a_sandbox_that_is_down_says_how_it_is_started(instance: Instance) -> None:
    with pytest.raises(SandboxError, match="up"):
        inside.run(instance, "true")


@pytest.mark.parametrize("name", ["", "../x", "A", "a" * 32, "-a"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(SandboxError, match="not a valid name of a sandbox"):
        Instance(name)


def cmdline(pid: int) -> bytes:
    return (
        Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0]
        + Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def test_the_mark_is_no_name_of_somebody_else() -> None:
    assert MARK.startswith("HYPERHIVE_")
    assert STATE != RUN


@pytest.mark.long
@pytest.mark.skipif(not (REPO / ".venv").is_dir(), reason="there is no venv: run `make bootstrap`")
def test_a_hive_runs_from_a_checkout_that_only_its_owner_may_read(tmp_path: Path) -> None:
    """Its path has a space, a colon and other letters, as a clone under the umask 077 may have."""
    checkout = tmp_path / "Çok: güzel"
    name = f"pytest-own-{os.getpid()}"
    copy = (
        'umask 077; mkdir "$1"; cd "$1"; (cd "$0"; git ls-files -z | xargs -0 ls -d 2>/dev/null |'
        " tar --create --files-from=-) | tar --extract --no-same-permissions;"
        ' cp -a "$0/.venv" .venv; chmod go= .'
    )
    subprocess.run(["sh", "-c", copy, REPO, checkout], check=True)
    sandbox = [str(checkout / "sandbox/sandbox"), "--name", name]
    ports = ["--dashboard-port=7051", "--model-port=7151"]
    try:
        umask = ["sh", "-c", 'umask 077; exec "$0" "$@"']
        started = subprocess.run(
            [*umask, *sandbox, "hive", *ports, "alice"],
            env=os.environ | {"LC_ALL": "tr_TR.UTF-8"},
            capture_output=True,
            text=True,
        )
        assert started.returncode == 0, started.stdout + started.stderr
        asked = [*sandbox, "exec", "hivectl", "ask", "alice", "What is six times seven?", "--wait"]
        assert "42" in subprocess.run(asked, capture_output=True, text=True).stdout
    finally:
        subprocess.run([*sandbox, "down"], check=True)
