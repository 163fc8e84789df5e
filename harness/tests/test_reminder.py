"""The file that a reminder names, and everything else that may be at its path."""

import os
from pathlib import Path

import pytest

from harness.prompts.prompt import wake_prompt
from harness.prompts.reminder import MAX_BYTES, file_of, read_file
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
    assert "[/state/notes/todo.md contains:]\nwater the plants" in frame


def test_what_is_missing_or_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, reason in (
        ("gone", "No such file"),
        ("gone/deeper", "No such file"),
        ("pipe", "not a regular file"),
        ("folder", "not a regular file"),
        ("folder/x/y", "No such file"),
        ("pipe/x", "Not a directory"),
        ("a//b", "not a path below"),
        ("folder/", "not a path below"),
        ("folder/../folder/x", "not a path below"),
        ("./x", "not a path below"),
    ):
        text = read_file(f"/state/{name}", tmp_path)
        assert text.startswith(f"[/state/{name} cannot be read: "), text
        assert reason in text, (name, text)
    assert "not a path below" in read_file("/etc/passwd", tmp_path)


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
    text = read_file(f"/state/{path}", state)
    assert "cannot be read" in text
    assert "secret" not in text
    assert read_file("/state/real", state) == "[/state/real contains:]\nfine"


def test_a_large_file_is_pointed_to(tmp_path: Path) -> None:
    (tmp_path / "fits").write_text("x" * MAX_BYTES)
    assert read_file("/state/fits", tmp_path).endswith("x" * MAX_BYTES)
    (tmp_path / "large").write_text("x" * (MAX_BYTES + 1))
    assert read_file("/state/large", tmp_path) == (
        f"[/state/large has {MAX_BYTES + 1} bytes, too many to show here:"
        " read the part that you need]"
    )


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"a\xffb")
    assert read_file("/state/raw", tmp_path) == "[/state/raw contains:]\na\ufffdb"


def test_nothing_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").mkdir()
    before = open_files()
    for name in ("pipe", "a", "a/b/c", "gone"):
        read_file(f"/state/{name}", tmp_path)
    assert open_files() == before
