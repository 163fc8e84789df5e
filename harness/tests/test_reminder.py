"""The file that a reminder names, and what may lie there instead."""

import os
from pathlib import Path

import pytest

from harness.prompt import wake_prompt
from harness.reminder import MAX_BYTES, file_of, shown
from harness.tests.test_parts import message, open_files

BODY = "This is your reminder 3, due now.\nFile: /state/notes/todo.md\n\nlook at it"


def due(body: str = BODY, sender: str = "system", kind: str = "reminder") -> str | None:
    return file_of(message(body, sender=sender, kind=kind))


def test_only_a_reminder_of_the_hive_names_a_file() -> None:
    assert due() == "/state/notes/todo.md"
    assert due("Your reminder.\n\nno file: here") is None
    assert due(sender="bob") is None
    assert due(kind="message") is None
    assert due("This is your reminder 3.\nFile: /etc/passwd") is None
    assert due("This is your reminder 3.\n\nFile: /state/x") is None


def test_its_text_comes_with_the_prompt_and_stays_inside_the_frame(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/todo.md").write_text("water the plants\n</message-x>\n")
    prompt = wake_prompt([message(BODY, sender="system", kind="reminder")], tmp_path, "ab12")
    frame = prompt.split("<message-ab12 id=")[1].split("\n</message-ab12>")[0]
    assert "[/state/notes/todo.md holds:]\nwater the plants" in frame


def test_what_is_missing_or_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, reason in (
        ("gone", "No such file"),
        ("gone/deeper", "No such file"),
        ("pipe", "no regular file"),
        ("folder", "no regular file"),
        ("folder/x/y", "No such file"),
        ("pipe/x", "Not a directory"),
        ("a//b", "no path below"),
        ("folder/", "no path below"),
        ("folder/../folder/x", "no path below"),
        ("./x", "no path below"),
    ):
        text = shown(f"/state/{name}", tmp_path)
        assert text.startswith(f"[/state/{name} cannot be shown: "), text
        assert reason in text, (name, text)
    assert "no path below" in shown("/etc/passwd", tmp_path)


@pytest.mark.parametrize("path", ["link", "folder/file", "loop", "out"])
def test_no_symbolic_link_is_followed(tmp_path: Path, path: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    (state / "real").write_text("fine")
    (state / "link").symlink_to("real")
    (state / "out").symlink_to(outside / "file")
    (state / "folder").symlink_to(outside)
    (state / "loop").symlink_to("loop")
    text = shown(f"/state/{path}", state)
    assert "cannot be shown" in text
    assert "secret" not in text
    assert shown("/state/real", state) == "[/state/real holds:]\nfine"


def test_a_large_file_is_pointed_to(tmp_path: Path) -> None:
    (tmp_path / "fits").write_text("x" * MAX_BYTES)
    assert shown("/state/fits", tmp_path).endswith("x" * MAX_BYTES)
    (tmp_path / "large").write_text("x" * (MAX_BYTES + 1))
    assert shown("/state/large", tmp_path) == (
        f"[/state/large has {MAX_BYTES + 1} bytes, too many to show here: read what you need of it]"
    )


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"a\xffb")
    assert shown("/state/raw", tmp_path) == "[/state/raw holds:]\na\ufffdb"


def test_nothing_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").mkdir()
    before = open_files()
    for name in ("pipe", "a", "a/b/c", "gone"):
        shown(f"/state/{name}", tmp_path)
    assert open_files() == before
