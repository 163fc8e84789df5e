"""The settings of one agent, and its credential."""

import asyncio
import json
from pathlib import Path

import pytest

from services.errors import ConfigError
from services.gateway.api.headers import request
from services.gateway.credentials import Auth, Credential, load
from services.gateway.settings import Network, Settings, SettingsFile, parse

GOOD = {"network": "gateway", "egress": ["github.com"], "upstream": "https://api.example/v/"}


def test_the_whole_file() -> None:
    settings = parse(json.dumps(GOOD | {"scripted": True, "later": 1}))
    assert settings.network is Network.GATEWAY
    assert [str(rule) for rule in settings.rules] == ["github.com"]
    assert (settings.upstream, settings.scripted) == ("https://api.example/v", True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "null"),
        json.dumps(GOOD | {"network": "other"}),
        json.dumps({"egress": []}),
        json.dumps(GOOD | {"egress": "github.com"}),
        json.dumps(GOOD | {"egress": ["127.1"]}),
        json.dumps(GOOD | {"egress": [1]}),
        json.dumps(GOOD | {"upstream": "file:///etc"}),
        json.dumps(GOOD | {"upstream": "https://a\r\nb"}),
        json.dumps(GOOD | {"scripted": "yes"}),
        json.dumps(GOOD | {"own_upstream": 1}),
        json.dumps(GOOD | {"auth": "basic"}),
    ],
)
def test_without_a_valid_file_nothing_is_let_out(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "alice.json").write_text(text)
    assert SettingsFile(tmp_path, "alice").current == Settings()
    assert Settings().network is Network.NONE
    assert not Settings().rules
    assert "nothing is let out" in caplog.text


class Noticed(SettingsFile):
    """A file that tells when it was read."""

    def __init__(self, directory: Path, agent: str) -> None:
        self.was_read = asyncio.Event()
        super().__init__(directory, agent)

    def read(self) -> None:
        super().read()
        self.was_read.set()

    async def until(self, rules: list[str]) -> None:
        """Wait until these rules are in effect."""
        async with asyncio.timeout(20):
            while [str(rule) for rule in self.current.rules] != rules:
                self.was_read.clear()
                await self.was_read.wait()


async def test_a_change_is_in_effect_and_other_agents_do_not_matter(tmp_path: Path) -> None:
    file = Noticed(tmp_path, "alice")
    assert file.current == Settings()
    following = asyncio.create_task(file.follow())
    (tmp_path / "bob.json").write_text(json.dumps(GOOD | {"egress": ["*"]}))
    (tmp_path / "new").write_text(json.dumps(GOOD))
    (tmp_path / "new").rename(tmp_path / "alice.json")
    await file.until(["github.com"])
    (tmp_path / "alice.json").unlink()
    await file.until([])
    following.cancel()
    await asyncio.wait([following])


KEY, TOKEN = "sk-ant-api03-key", "sk-ant-oat01-token"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        ({"own": "-", "default": "-", "own.cred": "-", "default.cred": "-", "old": "-"}, None),
        ({"own": "", "default": f"{KEY}\n"}, Credential("default", KEY)),
        ({"own": TOKEN, "default": KEY}, Credential("agent:alice", TOKEN)),
        ({"own": KEY, "own.cred": TOKEN}, Credential("agent:alice", TOKEN)),
        ({"old": KEY, "default": "-"}, Credential("default", KEY)),
        ({"old": "old-key", "default.cred": KEY}, Credential("default", KEY)),
    ],
)
def test_the_agents_own_credential_comes_first(
    tmp_path: Path, files: dict[str, str], found: Credential | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert load(tmp_path, "alice") == found


@pytest.mark.parametrize(
    ("auth", "secret", "header"),
    [
        ("auto", KEY, "x-api-key"),
        ("auto", TOKEN, "Authorization"),
        ("bearer", KEY, "Authorization"),
        ("key", TOKEN, "x-api-key"),
    ],
)
def test_the_header_can_be_chosen(auth: Auth, secret: str, header: str) -> None:
    headers = request([("anthropic-beta", "a")], Credential("default", secret), auth)
    assert secret in headers[header]
    assert {"x-api-key", "Authorization"} & set(headers) == {header}
    wanted = "a,oauth-2025-04-20" if (auth, secret) == ("auto", TOKEN) else "a"
    assert headers.getall("anthropic-beta") == [wanted]


@pytest.mark.parametrize("text", ["two words", "two\nlines", "key\x00", "schlüssel", "\x7f"])
def test_a_credential_that_cannot_be_a_header_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "default").write_text(text)
    with pytest.raises(ConfigError, match="hivectl credentials set") as caught:
        load(tmp_path, "alice")
    assert text not in str(caught.value)


def test_a_credential_is_not_shown() -> None:
    assert KEY not in repr(Credential("default", KEY))
