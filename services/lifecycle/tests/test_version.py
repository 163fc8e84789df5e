"""The version that tells stale containers from others covers the files that containers get."""

import sys
from pathlib import Path

import pytest

from services.errors import ConfigError
from services.lifecycle.host import version
from services.lifecycle.host.version import current


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A harness that is installed outside of the prefix, as a package of its own."""
    folder = tmp_path / "elsewhere/harness"
    (folder / "claude").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "claude/session.py").write_text("SESSION = 1\n")
    monkeypatch.delitem(sys.modules, "harness", raising=False)
    monkeypatch.syspath_prepend(folder.parent)
    return folder


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A prefix with units, but without packages of Python."""
    container = tmp_path / "prefix/share/hyperhive/container"
    container.mkdir(parents=True)
    (container / "hive-harness.service").write_text("[Service]\n")
    return tmp_path / "prefix"


def test_a_change_of_the_harness_or_of_a_unit_is_another_version(
    harness: Path, prefix: Path
) -> None:
    first = current(prefix)
    assert current(prefix) == first
    (harness / "claude/session.py").write_text("SESSION = 2\n")
    second = current(prefix)
    unit = prefix / "share/hyperhive/container/hive-harness.service"
    unit.write_text("[Service]\nRestart=no\n")
    third = current(prefix)
    (prefix / "share/hyperhive/hive-init.sh").write_text("#!/bin/sh\n")
    fourth = current(prefix)
    assert len({first, second, third, fourth}) == 4


def test_another_claude_code_is_another_version(
    harness: Path, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for number in ("0.2.165", "0.2.170"):
        versions = {"hyperhive": "0.1.0", "claude-agent-sdk": number}
        monkeypatch.setattr(version, "version", versions.__getitem__)
        found[number] = current(prefix)
    assert len(set(found.values())) == 2


def test_an_installation_without_these_files_is_refused(harness: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"share/hyperhive/container has no files.*Repeat it\."):
        current(tmp_path / "nothing")
