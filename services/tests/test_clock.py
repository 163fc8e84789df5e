"""The check of the clock: jumps that something explains pass, others wait."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import clock
from services.clock import DAY, Memory, Moment, judge

NOON = 1_800_000_000.0
TRUSTED = Memory(trusted=Moment(NOON, 5000.0, "one"))


def never() -> bool:
    return False


def always() -> bool:
    return True


def unasked() -> bool:
    raise AssertionError("the bus was asked although nothing is in doubt")


@pytest.mark.parametrize(
    ("memory", "now"),
    [
        (Memory(), Moment(NOON, 5.0, "one")),
        # An hour later, in the same boot.
        (TRUSTED, Moment(NOON + 3600, 8600.0, "one")),
        # 40 days later, because it ran for so long.
        (TRUSTED, Moment(NOON + 40 * DAY, 5000.0 + 40 * DAY, "one")),
        # A boot after some hours.
        (TRUSTED, Moment(NOON + 20 * 3600, 60.0, "two")),
        # A boot long ago.
        (TRUSTED, Moment(NOON + 40 * DAY, 39.5 * DAY, "two")),
        # A clock that was set back makes nothing old.
        (TRUSTED, Moment(NOON - 40 * DAY, 5060.0, "one")),
        (TRUSTED, Moment(0.0, 60.0, "two")),
    ],
)
def test_time_that_has_passed_is_believed(memory: Memory, now: Moment) -> None:
    assert judge(memory, now, unasked) == (Memory(trusted=now), "")


@pytest.mark.parametrize(
    "now", [Moment(NOON + 40 * DAY, 5060.0, "one"), Moment(NOON + 40 * DAY, 60.0, "two")]
)
def test_a_jump_is_doubted_unless_the_clock_is_synchronized(now: Moment) -> None:
    memory, doubt = judge(TRUSTED, now, never)
    assert doubt.startswith("The clock is 40 days ahead of the last check")
    assert memory == Memory(TRUSTED.trusted, now)
    assert judge(TRUSTED, now, always) == (Memory(trusted=now), "")


def test_a_clock_that_is_set_right_is_believed_at_once() -> None:
    memory, doubt = judge(TRUSTED, Moment(NOON + 40 * DAY, 60.0, "two"), never)
    assert doubt
    right = Moment(NOON + 3600, 120.0, "two")
    assert judge(memory, right, unasked) == (Memory(trusted=right), "")


def test_a_clock_that_runs_on_evenly_is_believed_after_a_day() -> None:
    """The host may have been off for long, without a time server."""
    first = Moment(NOON + 40 * DAY, 60.0, "two")
    memory, doubt = judge(TRUSTED, first, never)
    for hour in range(1, 24):
        now = Moment(first.wall + hour * 3600, first.up + hour * 3600, "two")
        memory, doubt = judge(memory, now, never)
        assert doubt, hour
    now = Moment(first.wall + DAY, first.up + DAY, "two")
    assert judge(memory, now, never) == (Memory(trusted=now), "")


def test_a_second_jump_begins_another_day() -> None:
    memory, _ = judge(TRUSTED, Moment(NOON + 40 * DAY, 60.0, "two"), never)
    jumped = Moment(NOON + 80 * DAY, 60.0 + DAY, "two")
    memory, doubt = judge(memory, jumped, never)
    assert doubt
    assert memory.doubted == jumped


@given(ahead=st.floats(1.1, 4000), hours=st.integers(0, 23), same=st.booleans())
def test_no_jump_passes_within_a_day(ahead: float, hours: int, same: bool) -> None:
    boot, up = ("one", 5000.0) if same else ("two", 0.0)
    memory = TRUSTED
    for hour in range(hours + 1):
        now = Moment(NOON + ahead * DAY + hour * 3600, up + hour * 3600, boot)
        memory, doubt = judge(memory, now, never)
        assert doubt


def test_the_file_keeps_what_was_remembered(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    assert clock.load(file) == Memory()
    memory, _ = judge(TRUSTED, Moment(NOON + 40 * DAY, 60.0, "two"), never)
    clock.save(file, memory)
    assert clock.load(file) == memory


@pytest.mark.parametrize("text", ["", "{", "[]", '{"trusted": 3}', '{"trusted": {"wall": "x"}}'])
def test_a_damaged_file_is_a_first_run(tmp_path: Path, text: str) -> None:
    file = tmp_path / "clock.json"
    file.write_text(text)
    assert clock.load(file) == Memory()


def test_it_fails_when_the_clock_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(clock, "is_synchronized", never)
    assert clock.main() == 0
    now = Moment.now()
    clock.save(tmp_path / "clock.json", Memory(trusted=now._replace(wall=now.wall - 41 * DAY)))
    assert clock.main() == 1
    assert "41 days ahead" in capsys.readouterr().err
