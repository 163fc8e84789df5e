"""The files of npm packages that the dashboard serves, and those that its tests use.

services/dashboard/vendor.toml pins each package with the digest of its archive. npm fetches the
archive from the registry that it is configured with, and runs nothing of it. A package whose files
are there already is not fetched again.
"""

import base64
import hashlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from installer.errors import InstallError

PINS: Final = "services/dashboard/vendor.toml"
SERVED: Final = "services/dashboard/vendor"
"""The directory of the files that the dashboard serves; git ignores it, the wheel has it."""

TESTED: Final = "services/dashboard/tests/vendor"
"""The directory of the files that only tests use."""

SECONDS: Final = 300
_INSIDE: Final = "package"
"""The directory in npm's archives."""


@dataclass(frozen=True)
class Package:
    """A package of npm.

    Attributes:
        name: Its name.
        version: Its exact version.
        sha512: The digest of its archive, in base64 as npm writes it.
        files: The paths in the package, by the names that they get.
        tests: Whether only tests use it.
    """

    name: str
    version: str
    sha512: str
    files: Mapping[str, str]
    tests: bool = False

    def directory(self, repo: Path) -> Path:
        """Return the directory of its files."""
        return repo / (TESTED if self.tests else SERVED)

    def stamp(self, repo: Path) -> Path:
        """Return the file that says what was fetched."""
        return self.directory(repo) / f".{self.name.strip('@').replace('/', '-')}"

    def wanted(self) -> str:
        """Return the content of the stamp when the files are complete."""
        return repr((self.name, self.version, self.sha512, sorted(self.files.items())))

    def is_complete(self, repo: Path) -> bool:
        """Return whether all files of this version are there."""
        stamp, directory = self.stamp(repo), self.directory(repo)
        fetched = stamp.exists() and stamp.read_text() == self.wanted()
        return fetched and all((directory / name).exists() for name in self.files)


def packages(repo: Path) -> list[Package]:
    """Return the packages that the repository pins."""
    # An older Python lacks this module; `venv` tells its user so in a sentence.
    import tomllib

    pins: dict[str, Any] = tomllib.loads((repo / PINS).read_text())
    return [Package(**package) for package in pins["package"]]


def missing(repo: Path, *, tests: bool) -> list[Package]:
    """Return the packages whose files are not there; those of tests only if `tests`."""
    return [
        package
        for package in packages(repo)
        if (tests or not package.tests) and not package.is_complete(repo)
    ]


def ensure(repo: Path, wanted: Sequence[Package]) -> None:
    """Fetch the packages `wanted`, and put their files into the working tree.

    Raises:
        InstallError: npm failed, or an archive is not the pinned one.
    """
    if wanted:
        print(f"  fetching {', '.join(package.name for package in wanted)} (npm)", flush=True)
    for package in wanted:
        archive = _fetch(package)
        digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
        if digest != package.sha512:
            raise InstallError(
                f"The archive of {package.name} {package.version} has the SHA-512 {digest}, but"
                f" {PINS} pins {package.sha512}. Nothing of it was installed."
            )
        _unpack(package, archive, repo)


def _fetch(package: Package) -> bytes:
    """Return the archive of a package."""
    wanted = f"{package.name}@{package.version}"
    with tempfile.TemporaryDirectory(prefix="hyperhive-npm-") as directory:
        command = ["npm", "pack", "--ignore-scripts", "--silent", "--prefer-offline"]
        command += [f"--pack-destination={directory}", wanted]
        try:
            done = subprocess.run(
                command,
                cwd=directory,  # no .npmrc or package.json of a project
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InstallError(f"npm could not fetch {wanted}: {error}.") from error
        archives = list(Path(directory).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            tail = "\n  ".join((done.stdout + done.stderr).splitlines()[-15:])
            raise InstallError(f"npm could not fetch {wanted}:\n  {tail}")
        return archives[0].read_bytes()


def _unpack(package: Package, archive: bytes, repo: Path) -> None:
    """Put the named files of an archive in their place, the stamp last."""
    directory = package.directory(repo)
    directory.mkdir(exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as content:
        for name, path in package.files.items():
            try:
                file = content.extractfile(f"{_INSIDE}/{path}")
            except KeyError:
                file = None
            if file is None:
                raise InstallError(f"{package.name} {package.version} has no file {path}.")
            (directory / f".{name}.new").write_bytes(file.read())
            (directory / f".{name}.new").replace(directory / name)
    package.stamp(repo).write_text(package.wanted())
