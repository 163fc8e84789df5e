"""Every path that systemd-nspawn opens as root of the host is out of the agents' reach."""

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import leader, probe, until_active

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed"),
]

UNIT = "systemd-nspawn@h-alice.service"
FOLDER = "/run/traced"
# -D: systemd must see systemd-nspawn as the main process.
STRACE = f"strace -D -ff -y -qq -s 4096 -o {FOLDER}/nspawn -e trace=%%file,fchdir,pivot_root,{{}}"
CALLS = "clone,clone3,fork,vfork,unshare,setns,mount"
DROP_IN = f"/run/systemd/system/{UNIT}.d/70-traced.conf"


@pytest.fixture
def traced(swarm: Hive) -> Iterator[Hive]:
    """Trace the systemd-nspawn of alice, from the next start."""
    swarm.hivectl("stop", "alice")
    swarm.run("mkdir", "-m", "1777", FOLDER)
    text = swarm.run("systemctl", "cat", UNIT).stdout
    [*_, command] = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    drop_in = f"[Service]\nExecStart=\nExecStart={STRACE.format(CALLS)} {command}\n"
    swarm.run("install", "-D", "-m", "644", "/dev/stdin", DROP_IN, input=drop_in)
    swarm.run("systemctl", "daemon-reload")
    yield swarm
    swarm.run("rm", "-r", DROP_IN, FOLDER)
    swarm.run("systemctl", "daemon-reload")
    swarm.hivectl("restart", "alice", timeout=120)


@pytest.mark.long
def test_no_agent_could_have_changed_a_path_that_root_opens(traced: Hive) -> None:
    traced.hivectl("start", "alice", timeout=180)
    before = traced.run("systemctl", "show", "-P", "InvocationID", UNIT).stdout.strip()
    traced.run("kill", "-9", str(leader(traced, "alice")))
    until_active(traced, UNIT, before)
    traced.hivectl("stop", "alice", timeout=120)
    seen = probe(traced, "traced_paths", FOLDER)
    assert seen["starts"] == 2
    assert seen["found"] == []
    own = "/var/lib/hyperhive/agents/alice"
    expected = {f"{own}/var", f"{own}/etc", "/var/lib/machines/h-alice", "/usr"}
    assert expected <= set(seen["examined"]), "the trace does not show what was mounted"
