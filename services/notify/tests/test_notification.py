"""Agents' words, on their way to a phone."""

import pytest

from services.notify.notification import MAX_TEXT, Notification, printable


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("two\nlines", "two\nlines"),
        ("\x1b[2Jgone", "<U+001B>[2Jgone"),
        ("a\u202eb\u200bc\x00d", "a<U+202E>b<U+200B>c<U+0000>d"),
        ("see https://cl\u0430ude.ai", "see https://xn--clude-5ve.ai"),
        ("Привет 👩\u200d🔬", "Привет 👩\u200d🔬"),
        ("häßlich \N{PILE OF POO}", "häßlich \N{PILE OF POO}"),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("x" * (MAX_TEXT + 1), "x" * (MAX_TEXT - 1) + "…"),
    ],
)
def test_hidden_characters_are_spelled_out_and_long_texts_cut(words: str, shown: str) -> None:
    assert printable(words, MAX_TEXT) == shown


def test_a_title_is_one_line() -> None:
    assert Notification.of("notice", 1, "a\nb", "", 0).title == "a b"


def test_a_notification_survives_dump_and_load() -> None:
    one = Notification.of("deploy-failed", 7, "apply of alice failed", "line\nline", 5, "alice")
    assert Notification.load(one.dump()) == one
    assert one.key == "deploy-failed-7"
