"""Install the package's files on a systemd host, and remove exactly these files again.

The installer imports only the standard library. It runs as root, on the host (`make install`) or in
a sandbox (`sandbox install`). It lists each file in MANIFEST before it writes the file, so
`uninstall` also removes an interrupted installation.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

PREFIX: Final = Path("/usr/lib/hyperhive")
MANIFEST: Final = Path("/usr/local/share/hyperhive/installed")
INCOMPLETE: Final = MANIFEST.with_name("incomplete")
DATA: Final = Path("/var/lib/hyperhive")

DESTINATIONS: Final = {
    "lib/systemd/system": Path("/usr/local/lib/systemd/system"),
    "lib/sysctl.d": Path("/usr/local/lib/sysctl.d"),
    "lib/sysusers.d": Path("/usr/local/lib/sysusers.d"),
    "lib/tmpfiles.d": Path("/usr/local/lib/tmpfiles.d"),
    "share/dbus-1/system.d": Path("/etc/dbus-1/system.d"),
    **{f"share/man/man{n}": Path(f"/usr/local/share/man/man{n}") for n in (1, 5, 7)},
}
"""The directory on a host for each folder of the prefix."""

HIVECTL: Final = Path("/usr/local/bin/hivectl")
COMPLETIONS: Final = {
    "bash": Path("/usr/local/share/bash-completion/completions/hivectl"),
    "fish": Path("/usr/local/share/fish/vendor_completions.d/hivectl.fish"),
    "zsh": Path("/usr/local/share/zsh/site-functions/_hivectl"),
}
PURGED: Final = (
    DATA,
    Path("/etc/hyperhive"),
    Path("/run/hyperhive"),
    Path("/var/cache/hyperhive"),
)


def install() -> None:
    """Install the files that PREFIX ships, and remove those of earlier versions."""
    before = _manifest()
    files = dict(_shipped())
    completions = _completions()
    wanted = [*files.values(), *completions, HIVECTL]
    unfinished = INCOMPLETE.exists()
    _write(INCOMPLETE, "An installation began and has not ended.\n")
    _write(MANIFEST, "".join(f"{path}\n" for path in sorted({*before, *wanted})))
    changed = [_write(path, source.read_text()) for source, path in files.items()]
    for path, text in completions.items():
        _write(path, text)
    _link(HIVECTL, PREFIX / "bin/hivectl")
    gone = before - set(wanted)
    _disable(gone)
    for path in gone:
        path.unlink(missing_ok=True)
    _write(MANIFEST, "".join(f"{path}\n" for path in sorted(wanted)))
    if unfinished or gone or any(changed):
        _apply([path for path in files.values() if path.parent.name == "system"])
    INCOMPLETE.unlink()


def uninstall(purge: bool) -> None:
    """Stop the hive, and remove the installed files; remove the data as well if `purge`."""
    files = _manifest()
    _run("systemctl", "stop", "hive.target", check=False)
    _run("systemctl", "stop", "hive.slice", check=False)
    _disable(files)
    for path in files:
        path.unlink(missing_ok=True)
    shutil.rmtree(MANIFEST.parent, ignore_errors=True)
    if PREFIX.is_dir() and not PREFIX.is_mount():
        shutil.rmtree(PREFIX)
    _run("systemctl", "daemon-reload")
    _reload_bus()
    if purge:
        for directory in (*PURGED, *containers()):
            # Not shutil.rmtree: agents may have left deeper trees than it can go down.
            _run("rm", "-rf", "--one-file-system", str(directory), check=False)


def containers(root: Path = Path("/")) -> Iterator[Path]:
    """Yield lifecycle's files of each container; its drop-in tells these containers from others."""
    units = root / "etc/systemd/system"
    for unit in units.glob("systemd-nspawn@*.service.d"):
        if (unit / "50-hyperhive.conf").exists():
            machine = unit.name.removeprefix("systemd-nspawn@").removesuffix(".service.d")
            yield root / "var/lib/machines" / machine
            yield from (root / "var/lib/machines").glob(f".{machine}.old*")
            yield root / "etc/systemd/nspawn" / f"{machine}.nspawn"
            yield unit


def _shipped() -> Iterator[tuple[Path, Path]]:
    for folder, destination in DESTINATIONS.items():
        for source in sorted((PREFIX / folder).glob("*")):
            yield source, destination / source.name


def _completions() -> dict[Path, str]:
    """Return the completion files that hivectl prints; nothing if it fails."""
    found = {}
    for shell, path in COMPLETIONS.items():
        asked = subprocess.run(
            [PREFIX / "bin/python", "-m", "hivectl", "completion", shell],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and asked.stdout:
            found[path] = asked.stdout
    return found


def _apply(units: Sequence[Path]) -> None:
    """Apply users, directories, units and bus policies without a reboot."""
    _run("systemd-sysusers", *map(str, sorted(DESTINATIONS["lib/sysusers.d"].glob("hyperhive*"))))
    tmpfiles = DESTINATIONS["lib/tmpfiles.d"].glob("hyperhive*")
    _run("systemd-tmpfiles", "--create", *map(str, sorted(tmpfiles)))
    _apply_kernel_limits()
    _run("systemctl", "daemon-reload")
    _reload_bus()
    enabled = [unit.name for unit in units if _is_enabled_by_default(unit)]
    if enabled:
        _run("systemctl", "enable", "--quiet", *enabled)


def _apply_kernel_limits() -> None:
    """Apply the inotify limits of the host's sysctl.d.

    Skip that where systemd does not set kernel parameters: a sandbox shares the machine's kernel.
    """
    asked = ["systemctl", "is-enabled", "systemd-sysctl.service"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if said != "masked":
        # It reports parameters that it cannot set, in a container for example.
        _run("/lib/systemd/systemd-sysctl", "--prefix=/fs/inotify", check=False)


def _is_enabled_by_default(unit: Path) -> bool:
    return "@" not in unit.name and "\n[Install]\n" in unit.read_text()


def _disable(files: set[Path]) -> None:
    units = [path.name for path in files if path.parent == DESTINATIONS["lib/systemd/system"]]
    if units:
        _run("systemctl", "disable", "--quiet", *units, check=False)


def _reload_bus() -> None:
    """Make the bus read its policies.

    Send a signal: dbus-daemon also reloads when it sees a new policy, and may then leave a
    ReloadConfig call unanswered.
    """
    # A daemon that does not run yet reads them when it starts.
    reload = ["systemctl", "kill", "--kill-whom=main", "--signal=HUP", "dbus.service"]
    subprocess.run(reload, check=False, stderr=subprocess.DEVNULL)


def _manifest() -> set[Path]:
    return (
        {Path(line) for line in MANIFEST.read_text().splitlines()} if MANIFEST.exists() else set()
    )


def _write(path: Path, text: str) -> bool:
    """Replace a file atomically; return whether its text has changed."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text)
    partial.replace(path)
    return True


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, stdout=subprocess.DEVNULL)


def main(arguments: Sequence[str]) -> int:
    """Run `check` (is this a systemd host?), `files` (install) or `uninstall`."""
    parser = argparse.ArgumentParser(prog="installer")
    parser.add_argument("action", choices=("check", "files", "uninstall"))
    parser.add_argument(
        "--purge", action="store_true", help="with uninstall: remove the data as well"
    )
    options = parser.parse_args(arguments)
    if not Path("/run/systemd/system").is_dir():
        print(
            "This machine does not run systemd. Run `make up` to try Hyperhive in a sandbox.",
            file=sys.stderr,
        )
        return 1
    if options.action == "files":
        install()
    elif options.action == "uninstall":
        uninstall(options.purge)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
