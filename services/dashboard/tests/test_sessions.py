import json
from pathlib import Path

import pytest

from services.dashboard.http.sessions import (
    MAX_OF_USER,
    MAX_SESSIONS,
    SESSION_SECONDS,
    TOKEN_SECONDS,
    USED_SECONDS,
    Origin,
    Sessions,
    digest,
)
from wire.errors import CorruptStore, NotFound
from wire.records.dashboard import Role, Way


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
    sessions = Sessions(path, clock)
    token = sessions.create_token()
    session = sessions.redeem(token)
    assert session is not None
    assert sessions.seconds_left(digest(session)) == SESSION_SECONDS
    assert sessions.redeem(token) is None
    assert sessions.redeem("") is None
    assert sessions.seconds_left(digest(token)) <= 0


def test_a_token_is_good_for_15_minutes(path: Path, clock: Clock) -> None:
    sessions = Sessions(path, clock)
    early, late = sessions.create_token(), sessions.create_token()
    clock.now += TOKEN_SECONDS - 1
    assert sessions.redeem(early)
    clock.now += 1
    assert sessions.redeem(late) is None


def test_both_survive_a_restart_and_neither_is_stored_in_clear(path: Path, clock: Clock) -> None:
    first = Sessions(path, clock)
    session = first.redeem(first.create_token())
    token = first.create_token()
    assert session is not None
    second = Sessions(path, clock)
    assert second.seconds_left(digest(session)) > 0
    assert token not in path.read_text()
    assert session not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert second.redeem(token)
    assert Sessions(path, clock).redeem(token) is None


def test_a_session_ends_by_time_and_by_logging_out(path: Path, clock: Clock) -> None:
    sessions = Sessions(path, clock)
    one, two = sessions.redeem(sessions.create_token()), sessions.redeem(sessions.create_token())
    assert one is not None
    assert two is not None
    sessions.end(digest(one))
    assert Sessions(path, clock).seconds_left(digest(one)) <= 0
    assert sessions.seconds_left(digest(two)) > 0
    clock.now += SESSION_SECONDS
    assert sessions.seconds_left(digest(two)) <= 0


def test_many_links_push_out_the_oldest(path: Path, clock: Clock) -> None:
    sessions = Sessions(path, clock)
    oldest = sessions.create_token()
    clock.now += 1
    for _ in range(64):
        newest = sessions.create_token()
    assert sessions.redeem(oldest) is None
    assert sessions.redeem(newest)


def test_sessions_of_the_version_with_cookies_have_ended(path: Path, clock: Clock) -> None:
    expires = clock.now + SESSION_SECONDS
    path.write_text(json.dumps({"tokens": {}, "sessions": {digest("a cookie"): expires}}))
    sessions = Sessions(path, clock)
    assert sessions.seconds_left(digest("a cookie")) <= 0
    session = sessions.redeem(sessions.create_token())
    assert session is not None
    assert Sessions(path, clock).seconds_left(digest(session)) > 0
    assert digest("a cookie") not in path.read_text()


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"tokens": 3}', "\x00\xff"])
def test_a_damaged_file_is_left_alone_and_named(path: Path, damage: str) -> None:
    path.write_text(damage)
    with pytest.raises(CorruptStore, match=r"logins\.json.*Move it away"):
        Sessions(path)
    assert path.read_text() == damage


def test_sessions_of_the_version_without_roles_are_the_operators(path: Path, clock: Clock) -> None:
    expires = clock.now + SESSION_SECONDS
    kept = {
        "version": 2,
        "tokens": {digest("t"): clock.now + 9},
        "sessions": {digest("s"): expires},
    }
    path.write_text(json.dumps(kept))
    sessions = Sessions(path, clock)
    [(key, row)] = sessions.rows()
    assert (key, row.role, row.way, row.began) == (digest("s"), "operator", "link", 1_000_000_000)
    begun = sessions.redeem("t")
    assert begun is not None
    assert [one.id for _, one in sessions.rows()] == [row.id, row.id + 1]
    assert Sessions(path, clock).seconds_left(digest("s")) == SESSION_SECONDS


def test_sessions_say_where_they_are_from_and_when_they_were_used(path: Path, clock: Clock) -> None:
    ended: list[str] = []
    sessions = Sessions(path, clock)
    sessions.on_end = ended.append
    secret = sessions.redeem(sessions.create_token(Role.GUEST), Origin("10.0.0.7", "Firefox"))
    other = sessions.begin(Role.OPERATOR, Way.PASSKEY, Origin(), name="phone", passkey="p")
    assert secret is not None
    clock.now += USED_SECONDS
    sessions.touch(digest(secret))
    for known in (sessions, Sessions(path, clock)):
        (_, last), (key, first) = known.rows()
        assert (last.role, last.address, last.browser) == ("guest", "10.0.0.7", "Firefox")
        assert last.used - last.began == USED_SECONDS * 1_000_000
        assert (key, first.way, first.name) == (digest(other), "passkey", "phone")
    with pytest.raises(NotFound, match="hivectl sessions"):
        sessions.revoke(99)
    sessions.revoke(last.id)
    assert sessions.find(digest(secret)) is None
    with pytest.raises(NotFound):
        sessions.revoke(last.id)
    sessions.end_of_passkey("q")
    sessions.end_of_passkey("p")
    assert ended == [digest(secret), digest(other)]
    assert not Sessions(path, clock).rows()


def test_one_user_pushes_out_no_others(path: Path, clock: Clock) -> None:
    sessions = Sessions(path, clock)
    link = sessions.redeem(sessions.create_token())
    assert link is not None
    bob = sessions.begin(Role.GUEST, Way.PROXY, Origin(), name="bob")
    clock.now += 1
    for _ in range(MAX_SESSIONS):
        last = sessions.begin(Role.GUEST, Way.PROXY, Origin(), name="ada")
        sessions.begin(Role.GUEST, Way.PASSKEY, Origin(), name="ada", passkey="x")
    for secret in (link, bob, last):
        assert sessions.find(digest(secret)) is not None
    assert len(sessions.rows()) == 2 + 2 * MAX_OF_USER
    # Nor do many users.
    for number in range(MAX_SESSIONS):
        clock.now += 1
        last = sessions.begin(Role.GUEST, Way.PROXY, Origin(), name=f"user {number}")
        assert sessions.find(digest(last)) is not None
    assert sessions.find(digest(link)) is not None
    assert len(sessions.rows()) == MAX_SESSIONS
    for _ in range(MAX_SESSIONS):
        assert sessions.redeem(sessions.create_token()) is not None
    last = sessions.begin(Role.GUEST, Way.PROXY, Origin(), name="ada")
    assert sessions.find(digest(last)) is not None
