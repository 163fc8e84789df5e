"""Uninstalling: the files go, the data stays, unless the operator says otherwise."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from installer import files
from installer.errors import InstallError

DATA: Final = {
    Path("/var/lib/hyperhive"): "the data of the services and of the agents",
    Path("/etc/hyperhive"): "the configuration and the credentials",
    Path("/var/cache/hyperhive"): "packages for agents",
    Path("/run/hyperhive"): "sockets",
}
"""The directories that only a purge removes."""


def uninstall() -> None:
    """Stop the hive and remove the installed files; print what is kept, and how to remove it.

    Raises:
        InstallError: the Debian package has installed the hive.
    """
    if files.PACKAGE.exists() and not files.is_installed():
        raise InstallError(
            "The Debian package has installed Hyperhive. Remove it with: apt remove hyperhive"
        )
    print("Uninstalled." if _remove() else "Hyperhive is not installed.")
    if left := list(_kept()):
        print("Kept:")
        for path, what in left:
            print(f"  {path}: {what}")
        print("  the users and groups hive-*: no other user gets their numbers, and so your files")
        print("Remove the kept files with: make uninstall PURGE=1")


def purge(*, confirmed: bool) -> None:
    """Uninstall, and remove the data; ask for that on the terminal, unless `confirmed`.

    Raises:
        InstallError: nobody can be asked, or the answer was not yes: nothing was removed; or some
            of the data could not be removed.
    """
    doomed = list(_kept())
    if doomed and not confirmed:
        print("This removes for good:")
        for path, what in doomed:
            print(f"  {path}: {what}")
        if not sys.stdin.isatty():
            raise InstallError(
                "There is no terminal to ask for a confirmation, so nothing was removed. Run:"
                " make uninstall PURGE=1 YES=1"
            )
        try:
            answer = input("Type yes to remove it: ")
        except EOFError:
            answer = ""
        if answer.strip() != "yes":
            raise InstallError("Nothing was removed.")
    print("Uninstalled." if _remove() else "Hyperhive is not installed.")
    for path, _ in doomed:
        # Not shutil.rmtree: agents may have left deeper trees than it can go down.
        files.run("rm", "-rf", "--one-file-system", str(path), check=False)
    # The containers' drop-ins are gone.
    files.run("systemctl", "daemon-reload")
    _report([path for path, _ in doomed])


def _report(doomed: Sequence[Path]) -> None:
    """Print how many of the paths were removed.

    Raises:
        InstallError: some are still there; the text has a command for each.
    """
    left = [path for path in doomed if _is_left(path)]
    gone = len(doomed) - len(left)
    print(f"Removed {gone} directories and files." if doomed else "There was no data.")
    if left:
        # Without the drop-in of a container, another purge would not find its other files.
        commands = [f"rm -rf --one-file-system {shlex.quote(str(path))}" for path in left]
        raise InstallError(
            "These could not be removed, for the reasons that rm gave above. Correct the reasons, "
            "then run:\n  " + "\n  ".join(commands)
        )


def _is_left(path: Path) -> bool:
    """Return whether a path is still there; an empty directory is a mount point."""
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir()) or not path.is_mount()
    return os.path.lexists(path)


def containers(root: Path = Path("/")) -> Iterator[Path]:
    """Yield lifecycle's files of each container; its drop-in tells these containers from others."""
    units = root / "etc/systemd/system"
    for unit in sorted(units.glob("systemd-nspawn@*.service.d")):
        if (unit / "50-hyperhive.conf").exists():
            machine = unit.name.removeprefix("systemd-nspawn@").removesuffix(".service.d")
            yield root / "var/lib/machines" / machine
            yield from (root / "var/lib/machines").glob(f".{machine}.old*")
            yield root / "etc/systemd/nspawn" / f"{machine}.nspawn"
            yield unit


def _kept() -> Iterator[tuple[Path, str]]:
    """Yield the paths that an uninstallation keeps, and what each is."""
    for path, what in DATA.items():
        if path.is_dir() and any(path.iterdir()):
            yield path, what
    for path in containers():
        if path.exists():
            yield path, "a container"


def _remove() -> bool:
    """Stop the hive, and remove the installed files; return whether there were any."""
    if not files.is_installed() and not files.PREFIX.is_dir():
        return False
    installed = files.manifest()
    # A unit whose file is gone already cannot be stopped by its name.
    loaded = files.DESTINATIONS["lib/systemd/system"] / "hive.target" in installed
    for unit in ("hive.target", "hive.slice") if loaded else ():
        files.run("systemctl", "stop", unit, check=False)
    files.disable(path for path in installed if path.exists())
    for path in installed:
        path.unlink(missing_ok=True)
    shutil.rmtree(files.MANIFEST.parent, ignore_errors=True)
    if files.PREFIX.is_dir() and not files.PREFIX.is_mount():
        shutil.rmtree(files.PREFIX)
    files.run("systemctl", "daemon-reload")
    files.reload_bus()
    return True
