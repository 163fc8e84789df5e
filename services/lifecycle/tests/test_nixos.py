"""The backend nixos: what differs from nspawn. `test_nspawn.py` has the tests of both."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from services import agentfile
from services.config import AgentSettings, BackendName, Config, LifecycleConfig
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends.layout import Layout
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.tests.test_nspawn import ALICE, BASE, MANAGER, SYSTEM, UNIT, Host, host
from wire.errors import Conflict
from wire.records.lifecycle import NetworkMode

__all__ = ["host"]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root"),
    pytest.mark.parametrize("host", ["nixos"], indirect=True),
]

COMMIT = "c" * 40
BUILT = f"/nix/store/{'b' * 32}-nixos-system-alice-25.11"
OVERRIDES = "overrides.conf"
"""The drop-in of NixOS for the template systemd-nspawn@.service."""


def store(host: Host, path: str) -> None:
    """Put a toplevel into the store."""
    (host.root / path.lstrip("/")).mkdir(parents=True)
    (host.root / path.lstrip("/") / "init").touch()


def built(host: Host, system: str | None = BUILT, text: str = "") -> Spec:
    """Make a build of alice, with a link to a toplevel; return the spec with it."""
    folder = host.layout.builds / "alice" / COMMIT
    folder.mkdir(parents=True)
    (folder / agentfile.NAME).write_text(text)
    if system is not None:
        (folder / "system").symlink_to(system)
    return replace(ALICE, commit=COMMIT)


def settings(host: Host) -> list[str]:
    return (host.layout.settings / "h-alice.nspawn").read_text().splitlines()


def init(host: Host) -> str:
    """The init that the settings start."""
    [line] = [line for line in settings(host) if line.startswith("Parameters=")]
    assert line.startswith(f'Parameters={host.prefix}/share/hyperhive/hive-init.sh "max_')
    return line.split('" ')[1].split()[0]


def backend(host: Host, name: BackendName) -> Nspawn:
    system = SYSTEM if name == "nixos" else ""
    config = Config(lifecycle=LifecycleConfig(backend=name, toplevel=system))
    return Nspawn(host.systemd, config, host.prefix, host.layout)


async def test_a_container_sees_the_store_and_what_only_the_host_knows(host: Host) -> None:
    await host.backend.configure(ALICE)
    etc = host.layout.data / "alice/etc"
    mounts = [line for line in settings(host) if "ReadOnly" in line or "FileSystem" in line]
    assert mounts == [
        "TemporaryFileSystem=/usr:mode=0755",
        "TemporaryFileSystem=/nix:mode=0755",
        "BindReadOnly=/nix/store",
        f"BindReadOnly={etc}:/run/hive-etc",
        f"BindReadOnly={host.layout.sockets}/alice:/run/hive",
    ]
    files = {str(path.relative_to(etc)) for path in etc.rglob("*") if not path.is_dir()}
    given = {"gitconfig", "hosts", "hyperhive/harness.json", "machine-id", "resolv.conf"}
    assert files == given
    assert not list((host.layout.machines / "h-alice/usr").iterdir())
    await host.backend.configure(replace(ALICE, network=NetworkMode.GATEWAY))
    wants = etc / "systemd/system/sockets.target.wants"
    assert [path.name for path in wants.iterdir()] == ["hive-proxy.socket"]
    assert "proxy = http://127.0.0.1:3128" in (etc / "gitconfig").read_text()
    await host.backend.configure(MANAGER)
    assert "directory = *" in (host.layout.data / "manager/etc/gitconfig").read_text()


async def test_an_installation_in_usr_is_mounted_beside_the_store(host: Host) -> None:
    prefix = Path("/usr/lib/hyperhive")
    config = Config(lifecycle=LifecycleConfig(backend="nixos", toplevel=SYSTEM))
    await Nspawn(host.systemd, config, prefix, host.layout).configure(ALICE)
    assert {f"BindReadOnly={prefix}", "TemporaryFileSystem=/usr/lib:mode=0755"} <= {*settings(host)}
    [line] = [line for line in settings(host) if line.startswith("Parameters=")]
    assert line.startswith(f"Parameters={prefix}/share/hyperhive/hive-init.sh ")


async def test_a_store_linked_etc_systemd_system_is_left_alone(host: Host) -> None:
    units = host.root / f"nix/store/{'e' * 32}-system-units"
    (units / "systemd-nspawn@.service.d").mkdir(parents=True)
    (units / "systemd-nspawn@.service.d" / OVERRIDES).write_text("[Service]\nRestart=no\n")
    (host.root / "etc/systemd").mkdir()
    (host.root / "etc/systemd/system").symlink_to(units)
    before = [(path, path.lstat().st_ctime_ns) for path in sorted(units.rglob("*"))]
    await host.backend.configure(ALICE)
    await host.backend.limit(ALICE)
    assert host.drop_in()["Service"]["Restart"] == "on-failure"
    assert host.layout.units == host.root / "run/systemd/system"
    assert host.layout.settings == host.root / "run/systemd/nspawn"
    await host.backend.destroy(ALICE, purge=True)
    assert [(path, path.lstat().st_ctime_ns) for path in sorted(units.rglob("*"))] == before
    assert sorted(path.name for path in (host.root / "etc/systemd").iterdir()) == ["system"]
    assert not list(host.layout.units.iterdir())


async def test_the_drop_in_comes_after_those_of_nixos(host: Host) -> None:
    await host.backend.configure(ALICE)
    [ours] = (host.layout.units / f"{UNIT}.d").iterdir()
    # systemd sorts the drop-ins of the template and of the instance together.
    assert sorted([ours.name, OVERRIDES, "50-other.conf", "override.conf"])[-1] == ours.name


async def test_an_agent_runs_the_system_of_its_build(host: Host) -> None:
    await host.backend.configure(ALICE)
    assert init(host) == f"{SYSTEM}/init"
    spec = built(host)
    store(host, BUILT)
    await host.backend.configure(spec)
    assert init(host) == f"{BUILT}/init"


async def test_a_build_without_a_system_leaves_that_of_all_agents(host: Host) -> None:
    await host.backend.configure(built(host, None, "model = 'm'"))
    assert init(host) == f"{SYSTEM}/init"


async def test_an_agent_may_have_a_system_of_its_own_without_a_build(host: Host) -> None:
    store(host, BUILT)
    agents = {"alice": AgentSettings(toplevel=BUILT)}
    config = Config(lifecycle=LifecycleConfig(backend="nixos", toplevel=SYSTEM, agents=agents))
    await Nspawn(host.systemd, config, host.prefix, host.layout).configure(ALICE)
    assert init(host) == f"{BUILT}/init"


@pytest.mark.parametrize(
    "target", ["/etc", "../x", f"{BUILT}/sw", f"{BUILT}\nBind=/", "/nix/store/.."]
)
async def test_a_link_out_of_the_store_is_refused(host: Host, target: str) -> None:
    with pytest.raises(Conflict, match="does not lead to a path directly in /nix/store"):
        await host.backend.configure(built(host, target))


async def test_a_system_that_is_no_link_is_refused(host: Host) -> None:
    spec = built(host, None)
    (host.layout.builds / "alice" / COMMIT / "system").mkdir()
    with pytest.raises(Conflict, match=f"build of alice at {COMMIT[:12]} cannot be used"):
        await host.backend.configure(spec)


async def test_a_system_that_was_collected_is_refused(host: Host) -> None:
    with pytest.raises(Conflict, match=f"alice cannot run the system {BUILT}: it has no `init`"):
        await host.backend.configure(built(host))


async def test_without_any_system_the_reason_is_told(host: Host) -> None:
    config = Config(lifecycle=LifecycleConfig(backend="nixos"))
    with pytest.raises(Conflict, match=r"no agent\.nix, and hyperhive\.toml has no `toplevel`"):
        await Nspawn(host.systemd, config, host.prefix, host.layout).configure(ALICE)


async def test_packages_of_debian_are_refused(host: Host) -> None:
    spec = built(host, None, "packages = ['jq']")
    (host.layout.builds / "alice" / COMMIT / "usr").mkdir()
    with pytest.raises(Conflict, match=r"alice runs NixOS.*agent\.nix"):
        await host.backend.configure(spec)


async def test_another_backend_takes_an_agent_over(host: Host) -> None:
    other = Layout(host.root)
    for folder in (other.settings, other.units):
        folder.mkdir(parents=True)
    foreign = other.units / f"{UNIT}.d/override.conf"
    foreign.parent.mkdir()
    foreign.write_text("[Service]\nCPUWeight=1\n")
    in_etc, in_run = (
        [layout.settings / "h-alice.nspawn", layout.units / f"{UNIT}.d" / layout.drop_in]
        for layout in (other, host.layout)
    )
    usr, nixos = backend(host, "nspawn"), backend(host, "nixos")
    for used, there, gone in (
        (usr, in_etc, in_run),
        (nixos, in_run, in_etc),
        (usr, in_etc, in_run),
    ):
        reloads = len(host.manager.calls)
        await used.configure(ALICE)
        assert [path.is_file() for path in (*there, *gone)] == [True, True, False, False]
        assert host.manager.calls[reloads:] == [("Reload",)]
        assert foreign.exists(), "a drop-in of the operator was removed"
    await nixos.configure(ALICE)
    units = host.layout.data / "alice/etc/systemd/system"
    assert [path.name for path in units.iterdir()] == ["sockets.target.wants"]
    assert not list((host.layout.machines / "h-alice/usr").iterdir())
    assert (host.layout.data / "alice/state").stat().st_uid == BASE


def roots(host: Host) -> list[str]:
    """The systems that Nix must not remove."""
    folder = host.root / "nix/var/nix/gcroots/hyperhive/alice"
    return sorted(os.readlink(link) for link in folder.iterdir()) if folder.exists() else []  # noqa: PTH115 - not resolved


async def test_nix_keeps_what_a_container_runs_from(host: Host) -> None:
    """An update changes the settings while the container runs; a crash starts the new system."""
    (host.root / "nix/var/nix/gcroots/hyperhive").mkdir(parents=True)
    await host.backend.configure(ALICE)
    assert roots(host) == [SYSTEM]
    spec = built(host)
    store(host, BUILT)
    await host.backend.configure(spec)
    assert roots(host) == sorted([SYSTEM, BUILT])
    await host.backend.start(spec)
    assert roots(host) == [BUILT]
    await host.backend.destroy(spec, purge=False)
    assert roots(host) == []


async def test_a_host_that_keeps_nothing_runs_containers(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    await host.backend.configure(ALICE)
    assert not caplog.records
    (host.root / "nix/var/nix/gcroots").mkdir(parents=True)
    (host.root / "nix/var/nix/gcroots/hyperhive").symlink_to(host.root)  # cannot be opened
    await host.backend.configure(ALICE)
    assert "may remove the system of alice" in caplog.text
