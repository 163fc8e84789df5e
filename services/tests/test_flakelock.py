"""The check of a flake.lock that an agent has written."""

import json
from typing import Any

import pytest

from services import flakelock

HASH = "sha256-2j22EaNkxIYhfBz+mJDWv8O8/gvGk7q90hgzZ1OWhuQ="
REV = "6bb4ee44bec7aedf440f7b99f38f9618ef32d50c"


def node(locked: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    source = {"type": "github", "owner": "o", "repo": "tool"}
    pinned = {**source, "rev": REV, "narHash": HASH, "lastModified": 1}
    return {"locked": pinned if locked is None else locked, "original": source, **more}


def text(root: dict[str, Any], version: int = 7, **nodes: Any) -> str:
    everything = {"root": {"inputs": root}, **nodes}
    return json.dumps({"nodes": everything, "root": "root", "version": version})


def git(**changes: Any) -> dict[str, Any]:
    source = {"type": "git", "url": "https://example.org/tool"}
    locked = {**source, "rev": REV, "narHash": HASH, **changes}
    return {"locked": {k: v for k, v in locked.items() if v is not None}, "original": source}


def test_a_lock_of_nix_is_read() -> None:
    lock = flakelock.parse(
        text(
            {"tool": "tool", "same": ["tool"]},
            tool=node(inputs={"lib": "lib", "root": []}),
            lib=git(),
        )
    )
    assert flakelock.inputs(lock) == {
        "tool": ({"type": "github", "owner": "o", "repo": "tool"}, True, ()),
        "same": (None, True, ("tool",)),
    }


def test_the_lock_without_inputs_is_valid() -> None:
    lock = flakelock.parse(json.dumps({"nodes": {"root": {}}, "root": "root", "version": 7}))
    assert lock == flakelock.EMPTY


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "is not valid: "),
        (" " * (flakelock.MAX_BYTES + 1), "has more than 256 KiB"),
        (text({}, version=4), "has the version 4, not 7"),
        (text({"x": "nowhere"}), "has no node nowhere, which is an input"),
        (text({"x": "root"}), "has its root as an input"),
        (text({}, tool=node()), "is stale: the node tool is no input"),
        (text({"a": "a"}, a={"inputs": {}}), "the input a is not locked"),
        (text({"a": "a"}, a={**node(), "extra": 1}), r"nodes\.a\.extra: Extra inputs"),
        (
            text({"a": "a"}, a=node({"type": "path", "path": "/etc", "narHash": HASH})),
            "source path",
        ),
        (text({"a": "a"}, a=git(url="file:///var/lib/hyperhive/git/applied/bob")), "not allowed"),
        (text({"a": "a"}, a=git(url="/var/lib/hyperhive")), "not allowed"),
        (text({"a": "a"}, a=git(type="indirect")), "source indirect"),
        (text({"a": "a"}, a=git(type="hg")), "source hg"),
        (text({"a": "a"}, a=git(type="tarball", url="http://127.0.0.1/x")), "not allowed"),
        (text({"a": "a"}, a=git(rev=None)), "has no rev"),
        (text({"a": "a"}, a=git(narHash=None)), "has no narHash"),
        (text({"a": "a"}, a=git(dir="../..")), "has `..` in it"),
        (text({"a": "a"}, a=git(url="https://evil.example.org/tool")), "locked to another url"),
        (text({"a": "a\n"}), r"'a\\n', which is an input"),
    ],
)
def test_other_locks_are_refused(lock: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        flakelock.parse(lock)


def test_a_newer_revision_is_current() -> None:
    deployed = flakelock.parse(text({"tool": "tool"}, tool=node()))
    newer = node()
    newer["locked"]["rev"] = "f" * 40
    flakelock.check_current(flakelock.parse(text({"tool": "t"}, t=newer)), deployed)


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        (text({}), "it lacks the input tool"),
        (text({"tool": "tool", "more": "more"}, tool=node(), more=git()), "it has the input more"),
        (text({"tool": "tool"}, tool=git()), "it changes the input tool"),
        (
            text({"tool": "tool"}, tool=node(flake=False)),
            "it changes the input tool",
        ),
        (text({"tool": "other", "x": ["tool"]}, other=node()), "it has the input x"),
    ],
)
def test_other_inputs_than_those_of_flake_nix_are_stale(lock: str, why: str) -> None:
    deployed = flakelock.parse(text({"tool": "tool"}, tool=node()))
    with pytest.raises(ValueError, match=f"stale: {why}"):
        flakelock.check_current(flakelock.parse(lock), deployed)
