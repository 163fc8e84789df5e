"""Builds by hive-build@NAME.service, with the host's real apt and a real package."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.hive import Hive
from tests.system.inside import inside, probe

pytestmark = pytest.mark.system

AGENT = "scratch"
APPLIED = f"/var/lib/hyperhive/git/applied/{AGENT}"
BUILDS = f"/var/lib/hyperhive/builds/{AGENT}"
ORDER = f"/run/hyperhive/builds/{AGENT}.env"
UNIT = f"hive-build@{AGENT}.service"
PACKAGE = "hello"

COMMIT = """
set -e
as="runuser -u hive-approvals -- git --git-dir=$1"
test -e "$1" || $as init -q
blob=$($as hash-object -w --stdin)
tree=$(printf '100644 blob %s\\tagent.toml\\n' "$blob" | $as mktree)
$as -c user.name=a -c user.email=a@b.invalid commit-tree -m "a proposal" "$tree"
"""


@dataclass
class Built:
    """The result of a build."""

    commit: str
    ok: bool
    log: str


class Builds:
    """Starts builds as lifecycle does, for an agent that does not exist."""

    def __init__(self, hive: Hive) -> None:
        self.hive = hive

    def commit(self, text: str) -> str:
        """Commit an agent.toml as approvals does, and return the commit."""
        return self.hive.run("sh", "-c", COMMIT, "sh", APPLIED, input=text).stdout.strip()

    def build(self, text: str) -> Built:
        """Commit an agent.toml, and build it."""
        commit = self.commit(text)
        order = f"HIVE_AGENT={AGENT}\nHIVE_COMMIT={commit}\nHIVE_JOB=1\n"
        self.hive.run("sh", "-c", f"cat > {ORDER}", input=order)
        return self.again(commit)

    def again(self, commit: str) -> Built:
        """Build a commit by a new run of the unit."""
        self.hive.run("systemctl", "reset-failed", UNIT, check=False)
        done = self.hive.run("systemctl", "start", UNIT, check=False, timeout=300)
        self.hive.run("journalctl", "--sync")
        shown = ("journalctl", "--output=json", f"HIVE_AGENT={AGENT}", f"_SYSTEMD_UNIT={UNIT}")
        lines = [json.loads(line) for line in self.hive.run(*shown).stdout.splitlines()]
        run = lines[-1]["_SYSTEMD_INVOCATION_ID"]
        log = [line["MESSAGE"] for line in lines if line["_SYSTEMD_INVOCATION_ID"] == run]
        return Built(commit, done.returncode == 0, "\n".join(log))

    def files(self, commit: str) -> list[str]:
        """Return the files of a build, without directories."""
        found = self.hive.run("find", f"{BUILDS}/{commit}", "-not", "-type", "d").stdout
        return sorted(str(Path(line).relative_to(f"{BUILDS}/{commit}")) for line in found.split())


@pytest.fixture
def builds(hive: Hive) -> Iterator[Builds]:
    """Return a starter of builds, and remove their files afterwards."""
    yield Builds(hive)
    hive.run("systemctl", "reset-failed", UNIT, check=False)
    hive.run("rm", "-rf", APPLIED, BUILDS, ORDER)


@pytest.fixture
def package(hive: Hive) -> str:
    """Return a package that the host lacks."""
    if not shutil.which("apt-get"):
        pytest.skip("there is no apt on this machine")
    if hive.run("dpkg", "--status", PACKAGE, check=False).returncode == 0:
        pytest.skip(f"{PACKAGE} is installed on this machine")
    return PACKAGE


def test_a_configuration_without_packages_is_only_checked(builds: Builds) -> None:
    built = builds.build('model = "m"\n')
    assert built.ok, built.log
    assert builds.files(built.commit) == ["agent.toml"]
    inode = builds.hive.run("stat", "-c", "%i", f"{BUILDS}/{built.commit}").stdout
    again = builds.again(built.commit)
    assert again.log == f"{built.commit} is built already"
    assert builds.hive.run("stat", "-c", "%i", f"{BUILDS}/{built.commit}").stdout == inode


@pytest.mark.long
def test_a_package_is_unpacked_and_nothing_of_it_installed(builds: Builds, package: str) -> None:
    built = builds.build(f'packages = ["{package}", "coreutils"]\n')
    assert built.ok, built.log
    place = f"{BUILDS}/{built.commit}"
    assert builds.hive.run(f"{place}/usr/bin/hello").stdout == "Hello, world!\n"
    # Packages that the host has are not unpacked again.
    [line] = builds.hive.run("cat", f"{place}/packages").stdout.splitlines()
    assert line.split()[0] == package
    assert {name.split("/")[0] for name in builds.files(built.commit)} == {
        "agent.toml",
        "packages",
        "usr",
    }
    assert not builds.hive.run("find", place, "-perm", "/6000").stdout
    assert builds.hive.run("dpkg", "--status", package, check=False).returncode != 0
    # Nobody else may look for something to run in there.
    entered = builds.hive.run("runuser", "-u", "nobody", "--", "ls", place, check=False)
    assert "Permission denied" in entered.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('packages = ["nosuch-package"]\n', "Unable to locate package nosuch-package."),
        # Not an expression that fits many.
        ('packages = ["hel.o"]\n', "apt cannot install hel.o: "),
        (
            'model = "m"\ncolour = 1\n',
            "agent.toml, line 2: colour is not a known key; known keys: ",
        ),
    ],
)
@pytest.mark.long
def test_what_cannot_be_built_says_why_and_leaves_nothing(
    builds: Builds, package: str, text: str, why: str
) -> None:
    built = builds.build(text)
    assert not built.ok
    assert why in built.log.splitlines()[-1]
    assert not builds.hive.run("find", BUILDS, "-mindepth", "1").stdout


def test_a_host_without_apt_says_so(builds: Builds) -> None:
    drop_in = f"/run/systemd/system/{UNIT}.d/50-test.conf"
    without = "[Service]\nInaccessiblePaths=/usr/bin/apt-get\n"
    builds.hive.run("sh", "-c", f"mkdir -p $(dirname {drop_in}); cat > {drop_in}", input=without)
    builds.hive.run("systemctl", "daemon-reload")
    try:
        built = builds.build('packages = ["hello"]\n')
        assert not built.ok
        assert "this host has no apt-get. Remove the packages" in built.log
    finally:
        builds.hive.run("rm", "-r", f"/run/systemd/system/{UNIT}.d")
        builds.hive.run("systemctl", "daemon-reload")


# The last one: approvals removes the repository of a purged agent a little later.
@pytest.mark.long
def test_a_container_sees_its_packages_and_nobody_elses(
    swarm: Hive, builds: Builds, package: str
) -> None:
    swarm.hivectl("spawn", AGENT, timeout=120)
    try:
        commit = builds.commit(f'packages = ["{package}"]\n')
        deployed = probe(swarm, "deploy", AGENT, commit)
        assert deployed["result"] == "done", deployed["note"]
        assert inside(swarm, AGENT, "hello").stdout == "Hello, world!\n"
        # The host's /usr is below, the hive's own part of it included, and nothing is writable.
        inside(swarm, AGENT, "/usr/lib/hyperhive/bin/python", "-c", "import harness")
        assert inside(swarm, AGENT, "touch", "/usr/bin/x", check=False).returncode != 0
        assert inside(swarm, "alice", "hello", check=False).returncode != 0
        assert swarm.run("hello", check=False).returncode != 0

        failed = probe(swarm, "deploy", AGENT, builds.commit('packages = ["nosuch-package"]\n'))
        assert failed["result"] == "failed"
        assert "Unable to locate package nosuch-package" in failed["note"]
        assert inside(swarm, AGENT, "hello").stdout == "Hello, world!\n"
        shown = swarm.hivectl("logs", AGENT, "--build").stdout
        assert "unpacking hello" in shown
        assert "Unable to locate package nosuch-package" in shown
    finally:
        swarm.hivectl("destroy", AGENT, "--purge", "--yes", timeout=120)
