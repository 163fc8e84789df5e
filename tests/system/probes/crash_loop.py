"""Let systemd restart a container that crashes at once: `crash_loop AGENT STARTS`.

The container of the agent must be stopped. A unit of another name starts it, with the same settings
of systemd-nspawn and of the unit; only its program is /bin/false, and there is no limit of starts.
Prints the number of starts and of those that systemd-nspawn did not reach as JSON.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

TEMPLATE = Path("/usr/lib/systemd/system/systemd-nspawn@.service")
RUNTIME = Path("/run/systemd/system")
PROGRAM = "[Exec]\nBoot=no\nNotifyReady=no\nParameters=/bin/false\n"
REPLACED = ("Boot", "NotifyReady", "Parameters")
OWN = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=0\n"
LEFT_OUT = ("Requires", "After", "PropagatesStopTo", "IPEgressFilterPath")
"""Settings about other units, which belong to the agent's own."""
LONGEST = 1500.0


def systemctl(*arguments: str) -> bool:
    return subprocess.run(["systemctl", "--quiet", *arguments]).returncode == 0


def shown(unit: str) -> tuple[str, int]:
    """Return the state of the unit, and how often systemd has restarted it."""
    show = ["systemctl", "show", "--property=ActiveState,NRestarts", unit]
    lines = subprocess.run(show, stdout=subprocess.PIPE, text=True).stdout.split()
    values = dict(line.split("=") for line in lines)
    return values["ActiveState"], int(values["NRestarts"])


def without(text: str, names: tuple[str, ...]) -> str:
    return re.sub(rf"^({'|'.join(names)})=.*\n", "", text, flags=re.MULTILINE)


def prepare(machine: str) -> str:
    settings = Path("/etc/systemd/nspawn", f"{machine}.nspawn")
    text = without(settings.read_text(), REPLACED).replace("[Exec]\n", PROGRAM)
    settings.write_text(text)
    drop_in = Path(f"/etc/systemd/system/systemd-nspawn@{machine}.service.d/50-hyperhive.conf")
    folder = RUNTIME / f"loop@{machine}.service.d"
    folder.mkdir(parents=True)
    (RUNTIME / "loop@.service").write_text(TEMPLATE.read_text())
    command = without(drop_in.read_text(), LEFT_OUT).replace(" --boot", "")
    (folder / "50-hyperhive.conf").write_text(command)
    (folder / "70-loop.conf").write_text(OWN)
    systemctl("daemon-reload")
    return f"loop@{machine}.service"


def loop(unit: str, wanted: int) -> tuple[int, int]:
    starts = refused = 0
    deadline = time.monotonic() + LONGEST
    while starts < wanted and time.monotonic() < deadline:
        if not systemctl("start", unit):
            refused += 1
            continue
        state, restarts = shown(unit)
        while state not in ("inactive", "failed") and starts + restarts < wanted:
            time.sleep(0.1)
            state, restarts = shown(unit)
        starts += restarts + 1
    return starts, refused


unit = prepare(sys.argv[1])
try:
    starts, refused = loop(unit, int(sys.argv[2]))
finally:
    systemctl("stop", unit)
    subprocess.run(["rm", "-r", RUNTIME / f"{unit}.d", RUNTIME / "loop@.service"], check=True)
    systemctl("daemon-reload")
print(json.dumps({"starts": starts, "refused": refused}))
