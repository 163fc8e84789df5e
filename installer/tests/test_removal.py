"""An uninstallation keeps the data and says so; a purge asks first."""

from pathlib import Path

from installer import removal


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
