"""The files and the lines that `logs` reads."""

import asyncio
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hivectl.commands.logs import logs
from hivectl.exit_codes import CommandError, Exit
from hivectl.host import journal, journal_output
from hivectl.host.journal import (
    Machine,
    Part,
    Place,
    Wanted,
    command_line,
    directories,
    files,
    matches,
)
from hivectl.host.journal_reader import UNCHANGED, Reader
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from wire.errors import Unavailable

HOST_ID = "b" * 32
ALICE = Machine("alice", "systemd-nspawn@h-alice.service", "a" * 32, 4711)


def test_lines_of_the_host_and_of_the_container_match() -> None:
    alternatives = " ".join(matches("alice", ALICE)).split(" + ")
    assert "HIVE_AGENT=alice" in alternatives
    assert "_SYSTEMD_UNIT=hive-agent@alice.service" in alternatives
    assert "_PID=1 UNIT=systemd-nspawn@h-alice.service" in alternatives
    assert "_MACHINE_ID=" + "a" * 32 in alternatives


def test_only_journals_of_the_host_and_this_container_are_read() -> None:
    places = list(directories(ALICE, "b" * 32))
    assert {place.below.split("/")[-1] for place in places} == {"a" * 32, "b" * 32}
    volatile = Place(Path("/proc/4711/root"), "run/log/journal/" + "a" * 32, is_agents=True)
    assert volatile in places


def test_one_part_is_its_own_units_only() -> None:
    def alternatives(part: Part) -> list[str]:
        return " ".join(matches("alice", ALICE, part)).split(" + ")

    assert alternatives(Part.JOBS) == ["HIVE_AGENT=alice _SYSTEMD_UNIT=hive-lifecycle.service"]
    assert alternatives(Part.CONTAINER) == [
        "_SYSTEMD_UNIT=systemd-nspawn@h-alice.service",
        "_PID=1 UNIT=systemd-nspawn@h-alice.service",
        "_MACHINE_ID=" + "a" * 32,
    ]
    assert {line.split("=")[-1] for line in alternatives(Part.ENDPOINT)} == {
        "hive-agent@alice.service",
        "hive-agent@alice.socket",
    }
    assert alternatives(Part.BUILD) == [
        "_SYSTEMD_UNIT=hive-build@alice.service",
        "_PID=1 UNIT=hive-build@alice.service",
    ]
    # A container could have written the host's fields into its own journal.
    for part in (Part.JOBS, Part.ENDPOINT, Part.BUILD):
        assert {place.below for place in directories(ALICE, "b" * 32, part)} == {"b" * 32}


def test_since_shows_all_unless_a_number_is_said() -> None:
    def options(wanted: Wanted) -> set[str]:
        return {word for word in command_line("alice", ALICE, [], wanted) if word[:2] == "--"}

    assert "--lines=100" in options(Wanted())
    asked = options(Wanted(since=1_700_000_000_000_042))
    assert {"--lines=all", "--since=@1700000000.000042"} <= asked
    assert "--lines=0" in options(Wanted(lines=0, since=1))


def test_a_linked_file_is_read_once(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    second.mkdir()
    (first / "system.journal").touch()
    (first / "else.txt").touch()
    (second / "system.journal").hardlink_to(first / "system.journal")
    [found] = files(Place(tmp_path, name) for name in ("one", "two", "missing"))
    assert found.samefile(first / "system.journal")


def test_links_of_an_agent_are_not_followed(tmp_path: Path) -> None:
    host, agent = tmp_path / "host", tmp_path / "agent"
    (host / "journal").mkdir(parents=True)
    (host / "journal/system.journal").touch()
    (agent / "var").mkdir(parents=True)
    (agent / "var/log").symlink_to(host)
    (agent / "var/journal").symlink_to(host / "journal")
    (agent / "var/own").mkdir()
    (agent / "var/own/system.journal").symlink_to(host / "journal/system.journal")
    os.mkfifo(agent / "var/own/pipe.journal")
    for below in ("var/log/journal", "var/journal", "var/own"):
        assert files([Place(agent, below)]) == []


def test_a_directory_that_is_replaced_later_is_read_no_more(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/system.journal").write_text("the agent's")
    [found] = files([Place(tmp_path, "journal")])
    (tmp_path / "journal").rename(tmp_path / "before")
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/system.journal").write_text("another's")
    assert found.read_text() == "the agent's"


def test_names_that_journalctl_takes_for_patterns_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    for name in ("[a].journal", "*.journal", "{a,b}.journal", "a?.journal", "\\a.journal"):
        (tmp_path / "journal" / name).touch()
    (tmp_path / "journal/system@0005-00c.journal").touch()
    [found] = files([Place(tmp_path, "journal")])
    assert found.name == "system@0005-00c.journal"


READS = """#!/bin/sh
# A stand-in for journalctl: prints the files, and the user.
for word; do case $word in --file=*) cat "${word#--file=}";; esac; done
id -u; id -g
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the journals of containers")
def test_a_link_that_replaces_a_file_leads_root_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("a secret\n")
    (tmp_path / "secret").chmod(0o600)
    theirs = tmp_path / "journal"
    theirs.mkdir()
    for name in ("a.journal", "b.journal"):
        (theirs / name).write_text("a line\n")
        os.chown(theirs / name, 4343, 4343)
    os.chown(theirs, 4343, 4343)
    paths = files([Place(tmp_path, "journal", is_agents=True)])
    reader = Reader.of(journal.descriptors(paths))
    (theirs / "b.journal").unlink()
    (theirs / "b.journal").symlink_to(tmp_path / "secret")
    line = ["journalctl", *(f"--file={path}" for path in paths)]
    inherited = journal.descriptors(paths)
    with tempfile.TemporaryDirectory() as programs:  # nobody else enters pytest's directories
        Path(programs).chmod(0o755)
        (Path(programs) / "journalctl").write_text(READS)
        (Path(programs) / "journalctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        journal_output.show(line, as_json=False, follow=False, inherited=inherited, reader=reader)
        assert journal.opens(paths[0], reader)
    assert capfd.readouterr().out.splitlines() == ["a line", "4343", "4343"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the journals of containers")
def test_a_directory_of_root_in_a_container_is_a_trap(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/system.journal").touch()
    assert files([Place(tmp_path, "journal", is_agents=True)]) == []
    assert Reader.of([]) == UNCHANGED


def test_the_command_line_follows_and_counts() -> None:
    wanted = Wanted(lines=5, follow=True, as_json=True)
    line = command_line("alice", ALICE, [Path("/j")], wanted)
    assert line[0] == "journalctl"
    assert {"--follow", "--merge", "--lines=5", "--output=json", "--file=/j"} <= set(line)


def test_a_machine_id_that_is_none_is_not_used(tmp_path: Path) -> None:
    # A container may write what it likes there, and it becomes part of a path.
    for written in ("../../../etc", "A" * 32, ""):
        assert journal.checked_id(written) is None
    assert journal.checked_id("0f" * 16 + "\n") == "0f" * 16


@pytest.mark.skipif(not shutil.which("journalctl"), reason="journalctl is not installed")
def test_what_a_container_planted_hides_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.journal")
    (tmp_path / "damaged.journal").write_bytes(b"LPKSHHRH" + bytes(300))
    (damaged,) = files([Place(tmp_path, ".")])
    assert damaged.name == "damaged.journal"
    assert not journal.opens(damaged, UNCHANGED)


def test_a_machine_id_that_is_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "machine-id")
    assert journal.read_some(tmp_path / "machine-id") == ""


@pytest.mark.parametrize(
    ("options", "part"),
    [((), None), (("--build",), Part.BUILD), (("--unit", "jobs", "-n", "3"), Part.JOBS)],
)
def test_a_part_can_be_asked_for(
    options: tuple[str, ...], part: Part | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Wanted] = []
    monkeypatch.setattr(journal, "journalctl", lambda _name, wanted: asked.append(wanted))
    logs.main(["alice", *options], standalone_mode=False)
    assert [wanted.part for wanted in asked] == [part]


async def test_logs_of_nobody_are_not_found(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("logs", "nobody")).code == Exit.NOT_FOUND
    assert (await hivectl("logs", "../x")).code == Exit.NOT_FOUND


async def test_logs_become_journalctl(
    hive: FakeHive, bus_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = HOST_ID
    (tmp_path / host).mkdir()
    (tmp_path / host / "system.journal").touch()
    became: list[list[str]] = []
    monkeypatch.setattr(journal, "JOURNALS", (tmp_path,))
    monkeypatch.setattr(journal, "HOST_ID", tmp_path / "machine-id")
    (tmp_path / "machine-id").write_text(f"{host}\n")
    monkeypatch.setattr(journal_output, "show", lambda line, **_options: became.append(line))
    monkeypatch.setattr(journal, "opens", lambda path, _reader: path.name == "system.journal")
    (tmp_path / host / "planted.journal").touch()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus_address)
    await asyncio.to_thread(journal.journalctl, "alice", Wanted(lines=3, follow=True))
    [line] = became
    assert {"--lines=3", "--follow", "HIVE_AGENT=alice"} <= set(line)
    [file] = [word.removeprefix("--file=") for word in line if word.startswith("--file=")]
    assert file.endswith("/system.journal")
    assert not [word for word in line if "planted" in word]


def test_logs_are_shown_with_hidden_text_spelled_out(capfd: pytest.CaptureFixture[str]) -> None:
    text = "1 \u202e\u3164 p\u0430y\tzwölf 日本"
    command = ["printf", "%s\\n", text, "2"]
    assert journal_output.show(command, as_json=False, follow=False) == 0
    assert capfd.readouterr().out == "1 <U+202E><U+3164> p<U+0430>y\tzwölf 日本\n2\n"
    command = ["printf", "%s\\n", json.dumps({"MESSAGE": text + "\U0001f600"}, ensure_ascii=False)]
    assert journal_output.show(command, as_json=True, follow=True) == 0
    out = capfd.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"MESSAGE": text + "\U0001f600"}


def test_the_status_of_journalctl_is_kept_and_a_missing_one_is_told() -> None:
    assert journal_output.show(["false"], as_json=False, follow=False) == 1
    with pytest.raises(CommandError, match="journalctl could not be started"):
        journal_output.show(["/nowhere/journalctl"], as_json=False, follow=False)


def test_a_journalctl_that_follows_ends_with_hivectl() -> None:
    script = (
        "from hivectl.host.journal_output import show; "
        "show(['sh', '-c', 'echo $$; exec sleep 1000'], as_json=False, follow=True)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    try:
        assert select.select([child], [], [], 30)[0] == [child]
    finally:
        os.close(child)


def test_a_reader_that_leaves_is_no_failure() -> None:
    script = (
        "import sys; from hivectl.host.journal_output import show; "
        "from hivectl.output import streams; from hivectl.exit_codes import ReaderLeftError\n"
        "streams.prepare()\n"
        "try: show(['yes'], as_json=False, follow=False)\n"
        "except ReaderLeftError: sys.exit(7)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 7


async def test_logs_are_there_while_the_hive_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "JOURNALS", (tmp_path,))
    monkeypatch.setattr(journal, "HOST_ID", tmp_path / "machine-id")
    (tmp_path / "machine-id").write_text(f"{HOST_ID}\n")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with pytest.raises(Unavailable, match="The hive cannot be reached"):
        await asyncio.to_thread(journal.journalctl, "alice", Wanted())
