"""The repositories of projects in a container."""

import os
from dataclasses import replace

import pytest

from services import agentfile
from services.lifecycle.backends import container_files
from services.lifecycle.tests.test_nspawn import ALICE, BOTH, MANAGER, Host, host
from wire.errors import Conflict

__all__ = ["host"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")

COMMIT = "a" * 40
HERS = replace(ALICE, commit=COMMIT)


def build(host: Host, text: str, name: str = "alice") -> None:
    folder = host.layout.builds / name / COMMIT
    folder.mkdir(parents=True)
    (folder / agentfile.NAME).write_text(text)


def add(host: Host, project: str) -> str:
    path = host.layout.projects / project / "upstream.git"
    path.mkdir(parents=True)
    return str(path)


def mounted(host: Host, machine: str = "h-alice") -> list[str]:
    lines = (host.layout.settings / f"{machine}.nspawn").read_text().splitlines()
    return [line for line in lines if str(host.layout.projects) in line]


@BOTH
async def test_a_container_sees_its_own_projects_read_only(host: Host) -> None:
    web, _docs = add(host, "web"), add(host, "docs")
    build(host, 'projects = ["web"]')
    await host.backend.build(HERS, 1, lambda lines: None)
    await host.backend.configure(HERS)
    assert mounted(host) == [f"BindReadOnly={web}:/projects/web.git"]
    trusted = (host.layout.data / "alice/etc/gitconfig").read_text()
    assert "[safe]\n\tdirectory = /projects/web.git\n" in trusted
    unit = (
        host.layout.units / "systemd-nspawn@h-alice.service.d" / host.layout.drop_in
    ).read_text()
    assert f"AssertPathIsSymbolicLink=!{web}\n" in unit
    assert f"AssertPathIsDirectory={web}\n" in unit


async def test_the_manager_with_a_project_trusts_all(host: Host) -> None:
    add(host, "web")
    build(host, 'projects = ["web"]', "manager")
    await host.backend.configure(replace(MANAGER, commit=COMMIT))
    assert mounted(host, "hm1nd")
    trusted = (host.layout.data / "manager/etc/gitconfig").read_text()
    assert trusted.count("directory = *") == trusted.count("directory") == 1


async def test_an_agent_without_projects_sees_none(host: Host) -> None:
    add(host, "web")
    await host.backend.configure(ALICE)
    assert mounted(host) == []
    assert "safe" not in (host.layout.data / "alice/etc/gitconfig").read_text()


@pytest.mark.parametrize("link", [False, True])
async def test_a_missing_project_keeps_a_container_from_being_made(host: Host, link: bool) -> None:
    build(host, 'projects = ["web"]')
    if link:
        path = host.layout.projects / "web/upstream.git"
        path.parent.mkdir()
        path.symlink_to(host.layout.projects)
    missing = r"alice names the project web, which has no repository .*hivectl project add web"
    with pytest.raises(Conflict, match=missing):
        await host.backend.build(HERS, 1, lambda lines: None)


@BOTH
async def test_projects_may_pass_to_the_working_copies_of_agents_that_have_one(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_files, "_uid_of", lambda user: 4343)
    add(host, "web")
    build(host, 'projects = ["web"]')
    own = host.layout.data / "alice"

    def listed() -> bool:
        return "system.posix_acl_access" in os.listxattr(own)

    await host.backend.configure(replace(HERS, commit=""))
    assert not listed()
    await host.backend.configure(HERS)
    assert listed()
    await host.backend.configure(replace(HERS, commit=""))
    assert not listed()
