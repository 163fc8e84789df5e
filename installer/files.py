"""The files outside PREFIX: units, policies, users, manual pages, completions.

Each is listed in MANIFEST before it is written, so `uninstall` also removes an interrupted
installation.
"""

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

PREFIX: Final = Path("/usr/lib/hyperhive")
MANIFEST: Final = Path("/usr/local/share/hyperhive/installed")
INCOMPLETE: Final = MANIFEST.with_name("incomplete")

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
CONFIG: Final = Path("/etc/hyperhive/hyperhive.toml")
SAMPLE: Final = PREFIX / "share/hyperhive/hyperhive.toml"
"""The sample of CONFIG: all settings with their defaults, each line a comment."""
PACKAGE: Final = Path("/var/lib/dpkg/info/hyperhive.list")
"""A file that exists while the Debian package is installed."""


def is_installed() -> bool:
    """Return whether `install` has put files on this host."""
    return MANIFEST.exists()


def install() -> None:
    """Install the files that PREFIX ships, and remove those of earlier versions."""
    before = manifest()
    files = dict(_shipped())
    completions = completions_of(PREFIX)
    links = {COMPLETIONS[shell]: text for shell, text in completions.items()}
    wanted = [*files.values(), *links, HIVECTL]
    unfinished = INCOMPLETE.exists()
    _write(INCOMPLETE, "An installation began and has not ended.\n")
    _write(MANIFEST, "".join(f"{path}\n" for path in sorted({*before, *wanted})))
    changed = [_write(path, source.read_text()) for source, path in files.items()]
    for path, text in links.items():
        _write(path, text)
    _link(HIVECTL, PREFIX / "bin/hivectl")
    gone = before - set(wanted)
    disable(gone)
    for path in gone:
        path.unlink(missing_ok=True)
    _write(MANIFEST, "".join(f"{path}\n" for path in sorted(wanted)))
    if unfinished or gone or any(changed):
        _apply()
        units = [path for path in files.values() if path.parent.name == "system"]
        # A unit that the operator has disabled stays so.
        _enable(unit for unit in units if unfinished or unit not in before)
    if not CONFIG.exists() and SAMPLE.exists():
        _write(CONFIG, SAMPLE.read_text())
    INCOMPLETE.unlink()


def manifest() -> set[Path]:
    """Return the files that `install` has put on this host."""
    return (
        {Path(line) for line in MANIFEST.read_text().splitlines()} if MANIFEST.exists() else set()
    )


def completions_of(prefix: Path) -> dict[str, str]:
    """Return the completion that hivectl prints for each shell; nothing if it fails."""
    found = {}
    for shell in COMPLETIONS:
        asked = subprocess.run(
            [prefix / "bin/python", "-m", "hivectl", "completion", shell],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and asked.stdout:
            found[shell] = asked.stdout
    return found


def is_enabled_by_default(unit: Path) -> bool:
    """Return whether an installation enables a unit."""
    return "@" not in unit.name and "\n[Install]\n" in unit.read_text()


def disable(files: Iterable[Path]) -> None:
    """Disable the units among `files`."""
    units = [path.name for path in files if path.parent == DESTINATIONS["lib/systemd/system"]]
    if units:
        run("systemctl", "disable", "--quiet", *units, check=False)


def reload_bus() -> None:
    """Make the bus read its policies.

    Send a signal: dbus-daemon also reloads when it sees a new policy, and may then leave a
    ReloadConfig call unanswered.
    """
    # A daemon that does not run yet reads them when it starts.
    reload = ["systemctl", "kill", "--kill-whom=main", "--signal=HUP", "dbus.service"]
    subprocess.run(reload, check=False, stderr=subprocess.DEVNULL)


def run(*command: str, check: bool = True) -> None:
    """Run a program without its output; its errors are shown."""
    subprocess.run(command, check=check, stdout=subprocess.DEVNULL)


def _shipped() -> Iterator[tuple[Path, Path]]:
    for folder, destination in DESTINATIONS.items():
        for source in sorted((PREFIX / folder).glob("*")):
            yield source, destination / source.name


def _apply() -> None:
    """Apply users, directories, units and bus policies without a reboot."""
    run("systemd-sysusers", *map(str, sorted(DESTINATIONS["lib/sysusers.d"].glob("hyperhive*"))))
    tmpfiles = DESTINATIONS["lib/tmpfiles.d"].glob("hyperhive*")
    run("systemd-tmpfiles", "--create", *map(str, sorted(tmpfiles)))
    _apply_kernel_limits()
    run("systemctl", "daemon-reload")
    reload_bus()


def _enable(units: Iterable[Path]) -> None:
    enabled: Sequence[str] = [unit.name for unit in units if is_enabled_by_default(unit)]
    if enabled:
        run("systemctl", "enable", "--quiet", *enabled)


def _apply_kernel_limits() -> None:
    """Apply the inotify limits of the host's sysctl.d.

    Skip that where systemd does not set kernel parameters: a sandbox shares the machine's kernel.
    """
    asked = ["systemctl", "is-enabled", "systemd-sysctl.service"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if said != "masked":
        # It reports parameters that it cannot set, in a container for example.
        run("/lib/systemd/systemd-sysctl", "--prefix=/fs/inotify", check=False)


def _write(path: Path, text: str) -> bool:
    """Replace a file atomically, readable by all; return whether its text has changed."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text)
    partial.chmod(0o644)
    partial.replace(path)
    return True


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
