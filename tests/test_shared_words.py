"""The words that the harness shares with the host: it imports nothing of the host."""

from harness.claude import forms, permissions
from wire.records import broker


def test_the_choices_of_questions_about_calls_are_the_same() -> None:
    for name in ("ALLOW_ALWAYS", "DENY"):
        assert getattr(permissions, name) == getattr(broker, name)
    for name in ("DECLINE", "LEAVE_OUT"):
        assert getattr(forms, name) == getattr(broker, name)
