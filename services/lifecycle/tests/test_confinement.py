"""The limits that root in a container cannot lift, as written into the files of the container."""

from pathlib import Path

import pytest

from services.lifecycle.backends import confinement
from services.lifecycle.backends.confinement import HostLimits
from services.lifecycle.tests.test_nspawn import ALICE, Host, host

__all__ = ["host"]


def test_an_agent_gets_a_share_of_the_host_s_inotify(tmp_path: Path) -> None:
    (tmp_path / "max_user_instances").write_text("128\n")
    (tmp_path / "max_user_watches").write_text("192536\n")
    limits = HostLimits.read(tmp_path)
    assert (limits.instances_of_agent, limits.watches_of_agent) == (32, 12033)
    installed = HostLimits(262144, 67108864)
    assert (installed.instances_of_agent, installed.watches_of_agent) == (256, 65536)
    assert (limits.agents, installed.agents) == (3, 1023)
    assert HostLimits.read(tmp_path / "none") == HostLimits()


async def test_more_agents_than_the_host_is_enough_for_are_reported(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    folder = host.layout.inotify_limits
    folder.mkdir(parents=True)
    (folder / "max_user_instances").write_text("64\n")
    (folder / "max_user_watches").write_text("8192\n")
    for name in ("alice", "bob"):
        await host.backend.status(name)
    await host.backend.configure(ALICE)
    await host.backend.start(ALICE)
    assert "2 agents together may use up the inotify instances" in caplog.text


def test_only_nested_containers_have_user_and_network_namespaces() -> None:
    plain = confinement.kernel_limits(HostLimits(), nested=False)
    nested = confinement.kernel_limits(HostLimits(), nested=True)
    assert plain.keys() == nested.keys()
    assert {key for key, value in plain.items() if not value} == {
        "max_fanotify_groups",
        "max_fanotify_marks",
        "max_net_namespaces",
        "max_user_namespaces",
    }
    assert nested["max_user_namespaces"] == nested["max_mnt_namespaces"] == 256


async def test_the_files_confine_the_container(host: Host) -> None:
    await host.backend.configure(ALICE)
    lines = (host.layout.settings / "h-alice.nspawn").read_text().splitlines()
    [start] = [line for line in lines if line.startswith("Parameters=")]
    assert f"{host.root}/prefix/share/hyperhive/hive-init.sh" in start
    assert "max_user_namespaces=0" in start
    assert start.endswith(
        " /usr/lib/systemd/systemd systemd.unit=hive-container.target systemd.show_status=error"
    )
    assert "Boot=no" in lines
    service = host.drop_in()["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["ReadWritePaths"].split()[2:] == [
        str(host.layout.data / "alice"),
        str(host.layout.web / "alice"),
    ]
    assert "--boot" not in service["ExecStart"]
    assert service["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    assert "io_uring_setup:ENOSYS" in service["SystemCallFilter"]
    assert service["MemoryMax"] == str(4 * 2**30)
    journald = host.layout.data / "alice/etc/systemd/journald.conf.d/hyperhive.conf"
    assert "SystemMaxUse=" in journald.read_text()
