"""The changes of files that calls of tools make: the same lines in each client, in linear time."""

import time
import tracemalloc
from typing import Any

import pytest

from wire.agent_web.edits import MAX_PAIRS, Change, changes, path_of


def shown(change: Change) -> list[str]:
    return [sign + text for sign, text in change.lines()]


def edit(old: Any, new: Any, **more: Any) -> list[list[str]]:
    return [shown(one) for one in changes({"old_string": old, "new_string": new, **more})]


def test_the_lines_that_differ_have_a_few_around_them() -> None:
    assert edit("a\nb\nc\nd\nold\ny\nz\n", "a\nb\nc\nd\nnew 1\nnew 2\ny\nz\n") == [
        [" b", " c", " d", "-old", "+new 1", "+new 2", " y", " z"]
    ]


def test_two_changes_of_an_edit_are_two() -> None:
    old = "one\n2\n3\n4\n5\n6\nseven"
    [change] = changes({"old_string": old, "new_string": "1\n2\n3\n4\n5\n6\n7"})
    assert shown(change) == ["-one", "+1", " 2", " 3", " 4", " 5", " 6", "-seven", "+7"]
    assert (change.count("+"), change.count("-")) == (2, 2)


def test_every_tool_that_changes_files() -> None:
    assert [shown(one) for one in changes({"content": "one\ntwo\n"})] == [["+one", "+two"]]
    assert [shown(one) for one in changes({"new_source": "x"})] == [["+x"]]
    several = {"edits": [{"old_string": "a", "new_string": "b"}, {"old_string": "c"}, 7]}
    assert [shown(one) for one in changes(several)] == [["-a", "+b"], ["-c"]]
    assert edit("a", "b", edits=[{"old_string": "c", "new_string": "d"}]) == [
        ["-a", "+b"],
        ["-c", "+d"],
    ]
    [change] = changes({"old_string": "a", "new_string": "b", "replace_all": True})
    assert change.everywhere
    assert path_of({"notebook_path": "/n"}) == "/n"
    assert path_of({"file_path": ["/n"]}) == '["/n"]'


@pytest.mark.parametrize("odd", [None, 5, [], {}, ["a"], {"a": 1}, True])
def test_arguments_of_any_shape_are_taken(odd: Any) -> None:
    for key in ("old_string", "new_string", "content", "edits", "file_path"):
        for change in changes({key: odd}):
            shown(change)
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    assert edit(deep, "x") == [["-(nested too deeply to be shown)", "+x"]]


def test_hostile_texts_take_linear_time() -> None:
    old, new = "a\nb\n" * 50_000, "b\na\n" * 50_000
    many = {"old_string": "\n".join("ab" * 100), "new_string": "\n".join("aab" * 70)}
    began = time.monotonic()
    for arguments in ({"old_string": old, "new_string": new}, {"edits": [many] * 1000}):
        for change in changes(arguments):
            assert change.count("+") == change.count("-") or arguments.get("edits")
    assert time.monotonic() - began < 10


def test_the_pairs_of_all_edits_of_a_call_have_one_limit() -> None:
    lines = [str(number) for number in range(60)]
    one = {"old_string": "\n".join(lines), "new_string": "\n".join(["x", *lines[1:-1], "y"])}
    assert len(lines) ** 2 <= MAX_PAIRS < 2 * len(lines) ** 2
    counts = [change.count("+") for change in changes({"edits": [one] * 3})]
    assert counts == [2, 60, 60]


def test_a_long_text_takes_little_memory_and_is_called_cut() -> None:
    long = "\n" * 4_000_000
    tracemalloc.start()
    try:
        [change] = changes({"old_string": long, "new_string": long + "x"})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert change.cut
    assert most < 30_000_000
