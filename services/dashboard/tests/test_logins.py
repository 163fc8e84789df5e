from pathlib import Path

import pytest

from services.dashboard.logins import SESSION_SECONDS, TOKEN_SECONDS, Logins
from wire.errors import CorruptStore


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logins.json"


def test_a_token_opens_one_session_once(path: Path, clock: Clock) -> None:
    logins = Logins(path, clock)
    token = logins.new_token()
    session = logins.redeem(token)
    assert session is not None
    assert logins.session_ends_in(session) == SESSION_SECONDS
    assert logins.redeem(token) is None
    assert logins.redeem("") is None
    assert logins.session_ends_in(token) <= 0


def test_a_token_is_good_for_15_minutes(path: Path, clock: Clock) -> None:
    logins = Logins(path, clock)
    early, late = logins.new_token(), logins.new_token()
    clock.now += TOKEN_SECONDS - 1
    assert logins.redeem(early)
    clock.now += 1
    assert logins.redeem(late) is None


def test_both_survive_a_restart_and_neither_is_stored_in_clear(path: Path, clock: Clock) -> None:
    first = Logins(path, clock)
    session = first.redeem(first.new_token())
    token = first.new_token()
    assert session is not None
    second = Logins(path, clock)
    assert second.session_ends_in(session) > 0
    assert token not in path.read_text()
    assert session not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert second.redeem(token)
    assert Logins(path, clock).redeem(token) is None


def test_a_session_ends_by_time_and_by_logging_out(path: Path, clock: Clock) -> None:
    logins = Logins(path, clock)
    one, two = logins.redeem(logins.new_token()), logins.redeem(logins.new_token())
    assert one is not None
    assert two is not None
    logins.end(one)
    assert Logins(path, clock).session_ends_in(one) <= 0
    assert logins.session_ends_in(two) > 0
    clock.now += SESSION_SECONDS
    assert logins.session_ends_in(two) <= 0


def test_many_links_push_out_the_oldest(path: Path, clock: Clock) -> None:
    logins = Logins(path, clock)
    oldest = logins.new_token()
    clock.now += 1
    for _ in range(64):
        newest = logins.new_token()
    assert logins.redeem(oldest) is None
    assert logins.redeem(newest)


@pytest.mark.parametrize("damage", ["", "{", '{"tokens": 3}', "\x00\xff"])
def test_a_damaged_file_is_left_alone_and_named(path: Path, damage: str) -> None:
    path.write_text(damage)
    with pytest.raises(CorruptStore, match=r"logins\.json.*Move it away"):
        Logins(path)
    assert path.read_text() == damage
