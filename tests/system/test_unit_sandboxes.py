"""Each unit's sandbox, tried out from inside: a probe in the place of the unit's program.

The units are all that the repository has, so that a new one cannot forget a wall.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.hive import Hive
from tests.system.inside import PROBES
from tests.test_units import MOST, UNITS

pytestmark = pytest.mark.system

PROBE = "/run/hive-probe/sandboxed.py"
PREPARE = """
import ctypes, os, socket, sys
libc, librt = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("librt.so.1", use_errno=True)
os.umask(0)
assert libc.shmget(0x68697665, 4096, 0o1000 | 0o666) >= 0
assert librt.mq_open(b"/hive-probe", os.O_RDONLY | os.O_CREAT, 0o666, None) >= 0
open("/dev/shm/hive-probe", "w").close()
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0hive-probe")
listener.listen(100)
print("ready", flush=True)
sys.stdin.read()
libc.shmctl(libc.shmget(0x68697665, 0, 0), 0, None)
librt.mq_unlink(b"/hive-probe")
os.unlink("/dev/shm/hive-probe")
"""


class Unit:
    """The lines of a unit file's [Service] section; a key may be repeated."""

    def __init__(self, path: Path) -> None:
        text = path.read_text().partition("[Service]\n")[2].partition("\n[Install]")[0]
        self.lines = [line for line in text.splitlines() if line and not line.startswith("#")]

    def words(self, key: str) -> list[str]:
        return [
            word
            for line in self.lines
            for word in line.removeprefix(f"{key}=").split()
            if line.startswith(f"{key}=")
        ]

    def is_set(self, key: str) -> bool:
        return self.words(key) == ["yes"]

    @property
    def families(self) -> set[str]:
        """The names of the address families that the unit allows."""
        return set(self.words("RestrictAddressFamilies")) - {"none"}

    @property
    def writable(self) -> set[str]:
        """The directories in which the unit says that it writes."""
        kept = {f"/var/lib/{name}" for name in self.words("StateDirectory")}
        kept |= {f"/run/{name}" for name in self.words("RuntimeDirectory")}
        kept |= {f"/var/cache/{name}" for name in self.words("CacheDirectory")}
        return kept | set(self.words("ReadWritePaths"))

    @property
    def probe(self) -> str:
        """The text of a unit with the same sandbox that runs the probe."""
        replaced = ("Exec", "EnvironmentFile", "Sockets", "Restart", "WatchdogSec", "Type",
                    "SuccessExitStatus", "RestartPreventExitStatus", "RemainAfterExit")  # fmt: skip
        kept = [line for line in self.lines if not line.startswith(replaced)]
        run = ["Type=oneshot", f"ExecStart=/usr/bin/python3 -I {PROBE}"]
        output = ["StandardOutput=truncate:/run/hive-probe/outcome"]
        return "\n".join(["[Service]", *kept, *run, *output, ""]).replace("%i", "alice")


OPEN = f"""[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -I {PROBE}
StandardOutput=truncate:/run/hive-probe/outcome
"""
PROBES_BY_UNIT = {path: f"hive-probe-{path.stem.removesuffix('@')}.service" for path in UNITS}


@pytest.fixture(scope="module")
def shared(swarm: Hive) -> Iterator[Hive]:
    """Make objects on the host that no unit may reach, and a unit with the probe for each unit."""
    texts = {name: Unit(path).probe for path, name in PROBES_BY_UNIT.items()}
    texts = {f"/run/systemd/system/{name}": text for name, text in texts.items()}
    texts["/run/systemd/system/hive-probe-open.service"] = OPEN
    texts[PROBE] = (PROBES / "sandboxed.py").read_text()
    for place, text in texts.items():
        swarm.run("install", "-D", "-m", "644", "/dev/stdin", place, input=text)
    swarm.run("systemctl", "daemon-reload")
    owner = swarm.popen("/usr/bin/python3", "-c", PREPARE)
    assert owner.stdout
    assert owner.stdout.readline() == "ready\n"
    yield swarm
    owner.communicate("", timeout=30)
    swarm.run("rm", "-r", *texts, "/run/hive-probe")
    swarm.run("systemctl", "daemon-reload")


def outcome(hive: Hive, name: str) -> dict[str, Any]:
    """Run a unit with the probe, and return its outcome."""
    done = hive.run("systemctl", "start", name, check=False, timeout=120)
    assert done.returncode == 0, hive.run("journalctl", "-u", name, "-o", "cat").stdout
    found: dict[str, Any] = json.loads(hive.run("cat", "/run/hive-probe/outcome").stdout)
    return found


def test_the_probe_succeeds_without_a_sandbox(shared: Hive) -> None:
    """Otherwise it would show nothing."""
    found = outcome(shared, "hive-probe-open.service")
    assert {
        "io_uring_setup",
        "SysV segment of others",
        "queue of others",
        "file in /dev/shm of others",
        "abstract socket",
        "executable memory",
        "program of a control group",
        "set-user-ID",
        "/run/systemd/system/x.service",
        "/dev/shm/x",
        "/etc/x",
    } <= set(found["succeeded"])
    assert {socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK} <= set(found["families"])
    shared.run(
        "rm", "-f", *(path for path in found["succeeded"] if path.endswith(("/x", "/x.service")))
    )


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_nothing_succeeds_in_the_sandbox_of(shared: Hive, path: Path) -> None:
    unit = Unit(path)
    found = outcome(shared, PROBES_BY_UNIT[path])
    allowed = set()
    if not unit.is_set("PrivateNetwork"):
        allowed.add("abstract socket")
    if not (unit.is_set("RestrictSUIDSGID") or unit.is_set("DynamicUser")):
        allowed.add("set-user-ID")
    assert set(found["succeeded"]) <= allowed
    families = {int(getattr(socket, family)) for family in unit.families}
    assert set(found["families"]) <= families
    temporary = {"/tmp", "/var/tmp"}
    assert set(found["writable"]) - temporary <= unit.writable
    # The unit can do what it is there for.
    assert set(unit.words("StateDirectory")) <= {
        place.removeprefix("/var/lib/") for place in found["writable"]
    }


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_its_exposure_is_low(swarm: Hive, path: Path) -> None:
    name = path.name.replace("@", "@alice")
    done = swarm.run("systemd-analyze", "security", f"--threshold={MOST}", name, check=False)
    assert done.returncode == 0, done.stdout
