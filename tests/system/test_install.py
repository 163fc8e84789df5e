"""`make install` on a bare host: install, run again, upgrade, uninstall, purge."""

from collections.abc import Iterator

import pytest

from installer.environment import Wheels
from tests.system.bare_host import CHECKOUT, REPO, BareHost, bare_host

pytestmark = [pytest.mark.system, pytest.mark.long]

PREFIX = "/usr/lib/hyperhive"
SPARE = "/usr/lib/hyperhive.spare"
PYTHON = f"{PREFIX}/bin/python"
ALWAYS = {"hive-approvals", "hive-broker", "hive-dashboard", "hive-ledger", "hive-lifecycle"}
"""Services that run in every hive."""
KEPT = ("/etc/hyperhive", "/var/lib/hyperhive", "/var/lib/machines/hm1nd")
UNREADABLE = f"find {PREFIX} /usr/local/lib /usr/local/share/hyperhive /etc/dbus-1 \
    ! -type l '(' -type d ! -perm -055 -o -type f ! -perm -044 ')'"
"""Lists the installed files that a service with a user of its own could not read."""

SQUATTER = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    server.accept()
"""
"""A program that has the dashboard's port."""


@pytest.fixture(scope="module")
def bare() -> Iterator[BareHost]:
    # This needs the network. Afterwards each installation goes without.
    Wheels(REPO).ensure()
    with bare_host() as host:
        yield host


@pytest.fixture
def host(bare: BareHost) -> BareHost:
    """Return the host without anything of Hyperhive but the checkout, and packages of Python."""
    bare.check_out()
    if bare.exists(PREFIX) and not bare.exists(SPARE):
        bare.run("cp", "-a", "--link", PREFIX, SPARE)
    bare.make("uninstall", "PURGE=1", "YES=1")
    if bare.exists(SPARE):
        # An interrupted installation leaves the same. It saves most of the time of the next one.
        bare.run("cp", "-a", "--link", SPARE, PREFIX)
    return bare


@pytest.fixture
def installed(host: BareHost) -> BareHost:
    """Install the hive and start it."""
    host.make("install")
    host.run("systemctl", "start", "hive.target")
    return host


def source(path: str) -> str:
    return f"{CHECKOUT}/{path}"


@pytest.mark.parametrize("umask", ["022", "027", "077"])
def test_it_runs_whatever_the_umask(bare: BareHost, umask: str) -> None:
    bare.check_out(umask)
    bare.make("uninstall", "PURGE=1", "YES=1", umask=umask)
    said = bare.make("install", umask=umask).stdout
    for step in ("hivectl credentials set", "systemctl start hive.target", "hivectl login-link"):
        assert step in said
    assert bare.run("sh", "-c", UNREADABLE).stdout == ""
    bare.run("systemctl", "start", "hive.target")
    assert set(bare.runs()) >= ALWAYS
    assert bare.failed() == ""
    # A container of a user namespace reads the installation, too.
    bare.run(PYTHON, "-BP", str(REPO / "tests/system/probes/until_reported.py"), "manager")
    link = bare.run("hivectl", "login-link").stdout
    assert link.startswith(f"http://127.0.0.1:{bare.port}/login")


def test_it_has_what_runs_and_nothing_else(host: BareHost) -> None:
    host.make("install")
    packages = host.run("sh", "-c", f"ls {PREFIX}/lib/python3*/site-packages").stdout.split()
    assert {"aiohttp", "services", "harness"} <= set(packages)
    assert not {"pip", "pytest", "mypy", "selenium", "setuptools", "hatchling"} & set(packages)
    assert set(host.run("ls", f"{PREFIX}/bin").stdout.split()) <= {
        *("hivectl", "python", "python3"),
        *(f"python3.{minor}" for minor in range(11, 15)),
    }
    sample = host.run("cat", "/etc/hyperhive/hyperhive.toml").stdout
    assert "#keep_days = 30" in sample
    assert all(not line or line.startswith("#") for line in sample.splitlines())
    checked = host.run(PYTHON, "-P", "-m", "services.config", check=False)
    assert checked.returncode == 0


def test_again_it_changes_nothing(installed: BareHost) -> None:
    installed.write("/etc/hyperhive/hyperhive.toml", "[broker]\nkeep_days = 31\n")
    before = installed.runs()
    said = installed.make("install").stdout
    # The endpoint of the manager may have come meanwhile.
    assert before.items() <= installed.runs().items()
    assert "Restarted" not in said
    assert "Unchanged, and not restarted: hive-a" in said
    assert "keep_days = 31" in installed.run("cat", "/etc/hyperhive/hyperhive.toml").stdout


def test_an_upgrade_restarts_what_has_changed_and_nothing_else(installed: BareHost) -> None:
    number = installed.call("Send", "ssa{sv}", "operator", "before the upgrade", "0")
    before = installed.runs()
    installed.append(source("services/broker/messages/inbox.py"), "\n# another version\n")
    said = installed.make("install").stdout
    after = installed.runs()
    assert "Restarted, because their code has changed: hive-broker." in said
    assert {name for name in before if before[name] != after.get(name)} == {"hive-broker"}
    messages = installed.run("hivectl", "history", "--json").stdout
    assert f'"id": {number[0]}' in messages  # type: ignore[index]
    assert "before the upgrade" in messages


def test_an_upgrade_of_the_harness_tells_the_manager_and_updates_it(installed: BareHost) -> None:
    probes = REPO / "tests/system/probes"
    installed.run(PYTHON, "-BP", str(probes / "until_reported.py"), "manager")
    leader = ["machinectl", "show", "hm1nd", "--property=Leader", "--value"]
    before, first = installed.runs(), installed.run(*leader).stdout
    installed.append(source("harness/turns/turn.py"), "\n# another version\n")
    said = installed.make("install").stdout
    assert "because their code has changed: hive-lifecycle." in said
    assert "The containers are updated one after the other" in said
    after = installed.runs()
    assert {name for name in ALWAYS if before[name] != after[name]} == {"hive-lifecycle"}
    installed.run(PYTHON, "-BP", str(probes / "until_current.py"), "manager")
    installed.run(PYTHON, "-BP", str(probes / "until_reported.py"), "manager")
    assert installed.run(*leader).stdout != first
    told = installed.run("hivectl", "history", "--kind", "needs-update", "--json").stdout
    assert "runs in a container of another version" in told


def test_a_changed_socket_is_opened_again(installed: BareHost) -> None:
    before = installed.runs()
    unit = source("services/dashboard/hive-dashboard.socket")
    installed.run("sed", "-i", "s/^Backlog=.*/Backlog=64/", unit)
    said = installed.make("install").stdout
    assert "because their code has changed: hive-dashboard, hive-dashboard.socket." in said
    after = installed.runs()
    assert {name for name in ALWAYS if before[name] != after[name]} == {"hive-dashboard"}
    shown = installed.run("systemctl", "show", "--property=Backlog", "hive-dashboard.socket")
    assert shown.stdout == "Backlog=64\n"


def test_units_come_and_go_with_a_version(installed: BareHost) -> None:
    unit, project = source("services/hive-extra.service"), source("pyproject.toml")
    line = '"services/hive-extra.service" = "lib/systemd/system/hive-extra.service"'
    text = "[Unit]\nDocumentation=man:hyperhive(7)\nPartOf=hive.target\n[Service]\n"
    installed.write(unit, f"{text}ExecStart=/bin/sleep infinity\n[Install]\nWantedBy=hive.target\n")
    installed.run("sed", "-i", f'/^"services.hive.slice" =/i {line}', project)
    said = installed.make("install").stdout
    assert "Started, because they are new: hive-extra." in said
    assert "hive-extra" in installed.runs()
    installed.run("sed", "-i", "/hive-extra/d", project)
    said = installed.make("install").stdout
    assert "Stopped, because this version has no such unit: hive-extra." in said
    assert "hive-extra" not in installed.runs()
    assert not installed.exists("/etc/systemd/system/hive.target.wants/hive-extra.service")


def test_a_unit_that_is_disabled_stays_so(installed: BareHost) -> None:
    installed.run("systemctl", "disable", "--now", "hive-notify.service")
    installed.append(source("services/notify/hive-notify.service"), "# another version\n")
    installed.make("install")
    state = installed.run("systemctl", "is-enabled", "hive-notify.service", check=False).stdout
    assert state == "disabled\n"
    assert "hive-notify" not in installed.runs()


def test_a_service_that_has_ended_is_started_when_its_code_changes(installed: BareHost) -> None:
    installed.run("systemctl", "stop", "hive-notify.service")
    said = installed.make("install").stdout
    assert "hive-notify" not in said
    assert "hive-notify" not in installed.runs()
    installed.append(source("services/notify/hive-notify.service"), "# another version\n")
    said = installed.make("install").stdout
    assert "Started, because they had ended and their code has changed: hive-notify." in said
    assert "hive-notify" in installed.runs()


def test_a_service_that_does_not_start_again_is_named(installed: BareHost) -> None:
    installed.write("/etc/hyperhive/hyperhive.toml", "[broker]\nkeep_days = 0\n")
    installed.append(source("services/broker/messages/inbox.py"), "\n# another version\n")
    failed = installed.make("install", check=False)
    assert failed.returncode != 0
    assert "hive-broker.service did not start: " in failed.stderr
    assert "keep_days" in failed.stderr
    # It is told at once, to everybody who calls it.
    refused = installed.run("hivectl", "history", check=False)
    assert "hive-broker.service has failed: " in refused.stderr
    assert "keep_days" in refused.stderr
    installed.write("/etc/hyperhive/hyperhive.toml", "")
    installed.run("systemctl", "restart", "hive-broker.service")


def test_an_interrupted_upgrade_is_completed_by_the_next(installed: BareHost) -> None:
    """Files were replaced, and nothing was restarted."""
    before = installed.runs()
    installed.append(source("services/ledger/ledger.py"), "\n# another version\n")
    broken = source("installer/upgrade.py")
    installed.run(
        "sed", "-i.kept", "s/^def restart() -> int:/&\\n    raise KeyboardInterrupt/", broken
    )
    assert installed.make("install", check=False).returncode != 0
    assert before.items() <= installed.runs().items()
    installed.run("mv", f"{broken}.kept", broken)
    said = installed.make("install").stdout
    assert "Restarted, because their code has changed: hive-ledger." in said
    assert installed.runs()["hive-ledger"] != before["hive-ledger"]


def test_a_taken_port_is_named_at_once(host: BareHost) -> None:
    host.make("install")
    squat = ["systemd-run", "--unit=squatter", "--service-type=notify", "--quiet"]
    host.run(*squat, "/usr/bin/python3", "-c", SQUATTER, str(host.port))
    try:
        host.run("systemctl", "start", "hive.target")
        sentence = f"127.0.0.1:{host.port} is in use by python3 (pid "
        refused = host.run("timeout", "15", "hivectl", "login-link", check=False)
        assert sentence in refused.stderr
        journal = ["journalctl", "--unit=hive-dashboard.socket", "--output=cat"]
        assert sentence in host.run(*journal).stdout
        status = host.run("systemctl", "status", "hive-dashboard.socket", check=False).stdout
        assert sentence[:30] in status
    finally:
        host.run("systemctl", "stop", "squatter.service", check=False)
    host.run("systemctl", "start", "hive.target")
    assert host.run("hivectl", "login-link").stdout.startswith("http://")


def test_an_uninstallation_keeps_the_data_and_says_so(installed: BareHost) -> None:
    installed.run(PYTHON, "-BP", str(REPO / "tests/system/probes/until_reported.py"), "manager")
    files = installed.run("cat", "/usr/local/share/hyperhive/installed").stdout.split()
    said = installed.make("uninstall").stdout
    assert said.startswith("Uninstalled.\nKept:\n")
    for path in KEPT:
        assert f"  {path}: " in said
        assert installed.has(path)
    assert not [path for path in (*files, PREFIX) if installed.exists(path)]
    assert installed.units() == ""
    again = installed.make("uninstall")
    assert again.stdout.startswith("Hyperhive is not installed.\nKept:\n")
    assert again.stderr == ""
    # The next installation has the data.
    installed.make("install")
    installed.run("systemctl", "start", "hive.target")
    assert '"manager"' in installed.run("hivectl", "list", "--json").stdout


def test_a_purge_asks_and_then_removes_all(installed: BareHost) -> None:
    installed.run(PYTHON, "-BP", str(REPO / "tests/system/probes/until_reported.py"), "manager")
    refused = installed.make("uninstall", "PURGE=1", check=False, stdin="yes\n")
    assert refused.returncode != 0
    assert (
        "There is no terminal to ask for a confirmation, so nothing was removed." in refused.stderr
    )
    assert set(installed.runs()) >= ALWAYS
    answered = f"cd '{CHECKOUT}' && script --quiet --return --command 'make uninstall PURGE=1'"
    no = installed.run("sh", "-c", f"{answered} /dev/null", stdin="no\n", check=False)
    assert "Nothing was removed." in no.stdout
    assert set(installed.runs()) >= ALWAYS
    yes = installed.run("sh", "-c", f"{answered} /dev/null", stdin="yes\n")
    assert "This removes for good:" in yes.stdout
    left = (PREFIX, "/var/cache/hyperhive", "/run/hyperhive", *KEPT)
    assert not [path for path in left if installed.has(path)]
    assert "h-\n" not in installed.run("machinectl", "list-images", "--no-legend").stdout
    assert installed.make("uninstall", "PURGE=1").stdout == (
        "Hyperhive is not installed.\nThere was no data.\n"
    )
