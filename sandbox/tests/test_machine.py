"""Preparing a machine, and the stamps that make a second run cheap."""

import subprocess
from pathlib import Path

import pytest

from sandbox import inside, installer, machine, venv
from sandbox.instance import REPO, SandboxError
from sandbox.machine import Need

LACKING = Need("a thing", lambda: False, "thing-apt", "thing-other")


def test_without_apt_it_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)  # type: ignore[attr-defined]
    with pytest.raises(SandboxError, match=r"lacks a thing\..*thing-other"):
        machine.require([LACKING])


def test_nothing_is_run_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_apt", pytest.fail)
    machine.require([Need("root", lambda: True, "x", "x")])


def test_a_service_that_a_package_brings_is_not_left_enabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run: list[list[str]] = []
    there: list[str] = []

    def execute(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        run.append(command)
        there.extend(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(machine.subprocess, "run", execute)  # type: ignore[attr-defined]
    monkeypatch.setattr(machine.shutil, "which", lambda name: name)  # type: ignore[attr-defined]
    machine.require([Need("a server", lambda: "pkg" in there, "pkg", "pkg", "pkg.service")])
    assert run[-1][:2] == ["systemctl", "disable"]
    assert run[-1][-1] == "pkg.service"


def test_an_interrupted_installation_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[str, ...]] = []

    def install(_: Path, __: int, *arguments: str) -> None:
        runs.append(arguments)
        if len(runs) == 1:
            raise KeyboardInterrupt

    (tmp_path / "requirements.lock").write_text("a==1 --hash=sha256:0\n")
    monkeypatch.setattr(venv, "_install", install)
    monkeypatch.setattr(venv, "_runs_this_python", lambda _: True)
    with pytest.raises(KeyboardInterrupt):
        venv.ensure(tmp_path, tmp_path)
    assert venv.ensure(tmp_path, tmp_path)
    assert len(runs) == 3, "the lock again, then the package"
    assert not venv.ensure(tmp_path, tmp_path)
    assert len(runs) == 3, "a complete installation was repeated"
    (tmp_path / "pyproject.toml").write_text("changed")
    assert venv.ensure(tmp_path, tmp_path)


def test_the_lock_holds_hashes_and_names_no_index() -> None:
    lock = (REPO / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "index-url" not in "\n".join(line for line in lock.splitlines() if line[:1] != "#")
    assert "dbus-next==0.2.3" in lock


def test_a_command_inside_knows_the_terminal_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.delenv("TERM", raising=False)
    environment = inside.environment()
    assert (environment["NO_COLOR"], environment["TERM"]) == ("1", "dumb")
    assert "ANTHROPIC_API_KEY" not in environment


def test_a_purge_takes_the_containers_of_the_hive_and_no_other(tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    for machine_name, drop_in in (("h-alice", "50-hyperhive.conf"), ("theirs", "override.conf")):
        directory = units / f"systemd-nspawn@{machine_name}.service.d"
        directory.mkdir(parents=True)
        (directory / drop_in).touch()
    assert list(installer.containers(tmp_path)) == [
        tmp_path / "var/lib/machines/h-alice",
        tmp_path / "etc/systemd/nspawn/h-alice.nspawn",
        units / "systemd-nspawn@h-alice.service.d",
    ]
