"""The venv of the repository, and the environment of commands in a sandbox."""

from pathlib import Path

import pytest

from sandbox import inside, venv
from sandbox.instance import REPO


def test_an_interrupted_installation_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[str, ...]] = []

    def install(_: Path, *arguments: str, **__: object) -> None:
        runs.append(arguments)
        if len(runs) == 1:
            raise KeyboardInterrupt

    (tmp_path / "requirements.lock").write_text("a==1 --hash=sha256:0\n")
    monkeypatch.setattr(venv, "pip", install)
    monkeypatch.setattr(venv, "runs_this_python", lambda *_: True)
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


def test_a_venv_that_others_cannot_read_is_opened_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services of a sandbox have users of their own, and run from it."""
    monkeypatch.setattr(venv, "pip", lambda *_, **__: None)
    monkeypatch.setattr(venv, "runs_this_python", lambda *_: True)
    (tmp_path / "requirements.lock").write_text("")
    directory = tmp_path / "venv"
    directory.mkdir(mode=0o700)
    program = directory / "program"
    program.touch(mode=0o700)
    venv.ensure(tmp_path, directory)
    assert (directory.stat().st_mode & 0o777, program.stat().st_mode & 0o777) == (0o755, 0o755)
