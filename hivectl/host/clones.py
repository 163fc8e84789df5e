"""Fetching a change into a clone of the operator's."""

import os
import subprocess
import tempfile
from pathlib import Path

from hivectl.exit_codes import CommandError, Exit


def fetch(bundle: bytes, reference: str, into: str, directory: Path) -> None:
    """Let git fetch a reference out of a bundle.

    Args:
        bundle: the content of the bundle.
        reference: the reference in it.
        into: the full name of the reference in the clone, which is replaced.
        directory: the clone, or a directory in it.

    Raises:
        CommandError: git is missing, the directory is not in a clone, or the clone lacks the
            commits from which the change branches off.
    """
    with tempfile.NamedTemporaryFile(prefix="hivectl-", suffix=".bundle") as file:
        file.write(bundle)
        file.flush()
        command = ["git", "-c", "fetch.fsckObjects=true", "fetch", "--quiet", "--no-tags"]
        command += ["--no-write-fetch-head", "--no-recurse-submodules"]
        try:
            done = subprocess.run(
                [*command, file.name, f"+{reference}:{into}"],
                cwd=directory,
                env={**os.environ, "LC_ALL": "C.UTF-8"},  # its words are looked at below
                capture_output=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise CommandError(Exit.FAILED, f"git cannot be started: {error.strerror}.") from error
    if not done.returncode:
        return
    if "lacks these prerequisite commits" in done.stderr:
        raise CommandError(
            Exit.CONFLICT,
            "The clone lacks the commit from which the change branches off. Run `git fetch` there "
            "first, and check that it is a clone of the project.",
        )
    if "not a git repository" in done.stderr:
        raise CommandError(
            Exit.USAGE, f"{directory} is not in a clone of git. Change to your clone first."
        )
    lines = done.stderr.strip().splitlines()
    raise CommandError(Exit.FAILED, "git could not fetch the change.", "\n".join(lines[-5:]))
