"""The Python environment of an installation: the packages that run, and nothing else.

A checkout keeps the wheels of these packages in `.build`, so that only the first installation needs
the network. The environment is made beside its place, and then takes the place file by file:
containers have the directory mounted, and services run from it meanwhile.
"""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from installer import stamps
from installer.errors import InstallError
from installer.pip import locked, make_venv, pip, runs_this_python

BUILD: Final = ".build"
"""The directory of a checkout for wheels and packages; git ignores it."""
RUNTIME: Final = "installer/runtime.lock"
"""The packages that the hive imports at run time, locked with hashes."""
TOOLS: Final = "installer/build.lock"
"""The packages that build the hyperhive package."""

_DEPENDENCIES: Final = ".hyperhive-dependencies"
"""The stamp of the environment's packages."""
_OFFLINE: Final = ("--no-index", "--progress-bar=off")


class Wheels:
    """The wheels that a checkout keeps."""

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        version = "{}{}".format(*sys.version_info[:2])
        self.directory = repo / BUILD / f"wheels-{version}"
        """The directory of the wheels; another Python has another one."""
        self.pip = repo / BUILD / f"pip-{version}"
        """A venv with nothing but pip."""

    @property
    def locks(self) -> list[Path]:
        """The files that name the packages."""
        return [self._repo / RUNTIME, self._repo / TOOLS]

    @property
    def are_complete(self) -> bool:
        """Whether nothing has to be fetched."""
        stamp = stamps.read(self.directory / "complete")
        return stamp == stamps.digest(self.locks) and runs_this_python(self.pip, "pip")

    def ensure(self) -> None:
        """Fetch or build all wheels, unless they are there.

        Raises:
            InstallError: pip failed.
        """
        if self.are_complete:
            return
        if not runs_this_python(self.pip, "pip"):
            make_venv(self.pip)
        number = sum(len(locked(lock)) for lock in self.locks)
        print(f"  fetching {number} Python packages (minutes, the first time)", flush=True)
        fresh = self.directory.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        lists = [f"--requirement={lock}" for lock in self.locks]
        # Some packages have no wheels, and pip alone cannot build those in an older way.
        options = ["--require-hashes", "--use-pep517", "--progress-bar=off", f"--wheel-dir={fresh}"]
        pip(self.pip, "wheel", *options, *lists, expected=number)
        (fresh / "complete").write_text(stamps.digest(self.locks))
        shutil.rmtree(self.directory, ignore_errors=True)
        fresh.rename(self.directory)


def stage(
    wheels: Wheels, repo: Path, staged: Path, prefix: Path, *, present: Path | None = None
) -> None:
    """Make `staged` the environment that belongs at `prefix`.

    Args:
        wheels: complete wheels.
        repo: the checkout.
        staged: the directory to make.
        prefix: the place for which the environment is made.
        present: an environment on the same file system, whose packages are taken if they are
            the locked ones.

    Raises:
        InstallError: pip failed.
    """
    shutil.rmtree(staged, ignore_errors=True)
    wanted = stamps.digest([repo / RUNTIME])
    if present and _has(present, wanted):
        # These are links: pip replaces files, and does not write into them.
        subprocess.run(["cp", "-a", "--link", str(present), str(staged)], check=True)
    else:
        print("  installing the Python packages", flush=True)
        make_venv(staged, "--without-pip")
        names = locked(repo / RUNTIME)
        _install(wheels, staged, wheels.directory, "--no-deps", *names)
        (staged / _DEPENDENCIES).write_text(wanted)
    print("  installing the hyperhive package", flush=True)
    built = staged / "built"
    source = [f"--find-links={wheels.directory}", f"--wheel-dir={built}", "--no-deps", str(repo)]
    pip(wheels.pip, "wheel", *_OFFLINE, *source)
    _install(wheels, staged, built, "--no-deps", "--force-reinstall", "hyperhive")
    shutil.rmtree(built)
    _keep_only_python(staged / "bin")
    _name(staged, prefix)


def compile_modules(staged: Path, prefix: Path) -> None:
    """Compile the modules of `staged` that are not compiled yet, for `prefix`.

    The services cannot write there.
    """
    [site] = staged.glob("lib/python3*/site-packages")
    fresh = [
        path for path in site.iterdir() if path.name in stamps.PACKAGES or not _is_compiled(path)
    ]
    # The time of a source does not count: `replace` leaves a file alone whose content is the same.
    options = ["-q", "--invalidation-mode=unchecked-hash", "-s", str(staged), "-p", str(prefix)]
    python = [str(staged / "bin/python"), "-m", "compileall"]
    # Packages bring files for other versions of Python, which do not compile.
    subprocess.run([*python, *options, *map(str, fresh)], capture_output=True, check=False)


def replace(staged: Path, prefix: Path) -> None:
    """Make the tree `prefix` equal to `staged`, each file at once, and remove `staged`.

    Directories stay the same ones: they are mounted in containers. A file that is the same stays,
    too. After an interruption, the next installation does everything again.
    """
    stamp = staged / _DEPENDENCIES
    wanted = stamps.read(stamp)
    # Without it, the stamp of `prefix` is removed first, and written when all is done.
    stamp.unlink(missing_ok=True)
    _replace(staged, prefix)
    shutil.rmtree(staged)
    (prefix / _DEPENDENCIES).write_text(wanted)


def _is_compiled(package: Path) -> bool:
    """Return whether a package, or a module, comes from an environment that was compiled."""
    if package.is_dir():
        return next(package.rglob("__pycache__"), None) is not None
    return any((package.parent / "__pycache__").glob(f"{package.stem}.*"))


def _has(environment: Path, wanted: str) -> bool:
    """Return whether an environment has the packages of the stamp `wanted`."""
    stamp = stamps.read(environment / _DEPENDENCIES)
    return stamp == wanted and runs_this_python(environment, "hivectl")


def _replace(staged: Path, place: Path) -> None:
    place.mkdir(mode=0o755, exist_ok=True)
    wanted = {entry.name for entry in os.scandir(staged)}
    for name in {entry.name for entry in os.scandir(place)} - wanted:
        _remove(place / name)
    for entry in list(os.scandir(staged)):
        there = place / entry.name
        if entry.is_dir(follow_symlinks=False):
            if there.is_symlink() or there.is_file():
                there.unlink()
            _replace(Path(entry.path), there)
        elif not _same(Path(entry.path), there):
            if there.is_dir() and not there.is_symlink():
                shutil.rmtree(there)
            Path(entry.path).replace(there)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _same(one: Path, other: Path) -> bool:
    if not os.path.lexists(other):
        return False
    ours, theirs = one.lstat(), other.lstat()
    if ours.st_mode != theirs.st_mode:
        return False
    if one.is_symlink():
        return one.readlink() == other.readlink()
    return os.path.samestat(ours, theirs) or filecmp.cmp(one, other, shallow=False)


def _install(wheels: Wheels, environment: Path, links: Path, *arguments: str) -> None:
    target = ["--python", str(environment / "bin/python")]
    options = [*_OFFLINE, f"--find-links={links}", "--no-compile"]
    pip(wheels.pip, *target, "install", *options, *arguments)


def _keep_only_python(directory: Path) -> None:
    """Remove the programs of other packages: nothing of the hive runs them."""
    for path in directory.iterdir():
        if path.name != "hivectl" and not path.name.startswith("python"):
            path.unlink()


def _name(staged: Path, prefix: Path) -> None:
    """Let the files that name the environment name the place in which it will be."""
    for path in (staged / "bin/hivectl", staged / "pyvenv.cfg"):
        text = path.read_text().replace(str(staged), str(prefix))
        mode = path.stat().st_mode
        path.unlink()  # It may be a link to the file that is in use.
        path.write_text(text)
        path.chmod(mode)


def check_place(prefix: Path) -> None:
    """Check that an environment can be made at `prefix`.

    Raises:
        InstallError: something is mounted there.
    """
    if prefix.is_mount():
        raise InstallError(
            f"{prefix} is a mount, as in a sandbox of `make up`. Run `make install` on the host"
            " itself, outside of the sandbox."
        )
