"""Signatures, what was received before, and the bound for messages."""

from pathlib import Path

import pytest

from services.errors import ConfigError
from services.forge.__main__ import secret
from services.forge.bounds import HOUR, Bounds, Verdict
from services.forge.replays import SIZE, Replays
from services.forge.tests.payloads import SECRET, signature
from services.signature import is_signed

BODY = b'{"action": "opened"}'
GOOD = signature(BODY)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forgejo-signature": GOOD},
        {"x-gitea-signature": GOOD},
        {"x-hub-signature-256": f"sha256={GOOD}"},
        {"x-forgejo-signature": GOOD, "x-gitea-signature": "0"},
    ],
)
def test_the_forges_are_known(headers: dict[str, str]) -> None:
    assert is_signed(SECRET.encode(), headers, BODY)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-forgejo-signature": ""},
        {"x-forgejo-signature": GOOD[:-1]},
        {"x-forgejo-signature": GOOD.upper()},
        {"x-forgejo-signature": f"sha256={GOOD}"},
        {"x-forgejo-signature": "é" * 64},
        {"x-hub-signature-256": GOOD},
        {"x-hub-signature": f"sha1={GOOD}"},
        {"x-forgejo-signature": "0" * 64, "x-gitea-signature": GOOD},
        {"x-forgejo-signature": signature(BODY, "another secret of the same kind")},
        {"x-forgejo-signature": signature(BODY, "")},
        {"x-forgejo-signature": signature(b"another body")},
    ],
)
def test_no_other_signature_counts(headers: dict[str, str]) -> None:
    assert not is_signed(SECRET.encode(), headers, BODY)


def digest(number: int) -> bytes:
    return number.to_bytes(SIZE, "big")


def test_what_was_received_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "received"
    first = Replays(file)
    assert digest(1) not in first
    first.add(digest(1))
    first.add(digest(1))
    assert digest(1) in first
    assert file.stat().st_size == SIZE
    again = Replays(file)
    assert digest(1) in again
    assert digest(2) not in again


def test_a_digest_that_a_crash_cut_off_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "received"
    file.write_bytes(digest(1) + digest(2)[:-5])
    found = Replays(file)
    found.add(digest(3))
    assert file.read_bytes() == digest(1) + digest(3)


def test_the_newest_are_remembered_in_a_file_that_does_not_grow(tmp_path: Path) -> None:
    file = tmp_path / "received"
    found = Replays(file, most=10)
    for number in range(100):
        found.add(digest(number))
        assert file.stat().st_size <= 20 * SIZE
    known = [number for number in range(100) if digest(number) in found]
    assert known == list(range(90, 100))
    again = Replays(file, most=10)
    assert [number for number in range(100) if digest(number) in again] == known


def test_a_full_disk_leaves_no_half_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "received"
    found = Replays(file)
    found.add(digest(1))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        found.add(digest(2))
    assert digest(2) not in found
    monkeypatch.undo()
    assert file.read_bytes() == digest(1)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "received").mkdir()
    with pytest.raises(ConfigError, match="received cannot be used: Is a directory"):
        Replays(tmp_path / "received")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_agent_is_told_once_that_it_is_told_no_more() -> None:
    clock = Clock()
    bounds = Bounds(10, clock)
    assert [bounds.spend("alice") for _ in range(10)] == [Verdict.TOLD] * 10
    assert [bounds.spend("alice") for _ in range(3)] == [
        Verdict.LAST,
        Verdict.DROPPED,
        Verdict.DROPPED,
    ]
    assert bounds.spend("bob") is Verdict.TOLD
    clock.now += HOUR / 10
    # There is room for one more, which is no new beginning.
    assert [bounds.spend("alice") for _ in range(2)] == [Verdict.TOLD, Verdict.DROPPED]
    clock.now += HOUR
    assert [bounds.spend("alice") for _ in range(11)] == [Verdict.TOLD] * 10 + [Verdict.LAST]


def test_the_least_bound_works() -> None:
    clock = Clock()
    bounds = Bounds(1, clock)
    for _ in range(3):
        assert [bounds.spend("alice") for _ in range(2)] == [Verdict.TOLD, Verdict.LAST]
        clock.now += HOUR


def test_the_secret_is_a_credential(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "webhook").write_text("-")
    for folder in (None, tmp_path, missing):
        with pytest.raises(ConfigError, match="credentials/forge/webhook does not exist"):
            secret(folder)
    (tmp_path / "webhook").write_text("short\n")
    with pytest.raises(ConfigError, match="5 characters, and anybody could guess") as raised:
        secret(tmp_path)
    assert "short" not in str(raised.value)
    (tmp_path / "webhook").write_text(f"{SECRET}\n")
    assert secret(tmp_path) == SECRET
