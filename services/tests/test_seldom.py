"""The journal has a line once a minute, however often a client causes it."""

import pytest

from services import seldom


def test_a_line_is_due_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    line = seldom.Seldom()
    assert [line.due(), line.due()] == [True, False]
    now += seldom.SECONDS
    assert [line.due(), line.due()] == [True, False]
