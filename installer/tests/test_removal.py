"""An uninstallation keeps the data and says so; a purge asks first."""

import subprocess
from pathlib import Path

import pytest

from installer import files, removal
from installer.errors import InstallError


def test_a_purge_takes_the_containers_of_the_hive_and_no_other(tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    for machine_name, drop_in in (("h-alice", "50-hyperhive.conf"), ("theirs", "override.conf")):
        directory = units / f"systemd-nspawn@{machine_name}.service.d"
        directory.mkdir(parents=True)
        (directory / drop_in).touch()
    assert list(removal.containers(tmp_path)) == [
        tmp_path / "var/lib/machines/h-alice",
        tmp_path / "etc/systemd/nspawn/h-alice.nspawn",
        units / "systemd-nspawn@h-alice.service.d",
    ]


def test_a_purge_counts_what_is_gone_and_names_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, left = tmp_path / "gone", tmp_path / "left over"
    for folder in (gone, left):
        (folder / "file").mkdir(parents=True)
    monkeypatch.setattr(removal, "DATA", {gone: "sockets", left: "data"})
    monkeypatch.setattr(removal, "containers", lambda: iter(()))
    monkeypatch.setattr(removal, "_remove", lambda: False)
    run = subprocess.run

    def run_but_not_on_left(*command: str, check: bool = True) -> None:
        """Stand in for a host on which rm cannot remove `left`, and systemd needs no reload."""
        if command[0] == "rm" and str(left) not in command:
            run(command, check=check)

    monkeypatch.setattr(files, "run", run_but_not_on_left)
    with pytest.raises(InstallError) as raised:
        removal.purge(confirmed=True)
    assert "Removed 1 directories and files." in capsys.readouterr().out
    assert str(raised.value).endswith(f"\n  rm -rf --one-file-system '{left}'")
    (left / "file").rmdir()
    left.rmdir()
    gone.mkdir()
    (gone / "file").touch()
    removal.purge(confirmed=True)
    assert "Removed 1 directories and files." in capsys.readouterr().out
