"""Structured logging: fields reach the journal, or follow the line."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from services import journal


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_without_a_journal_fields_stand_behind_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    journal.setup("demo")
    extra = {"HIVE_AGENT": "bob", "HIVE_JOB": 3, "HIVE_TURN": None}
    logging.getLogger("room").info("hello", extra=extra)
    logging.getLogger("room").debug("unheard")
    assert capsys.readouterr().err == "INFO room: hello [HIVE_AGENT=bob HIVE_JOB=3]\n"


def test_fields_reach_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    monkeypatch.setattr("systemd.journal.send", lambda *args, **fields: sent.append((args, fields)))
    journal.setup("demo")
    [handler] = logging.getLogger().handlers
    monkeypatch.setattr(handler, "send", lambda *args, **fields: sent.append((args, fields)))
    logging.getLogger("room").warning("it is %s", "late", extra={"HIVE_AGENT": "bob"})
    [(args, fields)] = sent
    assert args == ("it is late",)
    assert (fields["HIVE_AGENT"], fields["SYSLOG_IDENTIFIER"]) == ("bob", "hive-demo")
    assert fields["PRIORITY"] == "4"
