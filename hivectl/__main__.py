"""Entry point of `hivectl`: runs the command and turns what went wrong into an exit code."""

import contextlib
import os
import sys


def main() -> None:
    """Run hivectl with the arguments of the process, and exit with a documented code."""
    try:
        from hivectl.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Whoever read our output has left: no reason to complain, nothing left to say.
        code = 128 + 13
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.exit(code)
    # The interpreter flushes once more at its end, which must not fail loudly.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + 13)


if __name__ == "__main__":
    main()
