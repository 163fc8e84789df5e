"""Exit codes: one table that maps failures to exit statuses."""

from enum import IntEnum


class Exit(IntEnum):
    """An exit code of hivectl."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5
    CONFLICT = 6
    TIMEOUT = 7
    LIMIT = 8
    DEGRADED = 9
    INTERRUPTED = 130
    READER_LEFT = 141


MEANING: dict[Exit, str] = {
    Exit.OK: "success",
    Exit.FAILED: "the operation failed; the message on standard error says why",
    Exit.USAGE: "wrong usage, or an argument that the hive refused",
    Exit.NOT_FOUND: (
        "the object does not exist, such as an agent, a message, a request, a project or a file"
    ),
    Exit.DENIED: "you may not do this: you are not an operator, or the command needs root",
    Exit.UNAVAILABLE: "the hive, or the service that was called, is not running",
    Exit.CONFLICT: "the object exists already, or its state does not allow the operation",
    Exit.TIMEOUT: "the operation did not complete in time; it may still complete",
    Exit.LIMIT: "a limit on sizes or numbers was exceeded",
    Exit.DEGRADED: "a problem was found in the hive, or with the agent (status, doctor)",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
    Exit.READER_LEFT: "the reader of the output closed the pipe",
}

BY_ERROR: dict[str, Exit] = {
    "InvalidArgument": Exit.USAGE,
    "NotFound": Exit.NOT_FOUND,
    "AlreadyExists": Exit.CONFLICT,
    "AccessDenied": Exit.DENIED,
    "Conflict": Exit.CONFLICT,
    "LimitExceeded": Exit.LIMIT,
    "BudgetExhausted": Exit.LIMIT,
    "ProviderLimited": Exit.LIMIT,
    "Unavailable": Exit.UNAVAILABLE,
    "Stopping": Exit.UNAVAILABLE,
    "Internal": Exit.FAILED,
    "CorruptStore": Exit.FAILED,
    "Timeout": Exit.TIMEOUT,
}
"""The exit code of each error of the hive, by the last part of its D-Bus name."""


class CommandError(Exception):
    """A failure that ends a command.

    `str()` is the sentence for people, `code` the exit code. `details` are lines that explain the
    failure, such as the end of a build's log.
    """

    def __init__(self, code: Exit, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details


class ReaderLeftError(Exception):
    """The reader of standard output closed the pipe: nothing more can be printed."""


def help_text() -> str:
    """Return the table of exit codes, as `hivectl --help` shows it."""
    return "\n".join(f"{code.value:>5}  {meaning}" for code, meaning in MEANING.items())
