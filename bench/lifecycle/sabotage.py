"""A test of the audit: remains of each kind are made, and taken away again.

`python -m bench.lifecycle.sabotage`, as root in the host. Its last line is JSON: the
sentences of the audit before and after all, and, for each kind, those meanwhile.
"""

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench.lifecycle import audit
from bench.lifecycle.audit import CGROUPS, Fate
from bench.lifecycle.orders import Orders, orders
from services.lifecycle.agents import uid_ranges
from wire import names
from wire.clients.machined import MACHINED, MACHINED_PATH, MANAGER

GHOST: Final = "ghost"
"""An agent that does not exist."""
ALIVE: Final = "alive"
"""An agent that exists."""
MACHINE: Final = names.machine_name(GHOST)
CONTAINER: Final = f"systemd-nspawn@{MACHINE}.service"
SOCKETS: Final = Path("/run/hyperhive/agents") / GHOST
NOBODYS: Final = uid_ranges.FIRST + uid_ranges.SIZE // 2


@contextmanager
def a_mount() -> Iterator[None]:
    where = Path("/mnt") / MACHINE
    where.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "none", str(where))
    try:
        yield
    finally:
        _run("umount", str(where))
        where.rmdir()


@contextmanager
def a_container_unit() -> Iterator[None]:
    own = Path(f"/run/systemd/system/{CONTAINER}")
    own.write_text("[Service]\nExecStart=/bin/sleep infinity\n")
    try:
        with _started(CONTAINER):
            yield
    finally:
        own.unlink()
        _run("systemctl", "daemon-reload")


@contextmanager
def a_socket_unit() -> Iterator[None]:
    with a_folder_of(SOCKETS), _started(names.socket_unit(GHOST)):
        yield


@contextmanager
def an_endpoint() -> Iterator[None]:
    with a_socket_unit(), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(SOCKETS / "mcp.sock"))
        _run("systemctl", "start", names.endpoint_unit(GHOST))  # returns when it is READY
        yield


@contextmanager
def a_process() -> Iterator[None]:
    with subprocess.Popen(["/bin/sleep", "infinity"], user=NOBODYS) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def a_machine() -> Iterator[None]:
    with subprocess.Popen(["/bin/sleep", "infinity"]) as process:
        call = ["busctl", "call", MACHINED, MACHINED_PATH, MANAGER]
        arguments = [MACHINE, "0", "", "container", str(process.pid), ""]
        try:
            _run(*call, "CreateMachine", "sayssusa(sv)", *arguments, "0")
            yield
        finally:
            process.kill()
            # With its last process it may be gone already.
            end = [*call, "TerminateMachine", "s", MACHINE]
            subprocess.run(end, check=False, capture_output=True)


@contextmanager
def a_control_group() -> Iterator[None]:
    group = CGROUPS / "hive.slice/hive-agents.slice" / CONTAINER
    group.mkdir()
    try:
        yield
    finally:
        group.rmdir()


@contextmanager
def a_folder_of(path: Path) -> Iterator[None]:
    path.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(path)


@contextmanager
def a_settings_file() -> Iterator[None]:
    path = Path(f"/etc/systemd/nspawn/{MACHINE}.nspawn")
    path.touch()
    try:
        yield
    finally:
        path.unlink()


FOLDERS: Final = {
    "socket folder": str(SOCKETS),
    "drop-in": f"/etc/systemd/system/{CONTAINER}.d",
    "limits": f"/run/systemd/system.control/{CONTAINER}.d",
    "root": f"/var/lib/machines/{MACHINE}",
    "data": f"/var/lib/hyperhive/agents/{GHOST}/state",
    "build": f"/var/lib/hyperhive/builds/{GHOST}",
}

THINGS: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    "mount": a_mount,
    "container unit": a_container_unit,
    "socket unit": a_socket_unit,
    "endpoint": an_endpoint,
    "process": a_process,
    "machine": a_machine,
    "control group": a_control_group,
    "settings": a_settings_file,
    **{what: partial(a_folder_of, Path(path)) for what, path in FOLDERS.items()},
}


@contextmanager
def _started(unit: str) -> Iterator[None]:
    _run("systemctl", "daemon-reload")
    _run("systemctl", "start", unit)
    try:
        yield
    finally:
        _run("systemctl", "stop", unit)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


async def lies(given: Orders) -> AsyncIterator[tuple[str, list[str]]]:
    """Return the sentences of the audit about an agent that runs although it should not."""
    for fate in (Fate.STOPPED, Fate.KEPT, Fate.GONE):
        yield f"runs, and is said to be {fate}", await audit.wrong(given, {ALIVE: fate})


async def main() -> dict[str, object]:
    """Test all of them, one at a time."""
    said: dict[str, list[str]] = {}
    async with orders() as given:
        await given.spawn(ALIVE)
        fates = {GHOST: Fate.GONE, ALIVE: Fate.RUNNING}
        clean = await audit.wrong(given, fates)
        for what, thing in THINGS.items():
            with thing():
                said[what] = await audit.wrong(given, fates)
        clean += await audit.wrong(given, fates)
        async for what, sentences in lies(given):
            said[what] = sentences
        await given.purge(ALIVE)
        said["is gone, and is said to run"] = await audit.wrong(given, {ALIVE: Fate.RUNNING})
    return {"clean": clean, "said": said}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
