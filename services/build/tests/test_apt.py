"""Packages with scripts in place of apt-get and dpkg-deb, which record their arguments."""

import subprocess
from pathlib import Path

import pytest

from services.build.apt import Apt, Package, planned
from services.build.builder import BuildError

SIMULATION = """\
Inst libjq1 [1.6-2.1] (1.6-2.1+deb12u3 Debian-Security:12/oldstable-security [amd64]) []
Inst jq [1.6-2.1] (1.6-2.1+deb12u3 Debian-Security:12/oldstable-security [amd64])
Inst iputils-ping (3:20221126-1 Debian:12.11/oldstable, Debian-Security:12/oldstable [amd64])
Inst libc6:i386 (2.36-9 Debian:12.11/oldstable [i386])
Inst cowsay (3.03+dfsg2-8 Debian:12.11/oldstable [all])
Conf cowsay (3.03+dfsg2-8 Debian:12.11/oldstable [all])
"""

APT_GET = """\
#!/bin/sh
echo "$@" >> {log}
case "$*" in
*update*) exit {update} ;;
*nosuch*) echo "E: Unable to locate package nosuch"; exit 100 ;;
*--simulate*) echo "Inst sl (1:5-1 Debian:12 [amd64])" ;;
*--download-only*)
    # apt gives an archive the time that the mirror says.
    touch --date="40 days ago" "{cache}/archives/sl_1%3a5-1_amd64.deb" ;;
esac
"""
DPKG_DEB = """\
#!/bin/sh
echo "$@" >> {log}
test -e "$2" && mkdir -p "$3/bin" "$3/etc" && touch "$3/bin/sl" "$3/etc/sl.conf"
"""


class Host:
    """A host whose apt is a script."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache, self.into, self.log = folder / "cache", folder / "into", folder / "log"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.into.mkdir()
        self.script("apt-get", APT_GET, update=0)
        self.script("dpkg-deb", DPKG_DEB)
        self.script("tar", "#!/bin/sh\n")
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        self.apt = Apt(self.cache)

    def script(self, name: str, text: str, **values: object) -> None:
        path = self.bin / name
        path.write_text(text.format(log=self.log, cache=self.cache, **values))
        path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_what_apt_would_install_is_understood() -> None:
    assert [package.file for package in planned(SIMULATION)] == [
        "libjq1_1.6-2.1+deb12u3_amd64.deb",
        "jq_1.6-2.1+deb12u3_amd64.deb",
        "iputils-ping_3%3a20221126-1_amd64.deb",
        "libc6_2.36-9_i386.deb",
        "cowsay_3.03+dfsg2-8_all.deb",
    ]
    assert planned(SIMULATION)[2] == Package("iputils-ping", "3:20221126-1", "amd64")


def test_packages_are_fetched_and_unpacked(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert host.apt.unpack(["sl"], host.into) == ["sl 1:5-1"]
    assert [str(p.relative_to(host.into)) for p in host.into.rglob("*")] == [
        "usr",
        "usr/bin",
        "usr/bin/sl",
    ]
    said = capfd.readouterr().out
    assert "unpacking sl 1:5-1" in said
    assert "not unpacked, because outside of /usr: /etc/sl.conf" in said
    calls = host.log.read_text().splitlines()
    assert all(f"--config-file={host.cache}/apt.conf" in call for call in calls[:3])
    assert [call.split()[-1] for call in calls[:3]] == ["update", "sl", "sl"]


def test_an_unknown_package_is_named(host: Host) -> None:
    with pytest.raises(BuildError, match="apt cannot install nosuch: Unable to locate package nos"):
        host.apt.unpack(["nosuch"], host.into)


def test_a_mirror_that_is_away_is_no_reason_to_fail(
    host: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    host.script("apt-get", APT_GET, update=100)
    assert host.apt.unpack(["sl"], host.into) == ["sl 1:5-1"]
    assert "could not update its lists" in capfd.readouterr().out


def test_a_host_without_apt_says_so(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BuildError, match=r"packages, but this host has no apt-get. Remove the packages"
    ):
        host.apt.unpack(["sl"], host.into)
    assert not host.cache.exists()


def test_archives_that_nobody_uses_are_removed(host: Host) -> None:
    old = host.cache / "archives/old_1_amd64.deb"
    old.parent.mkdir(parents=True)
    subprocess.run(["touch", "--date=40 days ago", old], check=True)
    host.apt.unpack(["sl"], host.into)
    assert [path.name for path in old.parent.glob("*.deb")] == ["sl_1%3a5-1_amd64.deb"]


def test_packages_and_the_hosts_hooks_run_nothing(host: Host) -> None:
    host.apt.unpack(["sl"], host.into)
    configuration = (host.cache / "apt.conf").read_text()
    for hook in ("APT::Update::Post-Invoke", "DPkg::Pre-Invoke", "DPkg::Post-Invoke"):
        assert f"#clear {hook};" in configuration
    calls = host.log.read_text().splitlines()
    wanted = ("update", "--simulate", "--download-only", "--extract")
    assert all(any(word in call for word in wanted) for call in calls)
