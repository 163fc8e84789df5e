"""Passkeys without a browser: what is refused. test_settings_browser.py has the whole way."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from services.dashboard.http.passkeys import CHALLENGE_SECONDS, Passkeys
from services.dashboard.tests.conftest import Page
from wire.errors import AccessDenied, CorruptStore, InvalidArgument
from wire.records.dashboard import Role

ORIGIN = "https://hive.example.org"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def answer(challenge: str, origin: str = ORIGIN) -> dict[str, Any]:
    """The answer of a browser, with a signature that nobody has made."""
    client = {"type": "webauthn.get", "challenge": challenge, "origin": origin}
    data = urlsafe_b64encode(json.dumps(client).encode()).decode().rstrip("=")
    response = {"clientDataJSON": data, "authenticatorData": "AAAA", "signature": "AAAA"}
    return {"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": response}


def test_many_challenges_of_others_push_out_none(tmp_path: Path) -> None:
    """The challenge is known as long as it is valid: then the passkey is what is refused."""
    clock = Clock()
    passkeys = Passkeys(tmp_path / "passkeys.json", clock)
    first = passkeys.begin_registration(ORIGIN, Role.GUEST)["challenge"]
    for _ in range(1000):
        passkeys.begin_login(ORIGIN)
    for known in (True, False):
        with pytest.raises(InvalidArgument) as refused:
            passkeys.register(ORIGIN, answer(first), "x")
        assert ("not valid" in str(refused.value)) is known
        clock.now += CHALLENGE_SECONDS
    login = passkeys.begin_login(ORIGIN)["challenge"]
    for made_up in (login[:-1] + "A", "AAAA", ""):
        with pytest.raises(AccessDenied):
            passkeys.verify(ORIGIN, answer(made_up))
    forged = bytearray(urlsafe_b64decode(login + "=="))
    forged[24] = 1  # a login's challenge as that of an operator's registration
    for one in (login, urlsafe_b64encode(forged).decode().rstrip("=")):
        with pytest.raises(InvalidArgument, match="is not registered here"):
            passkeys.register(ORIGIN, answer(one), "a login is no registration")
    with pytest.raises(InvalidArgument, match="is not registered here"):
        passkeys.register("https://evil.example", answer(first), "another origin")


@pytest.mark.parametrize("credential", [{}, {"response": 3}, {"response": {"clientDataJSON": "é"}}])
async def test_nonsense_is_no_login(page: Page, credential: dict[str, Any]) -> None:
    status, said = await page.post("/login/passkey", {"credential": credential})
    assert (status, said["name"]) == (401, "org.hyperhive.Error.AccessDenied")
    status, said = await page.post("/login/passkey/begin")
    assert status == 400
    assert "no passkeys for an address such as 127.0.0.1" in said["error"]


def test_a_damaged_file_is_left_alone_and_named(tmp_path: Path) -> None:
    path = tmp_path / "passkeys.json"
    path.write_text("{")
    with pytest.raises(CorruptStore, match=r"passkeys\.json.*Move it away"):
        Passkeys(path)
    assert path.read_text() == "{"


@pytest.fixture
def of_another(tmp_path: Path) -> None:
    """Keep a passkey that another reviewer has made."""
    passkey = {
        **{"id": "AAAA", "name": "phone", "role": "reviewer", "host": "hive.example.org"},
        **{"public_key": "00", "sign_count": 0, "made": 1.0, "used": 1.0},
    }
    (tmp_path / "passkeys.json").write_text(json.dumps({"version": 1, "passkeys": [passkey]}))


@pytest.mark.usefixtures("of_another")
async def test_a_reviewer_removes_no_passkey_of_another_reviewer(page: Page) -> None:
    await page.log_in(Role.REVIEWER)
    assert (await page.get("/api/passkeys"))[1] == {"passkeys": []}
    assert (await page.post("/api/passkeys/remove", {"id": "AAAA"}))[0] == 403
    await page.log_in()
    [row] = (await page.get("/api/passkeys"))[1]["passkeys"]
    assert (row["id"], "session" in row) == ("AAAA", False)
    assert (await page.post("/api/passkeys/remove", {"id": "AAAA"}))[0] == 200
    assert (await page.get("/api/passkeys"))[1] == {"passkeys": []}
