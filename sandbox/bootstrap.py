"""Prepare a fresh machine: `python3 sandbox/bootstrap.py [--tests] [--bench]`.

This script imports only the standard library, and does nothing if everything is installed.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.dont_write_bytecode = True
REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from installer import machine, vendor  # noqa: E402
from installer.errors import InstallError  # noqa: E402
from installer.pip import check_python  # noqa: E402
from sandbox import npm, venv  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    """Install packages, the virtual environment and Hyperhive; return the exit status."""
    parser = argparse.ArgumentParser(prog="bootstrap", description="Prepare this machine.")
    parser.add_argument("--tests", action="store_true", help="also install what the tests need")
    parser.add_argument("--bench", action="store_true", help="also install what `make bench` needs")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print(
            "The bootstrap needs root (packages, mounts, containers). Run the command with sudo.",
            file=sys.stderr,
        )
        return 1
    # The services of a sandbox, which have users of their own, run from the venv.
    os.umask(0o022)
    needs = [*machine.HOST, *machine.BUILD]
    needs += machine.TESTS if options.tests else ()
    # The tests run the comparisons of the bench, too.
    needs += machine.BENCH if options.tests or options.bench else ()
    directory = REPO / ".venv"
    try:
        check_python()
        wanted = vendor.missing(REPO, tests=options.tests)
        needs += machine.NPM if wanted and not options.tests else ()
        machine.require(needs)
        # They are a part of the package, which is installed next.
        vendor.ensure(REPO, wanted)
        venv.ensure(REPO, directory)
        if options.tests:
            npm.ensure(REPO / "tests/inspector", directory / "inspector")
    except InstallError as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: Interrupted. Run the same command again to continue.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
