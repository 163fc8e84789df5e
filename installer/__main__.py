"""Install Hyperhive on this host, and remove it again: `python3 -m installer ACTION`.

It imports only the standard library, and runs in a checkout, as root. The Makefile calls it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from installer import deb, environment, files, machine, removal, upgrade, vendor
from installer.environment import Wheels
from installer.errors import InstallError
from installer.next_steps import NEXT_STEPS
from installer.pip import check_python

REPO: Final = Path(__file__).resolve().parents[1]
STAGED: Final = files.PREFIX.with_name(f"{files.PREFIX.name}.new")
"""The directory in which an environment is made; on the file system of its place."""


def prepare() -> Wheels:
    """Install what this machine needs to make an environment; return the wheels."""
    check_python()
    wheels = Wheels(REPO)
    wanted = vendor.missing(REPO, tests=False)
    needs = [*machine.HOST, machine.VENV]
    needs += machine.NPM if wanted else ()
    needs += () if wheels.are_complete else machine.BUILD
    machine.require(needs)
    # They are a part of the package.
    vendor.ensure(REPO, wanted)
    wheels.ensure()
    return wheels


def install() -> int:
    """Install, or upgrade a hive that may be running; return the exit status."""
    if files.PACKAGE.exists():
        raise InstallError(
            "The Debian package has installed Hyperhive. Build and install a newer one (make deb),"
            " or remove it first with: apt remove hyperhive"
        )
    environment.check_place(files.PREFIX)
    first = not files.is_installed()
    wheels = prepare()
    environment.stage(wheels, REPO, STAGED, files.PREFIX, present=files.PREFIX)
    environment.compile_modules(STAGED, files.PREFIX)
    if not first:
        upgrade.record()
    environment.replace(STAGED, files.PREFIX)
    files.install()
    if first:
        print(NEXT_STEPS)
        return 0
    print("Upgraded.")
    return upgrade.restart()


def main(arguments: Sequence[str]) -> int:
    """Run one action; return the exit status."""
    parser = argparse.ArgumentParser(prog="installer", description="Install Hyperhive.")
    parser.add_argument(
        "action",
        choices=("install", "files", "uninstall", "deb"),
        help="files: install only the files outside /usr/lib/hyperhive, as sandboxes need them",
    )
    parser.add_argument("--purge", action="store_true", help="with uninstall: also the data")
    parser.add_argument("--yes", action="store_true", help="with --purge: do not ask")
    parser.add_argument("--version", default="", help="with deb: the version of the package")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("The installer needs root. Run the command with sudo.", file=sys.stderr)
        return 1
    if options.action != "deb" and not Path("/run/systemd/system").is_dir():
        print(
            "This machine does not run systemd. Run `make up` to try Hyperhive in a sandbox.",
            file=sys.stderr,
        )
        return 1
    # The services have users of their own, which must be able to read all that is written here.
    os.umask(0o022)
    # Errors go to another stream, and belong after the lines before them.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        return _run(options)
    except InstallError as error:
        print(f"installer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("installer: Interrupted. Run the same command again to continue.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    match options.action:
        case "install":
            return install()
        case "files":
            files.install()
        case "deb":
            print(deb.build(prepare(), REPO, options.version))
        case "uninstall" if options.purge:
            removal.purge(confirmed=options.yes)
        case "uninstall":
            removal.uninstall()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
