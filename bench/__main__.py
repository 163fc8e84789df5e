"""Run all benches in turn, or the named ones: `python -m bench [NAME ...] [--quick]`."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def benches() -> list[str]:
    """Return the names of all benches: each is a folder with a __main__.py."""
    return sorted(path.parent.name for path in HERE.glob("*/__main__.py"))


def main(arguments: Sequence[str]) -> int:
    """Run the benches; return 1 if one of them failed (the others are run all the same)."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the hive.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(benches())}")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(benches())):
        parser.error(f"there is no bench {unknown[0]}; there are: {', '.join(benches())}.")
    failed = [
        name for name in options.names or benches() if run(name, ["--quick"] * options.quick) != 0
    ]
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one bench in a process of its own, so that its memory does not affect the others."""
    print(f"bench {name}", flush=True)
    command = [sys.executable, "-B", "-m", f"bench.{name}", *arguments]
    return subprocess.run(command, cwd=HERE.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
