"""`make deb`: the package installs, upgrades, removes and purges on a bare host."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.bare_host import ABROAD, REPO, BareHost, bare_host

pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="this is not a Debian"),
]

NEWER = "0.1.1~next"
PREFIX = "/usr/lib/hyperhive"
PYTHON = f"{PREFIX}/bin/python"
ALWAYS = {"hive-approvals", "hive-broker", "hive-dashboard", "hive-ledger", "hive-lifecycle"}
DATA = ("/var/lib/hyperhive", "/etc/hyperhive", "/var/lib/machines/hm1nd")


@pytest.fixture(scope="module")
def package() -> Path:
    """Build the package of this checkout."""
    made = subprocess.run(
        ["make", "--no-print-directory", "deb"],
        cwd=REPO,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(made.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a newer package, in which a module of the broker is another one."""
    work = tmp_path_factory.mktemp("newer")
    tree, built = work / "tree", REPO / ".build/newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    lines = [f"Version: {NEWER}" if line.startswith("Version: ") else line for line in lines]
    control.write_text("\n".join(lines) + "\n")
    [inbox] = tree.glob(
        f"{PREFIX[1:]}/lib/python3*/site-packages/services/broker/messages/inbox.py"
    )
    inbox.write_text(inbox.read_text() + "\n# another version\n")
    pack = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(built)]
    subprocess.run(pack, stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["rm", "-rf", work], check=True)
    return built


@pytest.fixture(scope="module")
def bare() -> Iterator[BareHost]:
    with bare_host() as host:
        host.keep_the_port_free()
        yield host


@pytest.fixture
def host(bare: BareHost) -> BareHost:
    """Return the host without the package."""
    dpkg(bare, "--purge", "hyperhive", check=False)
    return bare


@pytest.fixture
def installed(host: BareHost, package: Path) -> BareHost:
    """Install the package, and start the hive."""
    said = dpkg(host, "--install", str(package)).stdout
    assert "hivectl credentials set" in said
    assert host.runs() == {}
    host.run("systemctl", "start", "hive.target")
    return host


def dpkg(host: BareHost, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", 'umask 077; exec dpkg "$@"', "sh", *arguments]
    return host.run(*command, check=check, environment=ABROAD)


def test_it_runs(installed: BareHost) -> None:
    assert set(installed.runs()) >= ALWAYS
    assert installed.failed() == ""
    installed.run(PYTHON, "-BP", str(REPO / "tests/system/probes/until_reported.py"), "manager")
    assert installed.run("hivectl", "login-link").stdout.startswith("http://")
    assert installed.run("systemctl", "is-enabled", "hive.target").stdout == "enabled\n"
    assert installed.run("dpkg", "--verify", "hyperhive").stdout == ""
    compiled = f"{PREFIX}/lib/python3*/site-packages/services/broker/__pycache__"
    installed.run("sh", "-c", f"test -d {compiled}")
    for page in ("hivectl.1", "hyperhive.toml.5"):
        assert installed.exists(f"/usr/share/man/man{page[-1]}/{page}.gz")


def test_an_upgrade_restarts_what_has_changed_and_keeps_the_rest(
    installed: BareHost, newer: Path
) -> None:
    installed.write("/etc/hyperhive/hyperhive.toml", "[broker]\nkeep_days = 31\n")
    installed.run("systemctl", "disable", "--quiet", "--now", "hive-notify.service")
    installed.call("Send", "ssa{sv}", "operator", "before the upgrade", "0")
    before = installed.runs()
    said = dpkg(installed, "--install", str(newer)).stdout
    after = installed.runs()
    assert "Restarted, because their code has changed: hive-broker." in said
    assert {name for name in before if before[name] != after.get(name)} == {"hive-broker"}
    assert "before the upgrade" in installed.run("hivectl", "history", "--json").stdout
    assert "keep_days = 31" in installed.run("cat", "/etc/hyperhive/hyperhive.toml").stdout
    state = installed.run("systemctl", "is-enabled", "hive-notify.service", check=False)
    assert state.stdout == "disabled\n"


def test_a_removal_keeps_the_data_and_a_purge_does_not(installed: BareHost) -> None:
    installed.run(PYTHON, "-BP", str(REPO / "tests/system/probes/until_reported.py"), "manager")
    shipped = installed.run("dpkg-query", "--listfiles", "hyperhive").stdout.splitlines()
    dpkg(installed, "--remove", "hyperhive")
    assert installed.runs() == {}
    assert not installed.exists(PREFIX)
    assert [path for path in DATA if not installed.has(path)] == []
    dpkg(installed, "--purge", "hyperhive")
    assert [path for path in DATA if installed.has(path)] == []
    files = [path for path in shipped if "hyperhive" in path or "hive" in Path(path).name]
    assert [path for path in files if installed.exists(path)] == []
    links = installed.run("find", "/etc/systemd/system", "-name", "hive-*.service").stdout
    assert links == ""
    assert installed.units() == ""


def test_it_does_not_install_beside_make_install(host: BareHost, package: Path) -> None:
    host.write("/usr/local/share/hyperhive/installed", "")
    try:
        refused = dpkg(host, "--install", str(package), check=False)
        assert refused.returncode != 0
        assert "Run `make uninstall`" in refused.stderr
    finally:
        host.run("rm", "-r", "/usr/local/share/hyperhive")


def test_lintian_finds_no_errors(host: BareHost, package: Path) -> None:
    """The host is thrown away, and lintian with it."""
    fetch = ["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", "lintian"]
    ready = host.run("sh", "-c", "command -v lintian", check=False).returncode == 0
    if not ready:
        host.run("apt-get", "--quiet", "update", check=False)
        if host.run(
            *fetch, check=False, environment={"DEBIAN_FRONTEND": "noninteractive"}
        ).returncode:
            pytest.skip("no package archive can be reached from here")
    found = host.run("lintian", "--allow-root", "--fail-on=error", str(package), check=False)
    assert found.returncode == 0, found.stdout
