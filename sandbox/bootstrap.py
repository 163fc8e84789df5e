"""Gets a fresh machine ready: `python3 sandbox/bootstrap.py [--tests] [--bench] [--venv PLACE]`.

Uses nothing but the standard library, and does nothing when everything is there already.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.dont_write_bytecode = True
REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from sandbox import machine, npm, venv  # noqa: E402
from sandbox.instance import SandboxError  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    """Install packages, virtual environment and package; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bootstrap", description="Get this machine ready.")
    parser.add_argument("--tests", action="store_true", help="also what only the tests need")
    parser.add_argument("--bench", action="store_true", help="also what only `make bench` needs")
    parser.add_argument("--venv", type=Path, default=REPO / ".venv", help="where to install")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("This needs root (packages, mounts, containers): use sudo.", file=sys.stderr)
        return 1
    needs = [*machine.HOST, *machine.BUILD]
    needs += machine.TESTS if options.tests else ()
    needs += machine.BENCH if options.bench else ()
    try:
        machine.require(needs)
        venv.ensure(REPO, options.venv)
        if options.tests:
            npm.ensure(REPO / "tests/inspector", options.venv / "inspector")
    except SandboxError as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: Interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
