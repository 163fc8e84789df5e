"""Deploy a commit as the service approvals does, and wait for the end of the job.

Runs inside the sandbox, as root: `python deploy.py AGENT COMMIT [now]`. Prints the job's result and
note, and how many seconds that took, as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from wire import names
from wire.bus import Bus

UNIT = "hive-approvals.service"


def be_approvals() -> None:
    """Move this process into the unit of approvals: services know callers by their unit."""
    subprocess.run(["systemctl", "start", UNIT], check=True)
    shown = ["systemctl", "show", "--property=ControlGroup", "--value", UNIT]
    group = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()
    Path(f"/sys/fs/cgroup{group}/cgroup.procs").write_text(str(os.getpid()))


async def main(agent: str, commit: str, now: bool) -> None:
    bus = await Bus.connect()
    began = time.monotonic()
    async with (
        asyncio.timeout(90),
        bus.subscribe(sender=names.LIFECYCLE, member="JobRemoved") as ends,
    ):
        job = await bus.call1(
            names.LIFECYCLE,
            names.LIFECYCLE_PATH,
            names.LIFECYCLE,
            "Deploy",
            "ssa{sv}",
            agent,
            commit,
            {"now": now},
        )
        async for end in ends:
            _number, path, _agent, _verb, result, note = end.args
            if path == job:
                break
    print(json.dumps({"result": result, "note": note, "seconds": time.monotonic() - began}))
    await bus.close()


be_approvals()
asyncio.run(main(sys.argv[1], sys.argv[2], "now" in sys.argv[3:]))
