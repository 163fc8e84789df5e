"""A Debian package of a checkout: `make deb`.

The package has the same environment and the same files as `make install`, in the directories of
packages. It is for the release on which it was built, because its modules are for one Python.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Final

from installer import environment, files, machine
from installer.environment import BUILD, Wheels
from installer.errors import InstallError
from installer.next_steps import NEXT_STEPS

SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
SOURCES: Final = Path(__file__).with_name("debian")
DESTINATIONS: Final = {
    "lib/systemd/system": "usr/lib/systemd/system",
    "lib/sysctl.d": "usr/lib/sysctl.d",
    "lib/sysusers.d": "usr/lib/sysusers.d",
    "lib/tmpfiles.d": "usr/lib/tmpfiles.d",
    "share/dbus-1/system.d": "usr/share/dbus-1/system.d",
    "share/man": "usr/share/man",
}
"""The directory of the package for each folder of the environment."""
COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/hivectl",
    "fish": "usr/share/fish/vendor_completions.d/hivectl.fish",
    "zsh": "usr/share/zsh/vendor-completions/_hivectl",
}
MAINTAINER: Final = "The Hyperhive authors <hyperhive@packages.invalid>"
"""The maintainer, unless DEBFULLNAME and DEBEMAIL name another one."""
DESCRIPTION: Final = """\
swarm of Claude Code agents on one host
 Hyperhive runs each agent in a container of systemd-nspawn, keeps the messages
 between agents in a durable broker, and lets an operator approve every change
 to the swarm. Budgets limit the costs, and each agent reaches only the hosts
 that the operator allows.
"""


def build(wheels: Wheels, repo: Path, version: str = "") -> Path:
    """Build the package of `repo`; return its file.

    Args:
        wheels: complete wheels.
        repo: the checkout.
        version: the version of the package; that of pyproject.toml if it is empty.

    Raises:
        InstallError: this is not a Debian, or a step failed.
    """
    if shutil.which("dpkg-deb") is None:
        raise InstallError("dpkg-deb is missing: build the package on Debian or Ubuntu.")
    version = version or _version(repo)
    if not re.fullmatch(r"[0-9][A-Za-z0-9.+~]*", version):
        raise InstallError(
            f"{version!r} is not a valid version of a package: begin with a digit, then use"
            " letters, digits and . + ~."
        )
    architecture = _output("dpkg", "--print-architecture")
    root = repo / BUILD / "deb"
    shutil.rmtree(root, ignore_errors=True)
    prefix = root / files.PREFIX.relative_to("/")
    prefix.parent.mkdir(parents=True)
    environment.stage(wheels, repo, prefix, files.PREFIX)
    units = [path.name for path in sorted((prefix / "lib/systemd/system").glob("*"))
             if files.is_enabled_by_default(path)]  # fmt: skip
    _arrange(root, prefix, repo)
    _document(root, repo, version)
    _control(root, version, architecture, units)
    package = repo / BUILD / f"hyperhive_{version}_{architecture}.deb"
    print(f"  writing {package.name}", flush=True)
    # Most of it is compressed badly by any means, and it is built where it is used.
    pack = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1"]
    _output(*pack, "--build", str(root), str(package))
    shutil.rmtree(root)
    return package


def _arrange(root: Path, prefix: Path, repo: Path) -> None:
    """Move the files of the environment that belong elsewhere, and add links and completions."""
    # It runs before the environment is in its place, so the name of its Python does not count.
    completions = files.completions_of(prefix)
    for folder, destination in DESTINATIONS.items():
        (root / destination).parent.mkdir(parents=True, exist_ok=True)
        (prefix / folder).rename(root / destination)
    for shell, text in completions.items():
        _write(root / COMPLETIONS[shell], text)
    for page in (root / "usr/share/man").rglob("*.[1-9]"):
        _compress(page)
    for place in prefix.rglob("__pycache__"):
        shutil.rmtree(place)
    _tidy(prefix)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/hivectl").symlink_to("../lib/hyperhive/bin/hivectl")
    _write(root / "etc/hyperhive/hyperhive.toml", (repo / "man/hyperhive.toml").read_text())


def _tidy(prefix: Path) -> None:
    """Remove what no program of the environment reads."""
    for name in ("lib/systemd", "share/dbus-1", "include"):
        shutil.rmtree(prefix / name, ignore_errors=True)


def _document(root: Path, repo: Path, version: str) -> None:
    """Write the copyright, the changelog and the overrides of lintian."""
    place = root / "usr/share/doc/hyperhive"
    licence = (repo / "LICENSE").read_text()
    year = next(iter(re.findall(r"Copyright \(c\) (\d+)", licence)), "")
    terms = textwrap.dedent(licence.partition("\n\n")[2].partition("\n\n")[2])
    indented = "\n".join(f" {line}" if line else " ." for line in terms.rstrip().splitlines())
    copyright_ = (SOURCES / "copyright").read_text()
    _write(place / "copyright", copyright_.replace("@YEAR@", year).replace("@LICENCE@", indented))
    date = formatdate(_epoch(), usegmt=False, localtime=False)
    entry = f"hyperhive ({version}) unstable; urgency=medium\n\n  * CHANGELOG.md has the changes."
    _write(place / "changelog", f"{entry}\n\n -- {_maintainer()}  {date}\n")
    _compress(place / "changelog")
    _write(place / "CHANGELOG.md", (repo / "CHANGELOG.md").read_text())
    _compress(place / "CHANGELOG.md")
    overrides = (SOURCES / "lintian-overrides").read_text()
    _write(root / "usr/share/lintian/overrides/hyperhive", overrides)


def _control(root: Path, version: str, architecture: str, units: list[str]) -> None:
    """Write the files of DEBIAN: the control file, the sums, the scripts."""
    place = root / "DEBIAN"
    contents = [
        path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()
    ]
    size = sum(path.stat().st_size for path in contents) // 1024
    fields = {
        "Package": "hyperhive",
        "Version": version,
        "Architecture": architecture,
        "Maintainer": _maintainer(),
        "Installed-Size": str(size),
        "Depends": ", ".join(_depends()),
        "Section": "admin",
        "Priority": "optional",
        "Description": DESCRIPTION.rstrip(),
    }
    _write(place / "control", "".join(f"{name}: {value}\n" for name, value in fields.items()))
    _write(place / "conffiles", "/etc/hyperhive/hyperhive.toml\n")
    sums = "".join(_sum(root, path) for path in contents)
    _write(place / "md5sums", sums)
    for name in SCRIPTS:
        text = (SOURCES / name).read_text()
        text = text.replace("@UNITS@", " ".join(units)).replace("@NEXT_STEPS@", NEXT_STEPS)
        _write(place / name, text)
        (place / name).chmod(0o755)


def _depends() -> Iterator[str]:
    """Yield the packages that an installation needs."""
    major, minor = sys.version_info[:2]
    yield f"python3 (>= {major}.{minor})"
    yield f"python3 (<< {major}.{minor + 1})"
    # The libraries that a module was linked with.
    for library in ("libc6", "libsystemd0"):
        known = _output("dpkg-query", "--show", "--showformat=${Version}", library)
        yield f"{library} (>= {known.partition('-')[0]})"
    yield from (need.apt for need in machine.HOST)


def _sum(root: Path, path: Path) -> str:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "md5").hexdigest()
    return f"{digest}  {path.relative_to(root)}\n"


def _maintainer() -> str:
    name, address = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    return f"{name} <{address}>" if name and address else MAINTAINER


def _version(repo: Path) -> str:
    import tomllib  # an older Python lacks this module, and says so in a sentence

    return str(tomllib.loads((repo / "pyproject.toml").read_text())["project"]["version"])


def _epoch() -> float | None:
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return float(given) if given else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _compress(path: Path) -> None:
    """Compress a file as Debian does: without its name and time."""
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
