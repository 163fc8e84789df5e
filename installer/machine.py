"""Packages that the machine must have, and their installation."""

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.errors import InstallError


@dataclass(frozen=True)
class Need:
    """A thing that the machine must have.

    Attributes:
        what: Its name, for messages.
        present: Returns whether it is there.
        apt: Its package in Debian.
        other: Its package in Fedora and Arch; other distributions have a similar name.
        unit: A unit that the package enables; it is disabled again.
    """

    what: str
    present: Callable[[], bool]
    apt: str
    other: str
    unit: str = ""


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _file(*patterns: str) -> Callable[[], bool]:
    return lambda: any(next(Path("/").glob(pattern), None) for pattern in patterns)


def _browser() -> bool:
    """Return whether there is a browser; on Debian one that draws no windows, which cost as much as
    the pages in them."""
    names = ["chromium-headless-shell"] + ["chromium"] * (shutil.which("apt-get") is None)
    return any(shutil.which(name) for name in names)


def _python_header() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").exists()


def _venv_module() -> bool:
    return importlib.util.find_spec("ensurepip") is not None


HOST: Final = (
    Need("systemd", _file("usr/lib/systemd/systemd"), "systemd", "systemd"),
    Need("systemd-nspawn", _program("systemd-nspawn"), "systemd-container", "systemd-container"),
    Need(
        "nss-systemd",
        _file("usr/lib*/libnss_systemd.so.2", "usr/lib/*/libnss_systemd.so.2"),
        "libnss-systemd",
        "systemd-libs",
    ),
    Need("the D-Bus daemon", _program("dbus-daemon"), "dbus", "dbus-daemon"),
    Need("polkit", _file("usr/lib*/polkit-1/polkitd", "usr/libexec/polkitd"), "polkitd", "polkit"),
    Need("socat", _program("socat"), "socat", "socat"),
    Need("git", _program("git"), "git", "git"),
    Need("TLS certificates", _file("etc/ssl/certs/ca-*"), "ca-certificates", "ca-certificates"),
)
VENV: Final = Need("Python's venv module", _venv_module, "python3-venv", "python3")
BUILD: Final = (
    Need("a C compiler", _program("gcc"), "gcc", "gcc"),
    Need("libc's headers", _file("usr/include/stdio.h"), "libc6-dev", "glibc-devel"),
    Need("pkg-config", _program("pkg-config"), "pkg-config", "pkgconf"),
    Need(
        "systemd's headers",
        _file("usr/include/systemd/sd-daemon.h"),
        "libsystemd-dev",
        "systemd-devel",
    ),
    Need("Python's headers", _python_header, "python3-dev", "python3-devel"),
    VENV,
)
"""The packages needed to build systemd-python, which has no wheel."""

NPM: Final = (Need("npm", _program("npm"), "npm", "nodejs-npm"),)
"""The package needed to fetch the files of npm packages that the dashboard serves."""

TESTS: Final = (
    *NPM,
    Need("Nix", _program("nix-instantiate"), "nix-bin", "nix"),
    Need("Chromium without windows", _browser, "chromium-headless-shell", "chromium"),
    Need("the whole Chromium", _program("chromium"), "chromium", "chromium"),
    Need("its driver", _program("chromedriver"), "chromium-driver", "chromedriver"),
    Need("Node.js", _program("node"), "nodejs", "nodejs"),
    Need("mmdebstrap", _program("mmdebstrap"), "mmdebstrap", "mmdebstrap"),
    Need("bubblewrap", _program("bwrap"), "bubblewrap", "bubblewrap"),
    Need("mandoc", _program("mandoc"), "mandoc", "mandoc"),
    Need("zsh", _program("zsh"), "zsh", "zsh"),
    Need("fish", _program("fish"), "fish", "fish"),
    Need("strace", _program("strace"), "strace", "strace"),
    Need("ip", _program("ip"), "iproute2", "iproute"),
)
BENCH: Final = (
    Need("NATS", _program("nats-server"), "nats-server", "nats-server", "nats-server.service"),
    Need("Redis", _program("redis-server"), "redis-server", "redis", "redis-server.service"),
)
"""The brokers with which `bench.messages` compares ours."""

_NO_PACKAGES_ON_UBUNTU: Final = {"chromium-headless-shell", "chromium", "chromium-driver"}
"""Packages that Ubuntu lacks, or that only fetch a snap, which a throw-away host cannot run."""


def require(needs: Sequence[Need]) -> None:
    """Install with apt the `needs` that are missing, and print their names.

    Raises:
        InstallError: there is no apt (the text has the names of the packages), or apt failed.
    """
    missing = [need for need in needs if not need.present()]
    if _is_ubuntu():
        for need in [need for need in missing if need.apt in _NO_PACKAGES_ON_UBUNTU]:
            print(f"  {need.what}: not packaged for Ubuntu; tests that need it are skipped")
            missing.remove(need)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise InstallError(
            f"This machine lacks {_enumerate([need.what for need in missing])}. Install the"
            f" packages (by their names on Fedora): {' '.join(need.other for need in missing)}."
            " Then run the same command again."
        )
    packages = [need.apt for need in missing]
    print(f"  installing {' '.join(packages)} (apt)", flush=True)
    _apt("update")
    _apt("install", "--yes", "--no-install-recommends", *packages)
    _keep_from_running([need.unit for need in missing if need.unit])
    if absent := [need.what for need in missing if not need.present()]:
        raise InstallError(
            f"apt installed {' '.join(packages)}, but {_enumerate(absent)} is missing."
        )


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.splitlines()[-15:])
        raise InstallError(f"`apt-get {' '.join(arguments)}` failed:\n  {tail}")


def _keep_from_running(units: Sequence[str]) -> None:
    """Disable and stop units that a package has enabled and started."""
    if units and shutil.which("systemctl"):
        running = Path("/run/systemd/system").is_dir()
        command = ["systemctl", "disable", "--quiet", *(["--now"] if running else []), *units]
        subprocess.run(command, capture_output=True, check=False)


def _is_ubuntu() -> bool:
    release = Path("/etc/os-release")
    return release.exists() and "ID=ubuntu" in release.read_text().splitlines()


def _enumerate(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
