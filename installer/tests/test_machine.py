"""Preparing a machine: missing packages are installed, and nothing else is started."""

import subprocess

import pytest

from installer import machine
from installer.errors import InstallError
from installer.machine import Need

LACKING = Need("a thing", lambda: False, "thing-apt", "thing-other")


def test_without_apt_it_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)  # type: ignore[attr-defined]
    with pytest.raises(InstallError, match=r"lacks a thing\..*thing-other"):
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
