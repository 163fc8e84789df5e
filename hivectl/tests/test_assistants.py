"""The tokens of assistants: how they are made, listed and revoked."""

import json
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from hivectl.exit_codes import CommandError, Exit
from hivectl.host.assistants import Assistants
from wire.credentials import AssistantRight


@pytest.fixture
def assistants(tmp_path: Path) -> Assistants:
    return Assistants(tmp_path / "assistant")


def test_a_token_is_stored_as_its_hash_for_root_alone(assistants: Assistants) -> None:
    made = assistants.create("desk", [AssistantRight.SEND, AssistantRight.ANSWER])
    text = made.file.read_text()
    assert made.token not in text
    content = json.loads(text)
    assert content["sha256"] == sha256(made.token.encode()).hexdigest()
    assert content["rights"] == ["answer", "send"]
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert [file.name for file in made.file.parent.iterdir()] == ["desk"]
    [stored] = assistants.stored()
    assert (stored.name, stored.rights, stored.valid) == ("desk", ("answer", "send"), True)
    assert assistants.create("other", []).token != made.token


def test_a_client_has_one_token_until_it_is_revoked(assistants: Assistants) -> None:
    first = assistants.create("desk", [])
    before = first.file.read_text()
    with pytest.raises(CommandError, match="revoke desk") as raised:
        assistants.create("desk", [AssistantRight.APPROVE])
    assert raised.value.code is Exit.CONFLICT
    assert first.file.read_text() == before
    assistants.create("phone", [])
    assert assistants.revoke("desk") is True
    assert assistants.revoke("phone") is False
    with pytest.raises(CommandError, match="no token"):
        assistants.revoke("phone")


@pytest.mark.parametrize("name", ["", "../x", "A", "x" * 33, "a/b", ".hidden"])
def test_a_name_that_is_none_of_a_file_is_refused(assistants: Assistants, name: str) -> None:
    for call in (lambda: assistants.create(name, []), lambda: assistants.revoke(name)):
        with pytest.raises(CommandError, match="not a valid name"):
            call()


def test_a_damaged_file_is_listed_and_can_be_revoked(assistants: Assistants) -> None:
    assistants.create("desk", []).file.write_text("{")
    [stored] = assistants.stored()
    assert not stored.valid
    assert assistants.revoke("desk") is False
