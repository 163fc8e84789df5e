"""Unpacking Debian packages without installing them: apt finds and fetches, dpkg-deb unpacks.

No script of a package runs. apt uses the host's sources, keys and proxies, and sees the installed
packages. Its lists and archives are our own, so it needs no root and changes nothing on the host.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.build import usr_merge
from services.build.builder import BuildError, say

KEEP: Final = 30 * 86400
"""The seconds after which an unused archive is removed."""
NEEDED: Final = ("apt-get", "dpkg-deb", "tar")

# Remove, Upgrade: packages of the host stay, unless a requested package needs a newer version.
# Pattern-Only: an unknown name is not taken for a regular expression that matches many packages.
# `#clear`: the hooks in the host's configuration are for root and for root's files.
CONFIGURATION: Final = """\
Dir::State::lists "{cache}/lists";
Dir::Cache "{cache}";
Dir::Cache::archives "{cache}/archives";
Dir::Cache::pkgcache "{cache}/pkgcache.bin";
Dir::Cache::srcpkgcache "{cache}/srcpkgcache.bin";
Dir::Log "{cache}/log";
Debug::NoLocking "true";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Cmd::Pattern-Only "true";
APT::Get::Assume-Yes "true";
APT::Get::Remove "false";
APT::Get::Show-User-Simulation-Note "false";
APT::Get::Upgrade "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
"""

# Inst jq [1.6-1] (1.6-2 Debian:12.11/oldstable, Debian-Security:12 [amd64])
_INST: Final = re.compile(
    r"Inst (?P<name>[a-z0-9][a-z0-9+.-]+)(:[a-z0-9-]+)? (\[[^]]*\] )?"
    r"\((?P<version>[^ ()]+) [^()]*\[(?P<architecture>[a-z0-9-]+)\]\)"
)

_ERROR: Final = re.compile(r"^E: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package that apt would install."""

    name: str
    version: str
    architecture: str

    @property
    def file(self) -> str:
        """The name of the archive in apt's cache."""
        version = self.version.replace(":", "%3a")
        return f"{self.name}_{version}_{self.architecture}.deb"


def planned(simulation: str) -> list[Package]:
    """Return the packages that `apt-get --simulate install` would unpack."""
    found = map(_INST.match, simulation.splitlines())
    return [Package(m["name"], m["version"], m["architecture"]) for m in found if m]


class Apt:
    """The host's apt, with its own lists and archives in `cache`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._configuration = cache / "apt.conf"

    def unpack(self, packages: Sequence[str], into: Path) -> list[str]:
        """Unpack packages; see `Packages`. Builds share the cache, so only one runs at a time."""
        if missing := [program for program in NEEDED if not shutil.which(program)]:
            raise BuildError(
                f"agent.toml asks for packages, but this host has no {missing[0]}. Remove the "
                "packages, or give the agent an image that has them."
            )
        with self._lock():
            self._prepare()
            if self._run("update"):
                say("apt could not update its lists; the build uses the last ones")
            plan = self._plan(packages)
            if plan and self._run("--download-only", "install", *packages):
                raise BuildError(f"apt could not fetch the archives for {' '.join(packages)}.")
            for package in plan:
                self._unpack(package, into)
            self._remove_old_archives(plan)
        return [f"{package.name} {package.version}" for package in plan]

    def _plan(self, packages: Sequence[str]) -> list[Package]:
        done = subprocess.run(
            self._command("-qq", "--simulate", "install", *packages),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode:
            say(done.stdout.strip())
            reasons = _ERROR.findall(done.stdout) or ["see the output above"]
            raise BuildError(f"apt cannot install {' '.join(packages)}: {reasons[0].rstrip('.')}.")
        plan = planned(done.stdout)
        if not plan:
            say("this host has all of these packages already")
        return plan

    def _remove_old_archives(self, used: Sequence[Package]) -> None:
        """Remove archives that no build has used for KEEP seconds."""
        folder = self._cache / "archives"
        for package in used:
            os.utime(folder / package.file)
        for archive in folder.glob("*.deb"):
            if archive.stat().st_mtime < time.time() - KEEP:
                archive.unlink()

    def _unpack(self, package: Package, into: Path) -> None:
        say(f"unpacking {package.name} {package.version}")
        archive = self._cache / "archives" / package.file
        with tempfile.TemporaryDirectory(dir=into, prefix=".unpack-") as folder:
            done = subprocess.run(
                ["dpkg-deb", "--extract", str(archive), folder], stdin=subprocess.DEVNULL
            )
            if done.returncode:
                raise BuildError(f"dpkg-deb could not unpack {archive.name}.")
            if left := usr_merge.move(Path(folder), into / "usr"):
                say(f"  not unpacked, because outside of /usr: {', '.join(left)}")

    def _run(self, *arguments: str) -> int:
        command = self._command("-q", *arguments)
        return subprocess.run(command, env=_environment(), stdin=subprocess.DEVNULL).returncode

    def _command(self, *arguments: str) -> list[str]:
        return ["apt-get", f"--config-file={self._configuration}", *arguments]

    def _prepare(self) -> None:
        for folder in ("lists/partial", "archives/partial", "log"):
            (self._cache / folder).mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(CONFIGURATION.format(cache=self._cache))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self._cache.mkdir(parents=True, exist_ok=True)
        with (self._cache / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for the build of another agent")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
