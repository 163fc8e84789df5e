"""Structured logging: one call sets up the standard library's logging.

    journal.setup("broker")
    log = logging.getLogger(__name__)
    log.info("started %s", name, extra={"HIVE_AGENT": name, "HIVE_JOB": 3})

The upper-case keys of `extra` become journal fields: `journalctl HIVE_AGENT=alice`. Without a
journal the lines go to stderr, followed by the fields.
"""

import logging
import os
import sys
from typing import Final

_ORDINARY: Final = frozenset(vars(logging.makeLogRecord({})))


def setup(name: str, level: int = logging.INFO) -> None:
    """Log to the journal under the identifier `hive-NAME`, or to stderr."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_journal_handler(f"hive-{name}") if _has_journal() else _stderr_handler())
    root.setLevel(level)


def fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the journal fields of a record: the upper-case keys of its `extra`."""
    return {
        key: value
        for key, value in vars(record).items()
        if key not in _ORDINARY and key.isupper() and value is not None
    }


def _has_journal() -> bool:
    # systemd sets this when it has connected our stderr to the journal. In a shell and under pytest
    # it is unset, and a line on the terminal is more useful there.
    return "JOURNAL_STREAM" in os.environ


def _journal_handler(identifier: str) -> logging.Handler:
    from systemd.journal import JournalHandler

    handler: logging.Handler = JournalHandler(SYSLOG_IDENTIFIER=identifier)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _stderr_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithFields("%(levelname)s %(name)s: %(message)s"))
    return handler


class _WithFields(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extra = " ".join(f"{key}={value}" for key, value in fields(record).items())
        return f"{line} [{extra}]" if extra else line
