"""The import of containers of nixos-container: its steps, in their order, and what is refused.

A stand-in takes the place of the tool that copies; tests/system/test_nixos_import.py has the real
one.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import TIME_LIMIT, Hivectl
from hivectl.tests.fake_hive import FakeHive
from wire.errors import Conflict, HiveError, InvalidArgument, LimitExceeded, Timeout
from wire.records.lifecycle import JobResult, Tombstone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an import needs root")

BASE = 655360
KEY = "sk-ant-" + "k" * 20
TOOL = """#!/bin/sh
echo "tool $*" >> {folder}/log
cat {folder}/$1.json
test ! -e {folder}/$1.err || {{ cat {folder}/$1.err >&2; exit 8; }}
"""
SYSTEMCTL = """#!/bin/sh
case $1 in
show) cat {folder}/state ;;
stop) echo "$*" >> {folder}/log; echo inactive > {folder}/state ;;
esac
"""
LOOK = {
    "agent": "dora",
    "container": "h-dora",
    "parts": [{"name": "state", "source": "/srv/x\u202e", "entries": 3, "bytes": 8192}],
    "history": "/srv/applied/dora",
    "login": True,
    "key": False,
    "left_out": ["/srv/x/pipe: a pipe"],
    "left_out_count": 2,
    "unused": [{"source": "/srv/shared", "target": "/shared"}],
}


class Host:
    """The tool and systemctl, which answer what the test says, and the log of their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (("tool", TOOL), ("systemctl", SYSTEMCTL)):
            (folder / name).write_text(text.format(folder=folder))
            (folder / name).chmod(0o755)
        (folder / "state").write_text("active\n")
        self.answers("list", [])
        self.status("missing")
        self.answers("look", LOOK)
        self.answers("copy", {"key": ""})
        self.answers("publish", {"status": "unfinished", "base": BASE, "history": True})
        self.answers("finish", None)

    def answers(self, verb: str, result: Any) -> None:
        (self.folder / f"{verb}.json").write_text(json.dumps({"result": result}) + "\n")

    def status(self, status: str, history: bool = True) -> None:
        self.answers("status", {"status": status, "base": BASE, "history": history})

    def fails(self, verb: str, sentence: str) -> None:
        (self.folder / f"{verb}.json").write_text("")
        (self.folder / f"{verb}.err").write_text(sentence)

    @property
    def log(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def host(tmp_path: Path, environment: dict[str, str]) -> Host:
    environment |= {
        "WEB_DIRECTORY": str(tmp_path),
        "IMPORT_TOOL": str(tmp_path / "tool"),
        "GATEWAY_DIRECTORY": str(tmp_path / "gateway"),
        "PATH": f"{tmp_path}:{environment['PATH']}",
    }
    return Host(tmp_path)


STEPS = [
    "tool status dora",
    "tool look dora",
    "stop container@h-dora.service",
    "tool copy dora",
    "tool publish dora",
    "tool finish dora",
]


async def test_an_import_does_its_steps_in_their_order(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    before: list[list[str]] = []
    hive.lifecycle.on_job = lambda: before.append(host.log)
    ran = await hivectl("import-nixos", "dora", "--yes")
    assert ran.code == 0
    assert ran.err.startswith("dora from the container h-dora, which runs, and is stopped first\n")
    assert ran.out.startswith("dora is imported and runs\n  its history has 2 branches and tags: ")
    assert host.log == STEPS
    assert before == [STEPS[:-1]], "the files are in their place when the agent is spawned"
    assert hive.lifecycle.calls == [("spawn", "dora")]
    assert hive.approvals.calls == [("import history", "dora")]


async def test_the_result_for_programs(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    ran = await hivectl("import-nixos", "dora", "--yes", "--json")
    assert ran.json == {
        "agent": "dora",
        "imported": True,
        "login": True,
        "key": False,
        "left_out_count": 2,
        "history": ["heads/main", "tags/deployed/3"],
    }


async def test_a_dry_run_changes_nothing(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    ran = await hivectl("import-nixos", "dora", "--dry-run")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "dora from the container h-dora, which runs, and is stopped first",
        "PART   ENTRIES     SIZE  FROM",
        "state        3  8.0 KiB  /srv/x<U+202E>",
        "login: an account (do not start the old container again: it has the same login)",
        "history: /srv/applied/dora",
        "left out: 2",
        "  /srv/x/pipe: a pipe",
        "  …",
        "not taken over: /shared, from /srv/shared",
    ]
    assert (await hivectl("import-nixos", "dora", "--dry-run", "--json")).json == {
        **LOOK,
        "running": True,
    }
    assert host.log == ["tool status dora", "tool look dora"] * 2
    assert (hive.lifecycle.calls, hive.approvals.calls) == ([], [])


async def test_without_a_terminal_it_needs_a_yes(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    ran = await hivectl("import-nixos", "dora")
    assert ran.code == Exit.USAGE
    assert "dora from the container h-dora" in ran.err
    assert ran.err.endswith("there is no terminal. Give --yes.\n")
    assert host.log == STEPS[:2]


async def test_the_places_reach_the_tool(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    options = ("--state", "/s", "--claude", "/c", "--history", "/h")
    moved = ("--moved", "/a", "/b", "--moved", "/c", "/d")
    assert (await hivectl("import-nixos", "dora", "--dry-run", *options, *moved)).code == 0
    expected = "--state=/s --claude=/c --history=/h --moved /a /b --moved /c /d"
    assert host.log[-1] == f"tool look dora {expected}"


async def test_a_refusal_of_the_tool_is_shown(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    host.fails("look", "The files of dora take 17 MiB.")
    ran = await hivectl("import-nixos", "dora", "--yes")
    assert (ran.code, ran.err) == (Exit.LIMIT, "hivectl: The files of dora take 17 MiB.\n")
    assert host.log == STEPS[:2]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("alice", "other", "`hivectl destroy --purge alice`"),
        ("carol", "other", "The data of a destroyed agent carol are kept."),
        ("carol", "unfinished", "The data of a destroyed agent carol are kept."),
        ("dora", "finished", "The data of a destroyed agent dora are kept."),
        ("dora", "other", "does not belong to an agent of this hive"),
    ],
)
async def test_files_of_others_are_not_replaced(
    hive: FakeHive, hivectl: Hivectl, host: Host, name: str, status: str, words: str
) -> None:
    host.status(status)
    for option in ("--yes", "--dry-run"):
        ran = await hivectl("import-nixos", name, option)
        assert ran.code == Exit.CONFLICT
        assert words in ran.err
        assert ran.err.endswith("Nothing was done.\n")
    assert host.log == [f"tool status {name}"] * 2


async def test_an_agent_that_is_imported_already_is_left_alone(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    host.status("finished", history=False)
    ran = await hivectl("import-nixos", "alice", "--yes")
    assert (ran.code, ran.out) == (0, "alice is imported already\n")
    assert host.log == ["tool status alice"]


async def test_a_history_that_is_given_later_is_imported_alone(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    host.status("finished", history=False)
    host.answers("history", {"status": "finished", "base": BASE, "history": True})
    options = ("alice", "--history", "/corrected")
    dry = await hivectl("import-nixos", *options, "--dry-run")
    assert dry.out == "alice is imported already; its history would come from /corrected\n"
    ran = await hivectl("import-nixos", *options, "--json")
    assert ran.json == {
        "agent": "alice",
        "imported": False,
        "history": ["heads/main", "tags/deployed/3"],
    }
    verbs = ("status", "status", "history", "finish")
    assert host.log == [f"tool {verb} alice --history=/corrected" for verb in verbs]
    assert hive.approvals.calls == [("import history", "alice")]
    assert hive.lifecycle.calls == []


async def test_a_later_history_that_is_refused_is_an_error(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    host.status("finished", history=False)
    host.answers("history", {"status": "finished", "base": BASE, "history": True})
    hive.approvals.history_error = LimitExceeded("It adds 21 MiB.")
    ran = await hivectl("import-nixos", "alice", "--history", "/large")
    assert ran.code == Exit.LIMIT
    assert ran.err.endswith("hivectl: It adds 21 MiB.\n")
    assert host.log[-1] == "tool finish alice --history=/large", "no copy is left"


@pytest.mark.parametrize("error", [Conflict, InvalidArgument, LimitExceeded])
async def test_an_import_ends_without_a_history_that_is_refused(
    hive: FakeHive, hivectl: Hivectl, host: Host, error: type[HiveError]
) -> None:
    hive.approvals.history_error = error("tags/a and tags/a/b\x1b exclude each other.")
    ran = await hivectl("import-nixos", "dora", "--yes")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "dora is imported and runs",
        "  its history was not imported: tags/a and tags/a/b<U+001B> exclude each other.",
        "  to import it later, correct the repository, or a copy of it, and run "
        "`hivectl import-nixos dora --history DIR`",
    ]
    assert host.log == STEPS


async def test_programs_are_told_why_a_history_was_refused(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    hive.approvals.history_error = InvalidArgument("It is damaged.")
    ran = await hivectl("import-nixos", "dora", "--yes", "--json")
    assert ran.json["history_refused"] == "It is damaged."
    assert (ran.json["imported"], ran.json["history"]) == (True, [])


async def test_a_history_for_which_there_was_no_time_is_tried_again(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    hive.approvals.history_error = Timeout("It takes too long.")
    assert (await hivectl("import-nixos", "dora", "--yes")).code == Exit.TIMEOUT
    assert host.log == STEPS[:-1], "the import has not ended"


async def test_an_import_that_was_interrupted_takes_another_history(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    host.status("unfinished", history=False)
    host.answers("history", {"status": "unfinished", "base": BASE, "history": True})
    assert (await hivectl("import-nixos", "alice", "--yes", "--history", "/new")).code == 0
    steps = [f"tool {verb} alice --history=/new" for verb in ("status", "history", "finish")]
    assert host.log == steps
    assert hive.approvals.calls == [("import history", "alice")]


async def test_an_import_that_was_interrupted_after_the_spawn_goes_on(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    host.status("unfinished")
    dry = await hivectl("import-nixos", "alice", "--dry-run")
    assert dry.out == "alice is spawned; its history is still to be imported\n"
    assert (await hivectl("import-nixos", "alice", "--yes")).code == 0
    assert host.log == ["tool status alice", "tool status alice", "tool finish alice"]
    assert hive.approvals.calls == [("import history", "alice")]
    assert hive.lifecycle.calls == []


async def test_the_rest_of_a_failed_spawn_is_removed(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    def tombstone() -> None:
        hive.lifecycle.tombstones = [Tombstone("dora", 0, 1)]

    hive.lifecycle.result = (JobResult.FAILED, "it is not READY")
    hive.lifecycle.on_job = tombstone
    ran = await hivectl("import-nixos", "dora", "--yes")
    assert ran.err.endswith("hivectl: spawn of dora failed: it is not READY\n")
    assert hive.lifecycle.calls == [("spawn", "dora"), ("purge", "dora")]


async def test_a_failed_spawn_can_be_repeated(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    hive.lifecycle.result = (JobResult.FAILED, "it is not READY")
    ran = await hivectl("import-nixos", "dora", "--yes")
    assert ran.code == Exit.FAILED
    assert ran.err.endswith("hivectl: spawn of dora failed: it is not READY\n")
    assert host.log == STEPS[:-1], "the import has not ended"
    assert hive.approvals.calls == []


async def test_another_range_of_uids_is_corrected(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    host.answers("publish", {"status": "unfinished", "base": BASE + 65536, "history": False})
    assert (await hivectl("import-nixos", "dora", "--yes")).code == 0
    assert hive.lifecycle.calls == [("spawn", "dora"), ("rebuild", "dora")]
    assert hive.approvals.calls == [], "there is no history"


async def test_an_api_key_becomes_a_credential_of_the_gateway(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    (host.folder / "systemd-creds").write_text("#!/bin/sh\ncat\n")
    (host.folder / "systemd-creds").chmod(0o755)
    host.answers("copy", {"key": KEY})
    ran = await hivectl("import-nixos", "dora", "--yes")
    stored = host.folder / "gateway/agents/dora.cred"
    assert stored.read_text() == KEY
    assert KEY not in ran.out + ran.err


async def test_a_stored_credential_stays(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    host.answers("copy", {"key": KEY})
    stored = host.folder / "gateway/agents/dora"
    stored.parent.mkdir(parents=True)
    stored.write_text("sk-mine")
    ran = await hivectl("import-nixos", "dora", "--yes")
    assert "The credential of dora is stored already, and stays" in ran.err
    assert [file.name for file in stored.parent.iterdir()] == ["dora"]


async def test_an_agent_without_a_login_is_named(
    hive: FakeHive, hivectl: Hivectl, host: Host
) -> None:
    host.answers("look", {**LOOK, "login": False})
    ran = await hivectl("import-nixos", "dora", "--yes")
    assert "log it in with `hivectl login dora`" in ran.err


WAITING = """#!{python}
import os, signal, sys

def end(*_):
    print("interrupted", file=open("{folder}/log", "a"))
    sys.exit(130)

signal.signal(signal.SIGINT, end)
open("{folder}/waits", "w").close()
signal.pause()
"""


async def test_ctrl_c_lets_the_tool_remove_its_copy(
    hive: FakeHive, hivectl: Hivectl, host: Host, environment: dict[str, str]
) -> None:
    os.mkfifo(host.folder / "waits")
    text = WAITING.format(python=sys.executable, folder=host.folder)
    (host.folder / "tool").write_text(text)
    command = (sys.executable, "-m", "hivectl.tests.launcher", "import-nixos", "dora", "--yes")
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    async with asyncio.timeout(TIME_LIMIT):
        await asyncio.to_thread((host.folder / "waits").read_text)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == Exit.INTERRUPTED
    assert host.log == ["interrupted"]


async def test_one_import_runs_at_a_time(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    held = os.open(host.folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    ran = await hivectl("import-nixos", "dora", "--yes")
    os.close(held)
    expected = "hivectl: Another `hivectl import-nixos` runs; wait for its end.\n"
    assert (ran.code, ran.err) == (Exit.CONFLICT, expected)
    assert host.log == []


async def test_the_containers_are_listed(hive: FakeHive, hivectl: Hivectl, host: Host) -> None:
    assert (await hivectl("import-nixos")).out.startswith("there is no container of an agent")
    known = [
        {"agent": "dora", "container": "h-dora", "status": "missing"},
        {"agent": "manager", "container": "hm1nd", "status": "finished"},
    ]
    host.answers("list", known)
    assert (await hivectl("import-nixos")).out.splitlines() == [
        "AGENT    CONTAINER  IMPORTED",
        "dora     h-dora     no",
        "manager  hm1nd      yes",
    ]
    assert (await hivectl("import-nixos", "--json")).json == known
