"""The process that holds a sandbox: it builds the root, runs systemd-nspawn on it and waits.

`sandbox up` starts it in its own mount namespace, as `python3 -m sandbox.supervisor NAME`. The
supervisor sends READY=1 to NOTIFY_SOCKET when the sandbox has booted, and ends with systemd-nspawn.
"""

import asyncio
import os
import re
import socket
import sys
from pathlib import Path

from sandbox import cgroup, root
from sandbox.instance import MARK, PREFIX, REPO, Instance


def command(instance: Instance, directory: Path, bare: bool) -> list[str]:
    """Return the systemd-nspawn command line that boots `directory`."""
    state = instance.state_dir
    arguments = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={directory}",
        f"--machine=hyperhive-{instance.name}",
        "--register=no",
        "--keep-unit",
        # `interactive` needs a terminal, and `pipe` hangs.
        "--console=read-only",
        "--notify-ready=yes",
        # Both are needed for BPF (IPAddressDeny=) and for nested containers; ptrace for strace.
        "--capability=all",
        # systemd 252 counts Landlock among no group.
        "--system-call-filter=@system-service bpf ptrace process_vm_readv"
        " landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        f"--setenv={MARK}={instance.name}",
        f"--bind-ro={_escaped(REPO)}",
        f"--bind={state}/machines:/var/lib/machines",
        f"--bind={state}/hyperhive:/var/lib/hyperhive",
        f"--bind={state}/journal:/var/log/journal",
    ]
    if not bare and (REPO / ".venv").is_dir():
        arguments.append(f"--bind-ro={_escaped(REPO)}/.venv:{PREFIX}")
    return [*arguments, "--boot", f"systemd.unit={root.TARGET}"]


def _escaped(path: Path) -> str:
    """Return a path as --bind-ro= takes it."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


async def supervise(instance: Instance, bare: bool) -> int:
    """Boot the sandbox, wait for its end, and return systemd-nspawn's exit status."""
    for name in ("machines", "hyperhive", "journal"):
        (instance.state_dir / name).mkdir(parents=True, exist_ok=True)
    (instance.state_dir / "machines").chmod(0o700)
    directory = root.build(instance)
    cgroup.enter(instance)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
        address = instance.run_dir / "notify"
        notify.bind(str(address))
        nspawn = await asyncio.create_subprocess_exec(
            *command(instance, directory, bare),
            stdin=asyncio.subprocess.DEVNULL,
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(address),
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            },
        )
        announcing = asyncio.create_task(announce(instance, notify))
        try:
            return await nspawn.wait()
        finally:
            announcing.cancel()


async def announce(instance: Instance, notify: socket.socket) -> None:
    """Send READY=1 once systemd-nspawn reports it.

    Read until cancelled: if this socket filled up, systemd-nspawn would block, then the init
    inside, then everything.
    """
    init = None
    loop = asyncio.get_running_loop()
    while True:
        message = (await loop.sock_recv(notify, 4096)).decode()
        if found := re.search(r"^X_NSPAWN_LEADER_PID=(\d+)$", message, re.MULTILINE):
            init = int(found[1])
        if init is not None and "READY=1" in message.splitlines():
            instance.set_init(init)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as upstream:
                upstream.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
            init = None


if __name__ == "__main__":
    sys.exit(asyncio.run(supervise(Instance(sys.argv[1]), "--bare" in sys.argv[2:])))
