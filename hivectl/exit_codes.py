"""Exit codes: one table from what went wrong to what the shell is told."""

from enum import IntEnum


class Exit(IntEnum):
    """What an exit code of hivectl means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5
    CONFLICT = 6
    TIMEOUT = 7
    LIMIT = 8
    INTERRUPTED = 130
    READER_LEFT = 141


MEANING: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "the operation failed; the sentence on stderr says why",
    Exit.USAGE: "wrong usage, or an argument that the hive refused",
    Exit.NOT_FOUND: "no such agent, message, question, reminder, request or file",
    Exit.DENIED: "you are not the operator (root, or a member of group hive)",
    Exit.UNAVAILABLE: "the hive, or the service that was asked, is not running",
    Exit.CONFLICT: "it exists already, or its state does not allow this",
    Exit.TIMEOUT: "it did not happen in time; it may still happen",
    Exit.LIMIT: "too large or too many",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
    Exit.READER_LEFT: "whoever read the output has left",
}

BY_ERROR: dict[str, Exit] = {
    "InvalidArgument": Exit.USAGE,
    "NotFound": Exit.NOT_FOUND,
    "AlreadyExists": Exit.CONFLICT,
    "AccessDenied": Exit.DENIED,
    "Conflict": Exit.CONFLICT,
    "LimitExceeded": Exit.LIMIT,
    "Unavailable": Exit.UNAVAILABLE,
    "Stopping": Exit.UNAVAILABLE,
    "Internal": Exit.FAILED,
    "CorruptStore": Exit.FAILED,
    "Timeout": Exit.TIMEOUT,
}
"""The exit code of each error of the hive, by the last part of its D-Bus name."""


class CommandError(Exception):
    """A command ends here: `str()` is the sentence for people, `code` the one for the shell.

    `details` are lines that explain it, such as the end of a log.
    """

    def __init__(self, code: Exit, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details


class ReaderLeftError(Exception):
    """Whoever read our output has left: there is nothing more to say, and nobody to say it to."""


def help_text() -> str:
    """The table of exit codes, as `hivectl --help` shows it."""
    return "\n".join(f"{code.value:>5}  {meaning}" for code, meaning in MEANING.items())
