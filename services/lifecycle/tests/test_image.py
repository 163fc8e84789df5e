"""Images other than the host's /usr: the mounts from them, and the trees that are refused."""

import os
import subprocess
from pathlib import Path

import pytest

from services.config import AgentSettings, Config, LifecycleConfig
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends.image import PYTHON
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.tests.test_nspawn import ALICE, Host, host
from wire.errors import Conflict

__all__ = ["host"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")

COMMIT = "c" * 40
PREFIX = Path("/usr/lib/hyperhive")
CONFIG = Config(
    lifecycle=LifecycleConfig(image="/srv/small", agents={"bob": AgentSettings(image="/")})
)


@pytest.fixture
def tree(host: Host) -> Path:
    """A tree like an operator's."""
    tree = host.root / "srv/small"
    for folder in ("usr/lib/systemd", "usr/bin", "usr/lib/hyperhive", "etc/pam.d", "etc/ssl/certs"):
        (tree / folder).mkdir(parents=True)
    for program in ("systemd", "systemd-socket-proxyd"):
        (tree / "usr/lib/systemd" / program).touch()
    (tree / PYTHON).touch()
    for program in ("setpriv", "socat"):
        (tree / "usr/bin" / program).touch()
    (tree / "lib64").symlink_to("usr/lib64")
    return tree


@pytest.fixture
def backend(host: Host) -> Nspawn:
    return Nspawn(host.systemd, CONFIG, PREFIX, host.layout)


def shared(host: Host, name: str) -> list[str]:
    lines = (host.layout.settings / f"h-{name}.nspawn").read_text().splitlines()
    found = [line.removeprefix("BindReadOnly=") for line in lines if "ReadOnly" in line]
    return [bind for bind in found if not bind.endswith((":/run/hive", ":/etc"))]


async def test_usr_comes_from_the_image_and_hyperhive_from_the_host(
    host: Host, tree: Path, backend: Nspawn
) -> None:
    await backend.configure(ALICE)
    assert shared(host, "alice") == [
        f"{tree}/usr:/usr",
        f"{tree}/etc/pam.d:/etc/pam.d",
        f"{tree}/etc/ssl/certs:/etc/ssl/certs",
        str(PREFIX),
    ]
    usr = host.layout.machines / "h-alice/usr"
    assert [path.name for path in usr.iterdir()] == ["lib64"], "other links than the image has"


async def test_one_agent_may_go_back_to_the_host(host: Host, tree: Path, backend: Nspawn) -> None:
    await backend.configure(Spec("bob", ALICE.uid_base, ALICE.machine_id))
    assert shared(host, "bob")[0] == "/usr"
    assert str(PREFIX) not in shared(host, "bob")
    assert not [bind for bind in shared(host, "bob") if ":" in bind]


def build(host: Host, name: str, packages: str) -> Spec:
    """Return the agent with a deployed build that has these packages."""
    place = host.layout.builds / name / COMMIT
    (place / "usr/bin").mkdir(parents=True)
    (place / "agent.toml").write_text(f"packages = [{packages}]\n")
    return Spec(name, ALICE.uid_base, ALICE.machine_id, commit=COMMIT)


async def test_packages_lie_over_the_hosts_usr(host: Host, backend: Nspawn) -> None:
    await backend.configure(build(host, "bob", '"hello"'))
    binds = shared(host, "bob")
    packages = host.layout.builds / "bob" / COMMIT / "usr"
    assert binds[0] == f"OverlayReadOnly=/usr:{packages}:/usr"
    lines = next(host.layout.units.glob("*bob*/50-hyperhive.conf")).read_text().splitlines()
    for path in (packages, packages.parent, packages.parent.parent):
        assert f"AssertPathIsSymbolicLink=!{path}" in lines
    assert "/usr" not in binds
    # The prefix may be a separate mount, which an overlay of /usr would not show.
    assert str(PREFIX) in binds


async def test_packages_fit_no_image(host: Host, tree: Path, backend: Nspawn) -> None:
    with pytest.raises(Conflict, match=r"alice cannot .*/srv/small: packages of agent.toml fit"):
        await backend.configure(build(host, "alice", '"hello"'))


BREAK = {
    "usr is missing, or hidden from hive-lifecycle": "rm -r {}/usr",
    "usr is not a directory": "mv {0}/usr {0}/x && ln -s x {0}/usr",
    "users other than root may write to": "chmod g+w {}",
    "users other than root may write to (.*)/srv$": "chmod o+w {}/..",
    "users other than root may write to (.*)/usr": "chown 1 {}/usr",
    "it has no usr/lib/systemd/systemd": "rm {}/usr/lib/systemd/systemd",
    f"it has no {PYTHON}": f"rm {{}}/{PYTHON}",
    "it has no usr/bin/socat": "rm {}/usr/bin/socat",
    "it has no directory usr/lib/hyperhive": "rmdir {}/usr/lib/hyperhive",
}


@pytest.fixture
def broken(tree: Path, command: str) -> Path:
    subprocess.run(["sh", "-c", command.format(tree)], check=True)
    return tree


@pytest.mark.parametrize(("why", "command"), BREAK.items())
async def test_an_image_that_does_not_fit_is_refused(
    host: Host, broken: Path, backend: Nspawn, why: str
) -> None:
    with pytest.raises(Conflict, match=rf"^alice cannot run from the image {broken}: ") as told:
        await backend.configure(ALICE)
    assert told.match(why.replace("$", r"\.$"))
    assert not (host.layout.machines / "h-alice").exists(), "half of a container is made"
    assert not list(host.layout.data.iterdir())


async def test_what_runs_is_limited_even_if_its_image_is_gone(host: Host, backend: Nspawn) -> None:
    await backend.limit(ALICE)
    assert host.drop_in()["Service"]["TasksMax"] == "4096"
