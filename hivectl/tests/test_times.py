"""Times and durations as people type them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivectl.arguments.times import DAY, MAX_SECONDS, InvalidTimeError, future, past, seconds


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 21, 14, 30, tzinfo=UTC).astimezone()  # 15:30 in Berlin


def utc(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize(
    ("typed", "found"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), (" 1w1s ", 604_801)],
)
def test_durations(typed: str, found: int) -> None:
    assert seconds(typed) == found


@pytest.mark.parametrize(
    "typed",
    ["", "10", "0s", "-1h", "1.5h", "1h 30m", "30m1h", "1x", "inf", "nan", "٣s"],
)
def test_what_is_no_duration(typed: str) -> None:
    with pytest.raises(InvalidTimeError, match=r"not a valid duration\. Write it with units: 90s"):
        seconds(typed)


@pytest.mark.parametrize("typed", ["31d", "4w2d1h", "9" * 5000 + "w"])
def test_what_is_too_long(typed: str) -> None:
    assert seconds("30d", 30 * DAY) == 30 * DAY
    with pytest.raises(InvalidTimeError, match="is too long: at most 30d are allowed"):
        seconds(typed, 30 * DAY)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("2h", "2026-11-21 12:30:00"),
        ("2h ago", "2026-11-21 12:30:00"),
        ("10:00", "2026-11-21 09:00:00"),
        ("9:05:07", "2026-11-21 08:05:07"),
        ("today", "2026-11-20 23:00:00"),
        ("yesterday", "2026-11-19 23:00:00"),
        ("yesterday 10:00", "2026-11-20 09:00:00"),
        ("2026-07-01", "2026-06-30 22:00:00"),
        ("2026-07-01 10:00", "2026-07-01 08:00:00"),
        ("2026-07-01T10:00:30", "2026-07-01 08:00:30"),
        ("2026-07-01T10:00Z", "2026-07-01 10:00:00"),
        ("2026-07-01T10:00:00.123456Z", "2026-07-01 10:00:00"),
        ("2026-07-01T10:00+05:30", "2026-07-01 04:30:00"),
    ],
)
def test_times_to_look_back_to(typed: str, found: str, now: datetime) -> None:
    assert utc(past(typed, now)) == found


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("16:00", "2026-11-21 15:00:00"),
        ("10:00", "2026-11-22 09:00:00"),
        ("tomorrow 10:00", "2026-11-22 09:00:00"),
        ("2027-01-31", "2027-01-30 23:00:00"),
    ],
)
def test_times_to_come(typed: str, found: str, now: datetime) -> None:
    assert utc(future(typed, now)) == found


@pytest.mark.parametrize(
    "typed",
    [
        *("", "noon", "25:00", "10:60", "10", "2026-02-31", "2026-13-01", "20260101", "10:00Z"),
        *(
            "yesterday 10",
            "yesterday 10:00Z",
            "2026-01-01 10:00 Europe/Berlin",
            "2026-01-01TT10:00",
            "0000-01-01",
        ),
        *("2026-01-01T10:00+25:00", "2026-W01", "today tomorrow", "٢٠٢٦-01-01"),
    ],
)
def test_what_is_no_time(typed: str, now: datetime) -> None:
    for read in (past, future):
        with pytest.raises(InvalidTimeError, match=r"is not a valid time\. Write it like 10:00"):
            read(typed, now)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("2h", "use --in"),
        ("2026-11-21 15:30", "passed"),
        ("today", "passed"),
        ("2100-01-01", "more than ten years"),
        ("9999-12-31", "more than ten years"),
    ],
)
def test_what_is_no_time_to_come(typed: str, why: str, now: datetime) -> None:
    with pytest.raises(InvalidTimeError, match=why):
        future(typed, now)


@given(
    st.text(max_size=30) | st.from_regex(r"[0-9]{1,6}[-:wdhms][0-9T:+Z. -]{0,20}", fullmatch=True)
)
def test_whatever_is_typed_is_read_or_refused(typed: str) -> None:
    now = datetime(2026, 11, 21, 14, 30, tzinfo=UTC).astimezone()
    for read in (seconds, lambda text: past(text, now), lambda text: future(text, now)):
        try:
            found = read(typed)
        except InvalidTimeError:
            continue
        assert -(2**63) < found < 2**63
    assert MAX_SECONDS < 2**32
