"""The entry point of `hivectl`."""

import sys


def main() -> None:
    """Run hivectl with the arguments of the process, and exit with a documented code."""
    try:
        # Imported here, so that Ctrl-C during the imports is handled as well.
        from hivectl import garbage

        garbage.wait()
        from hivectl.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
