"""The backend nixos, on a host that is like NixOS in what lifecycle meets."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.system.hive import BACKEND, REPO, UNITS, Hive, worker
from tests.system.inside import inside

SUITES = (
    "nixos",
    "nix_builds",
    "nixos_import",
    "containers",
    "verbs",
    "crash",
    "causes",
    "deploy",
    "stopped",
    "sleep",
    "own_network",
    "project_agents",
)
"""The files that hold for both backends."""

nixos = pytest.mark.skipif(BACKEND != "nixos", reason="test_the_suites_hold_with_nixos runs this")


@pytest.fixture
def number() -> Iterator[str]:
    """Return the name of a worker, whose sandbox is removed at the end."""
    name = f"gw{int(worker().removeprefix('gw') or 0) + 50}"
    yield name
    command = [f"{REPO}/sandbox/sandbox", "--name", f"test-{name}", "down"]
    subprocess.run(command, check=True, timeout=120)


@pytest.mark.system
@pytest.mark.long
@pytest.mark.skipif(BACKEND == "nixos", reason="this is the run that it starts")
def test_the_suites_hold_with_nixos(number: str) -> None:
    files = [REPO / f"tests/system/test_{name}.py" for name in SUITES]
    chosen = ["-m", "system or long"]
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    environment = {**os.environ, "HIVE_TEST_BACKEND": "nixos", "PYTEST_XDIST_WORKER": number}
    done = subprocess.run(
        [*command, *files],
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout[-20000:]


@nixos
@pytest.mark.system
def test_the_hosts_units_are_read_only_and_the_containers_are_in_the_store(swarm: Hive) -> None:
    assert swarm.run("touch", "/etc/systemd/system/x", check=False).returncode != 0
    shown = swarm.run("systemctl", "show", "-P", "DropInPaths", "systemd-nspawn@h-alice.service")
    assert shown.stdout.split()[-1].startswith(f"{UNITS}/")
    paths = ("/usr/lib/systemd", "/usr/lib/systemd/systemd", "/nix/store")
    found = [inside(swarm, "alice", "test", "-e", path, check=False).returncode for path in paths]
    assert found[1:] == [1, 0]
    init = inside(swarm, "alice", "readlink", "/proc/1/exe").stdout
    assert init.startswith("/nix/store/")
    units = inside(swarm, "alice", "readlink", "-f", "/etc/systemd/system").stdout
    assert units.startswith("/nix/store/")
    assert inside(swarm, "alice", "touch", "/etc/systemd/system/x", check=False).returncode != 0
    shown = inside(
        swarm, "alice", "systemctl", "show", "-P", "ActiveState", "hive-container.target"
    )
    assert shown.stdout.strip() == "active"


@nixos
@pytest.mark.system
def test_a_drop_in_of_the_template_does_not_win(swarm: Hive) -> None:
    path = "/run/systemd/system/systemd-nspawn@.service.d/overrides.conf"
    swarm.run("install", "-D", "/dev/stdin", path, input="[Service]\nTimeoutStartSec=1234\n")
    try:
        swarm.run("systemctl", "daemon-reload")
        unit = "systemd-nspawn@h-alice.service"
        shown = swarm.run("systemctl", "show", "-P", "TimeoutStartUSec", unit).stdout.strip()
        assert shown == "1min"
    finally:
        swarm.run("rm", path)
        swarm.run("systemctl", "daemon-reload")


@nixos
@pytest.mark.system
def test_an_agent_takes_a_turn(swarm: Hive) -> None:
    asked = ("ask", "alice", "What is six times seven?", "--wait", "120")
    assert swarm.hivectl(*asked, timeout=150).stdout.strip() == "42"


@nixos
@pytest.mark.system
def test_the_hive_starts_again_after_an_installation(swarm: Hive) -> None:
    """pip replaces the script that is mounted over, and the mount ends."""
    script = REPO / ".venv/share/hyperhive/hive-init.sh"
    new = script.with_suffix(".new")
    shutil.copy2(script, new)
    new.replace(script)
    first = ("head", "--lines=1", "/usr/lib/hyperhive/share/hyperhive/hive-init.sh")
    assert swarm.run(*first).stdout == "#!/bin/sh\n", "nothing was lost"
    swarm.start("alice")
    assert swarm.run(*first).stdout.startswith("#!/nix/store/")
    swarm.hivectl("restart", "alice", timeout=120)
    inside(swarm, "alice", "true")
