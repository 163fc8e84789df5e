"""Webhooks: the signatures of each forge, forged ones, and repetitions."""

import asyncio
import hmac
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from services.projects.credentials import PREFIX, Credentials
from services.projects.hooks import Hooks, is_signed
from services.projects.tests.conftest import LIMIT, Room
from services.quarantine.tests.worktree import WorkTree
from wire.credentials import WEBHOOK
from wire.errors import AccessDenied, Conflict, LimitExceeded, NotFound
from wire.records.projects import MAX_HOOK, HookHeaders, ProjectState

SECRET = "0123456789abcdef"
KEY = bytes(range(32))
STANDARD = f"whsec_{b64encode(KEY).decode()}"
BODY = b'{"ref": "refs/heads/main", "text": "\xff"}'


def sign(secret: str = SECRET, body: bytes = BODY) -> str:
    return hmac.digest(secret.encode(), body, "sha256").hex()


def standard(key: bytes = KEY, body: bytes = BODY) -> HookHeaders:
    """Return the headers of the Standard Webhooks, as GitLab sends them."""
    signature = hmac.digest(key, b"7c1e.1764500000." + body, "sha256")
    return HookHeaders(
        webhook_id="7c1e",
        webhook_timestamp="1764500000",
        webhook_signature=f"v1,{b64encode(signature).decode()}",
    )


FORGEJO = HookHeaders(x_forgejo_signature=sign(), x_gitea_signature=sign(), x_hub_signature_256="x")
GITEA = HookHeaders(x_gitea_signature=sign(), x_hub_signature_256=f"sha256={sign()}")
GITHUB = HookHeaders(x_hub_signature_256=f"sha256={sign()}")
GITLAB = HookHeaders(x_gitlab_token=SECRET)
ROTATED = standard()._replace(webhook_signature=f"v1,old {standard().webhook_signature}")


@pytest.mark.parametrize(
    ("secret", "headers"),
    [
        (SECRET, FORGEJO),
        (SECRET, GITEA),
        (SECRET, GITHUB),
        (SECRET, GITLAB),
        (STANDARD, standard()),
        (STANDARD, ROTATED),
    ],
    ids=["forgejo", "gitea", "github", "gitlab", "gitlab-signed", "two-signatures"],
)
def test_each_forge_is_believed_and_nobody_else(secret: str, headers: HookHeaders) -> None:
    assert is_signed(secret, headers, BODY)
    if headers is not GITLAB:  # which signs nothing
        assert not is_signed(secret, headers, BODY + b" ")
    assert not is_signed("another secret of the same kind", headers, BODY)
    assert not is_signed(f"whsec_{b64encode(bytes(32)).decode()}", headers, BODY)
    assert not is_signed("whsec_!", headers, BODY)
    assert not is_signed(secret, HookHeaders(), BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook_id": "other"},
        {"webhook_id": None},
        {"webhook_timestamp": "1764500001"},
        {"webhook_signature": None},
        {"webhook_signature": ""},
        {"webhook_signature": sign()},
        {"webhook_signature": "v1,\u00e9\ud800"},
    ],
)
def test_the_id_and_the_time_are_signed_too(change: dict[str, Any]) -> None:
    assert not is_signed(STANDARD, standard()._replace(**change), BODY)


def test_a_secret_of_the_standard_is_no_other_secret() -> None:
    """The text of the secret must not count where the forge signs with the bytes in it."""
    for headers in (
        HookHeaders(x_gitlab_token=STANDARD),
        HookHeaders(x_hub_signature_256=f"sha256={sign(STANDARD)}"),
    ):
        assert not is_signed(STANDARD, headers, BODY)


class Fetched:
    """The fetches that webhooks have begun."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.error: Exception | None = None
        self._more = asyncio.Event()

    def __call__(self, name: str) -> None:
        if self.error:
            raise self.error
        self.names.append(name)
        self._more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(LIMIT):
            while len(self.names) < count:
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def known(tmp_path: Path) -> Credentials:
    for name, text in (
        ("w", SECRET),
        ("short", "a" * 15),
        ("empty-key", "whsec_AAAA"),
        ("words", "two words of a secret"),
    ):
        (tmp_path / f"{PREFIX}{name}{WEBHOOK}").write_text(f"{text}\n")
    (tmp_path / f"{PREFIX}token").write_text(SECRET)
    return Credentials(tmp_path)


@pytest.mark.parametrize(
    "project", ["x", "", "w.webhook", "../w", "W", "short", "empty-key", "words", "token", "a" * 99]
)
def test_all_refusals_are_the_same(known: Credentials, project: str) -> None:
    fetched = Fetched()
    hooks = Hooks(known, fetched)
    said = set()
    for name, headers in (
        ("w", HookHeaders()),
        ("w", HookHeaders(x_gitlab_token="a guess")),
        (project, GITHUB),
        (project, GITLAB),
    ):
        with pytest.raises(AccessDenied) as caught:
            hooks.receive(name, headers, BODY)
        said.add(str(caught.value))
    assert len(said) == 1
    assert fetched.names == []


async def test_a_webhook_that_is_repeated_begins_few_fetches_and_the_last_counts(
    known: Credentials,
) -> None:
    fetched = Fetched()
    hooks = Hooks(known, fetched, pause=0.2)
    for _ in range(2):
        hooks.receive("w", GITHUB, BODY)
    await fetched.until(2)
    fetched = Fetched()
    hooks = Hooks(known, fetched, pause=LIMIT)
    for _ in range(50):
        hooks.receive("w", GITHUB, BODY)
    assert fetched.names == ["w"], "the first one at once"
    hooks.close()
    assert fetched.names == ["w", "w"], "one that waits is not lost at the end"


async def test_a_project_that_is_gone_while_its_webhook_waits(
    known: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    fetched = Fetched()
    hooks = Hooks(known, fetched, pause=LIMIT)
    for _ in range(2):
        hooks.receive("w", GITHUB, BODY)
    fetched.error = NotFound("There is no project 'w'.")
    hooks.close()
    assert "w cannot be fetched: There is no project 'w'." in caplog.text


async def test_a_long_body_is_refused(known: Credentials) -> None:
    with pytest.raises(LimitExceeded, match=str(MAX_HOOK)):
        Hooks(known, Fetched()).receive("w", GITLAB, bytes(MAX_HOOK + 1))


async def test_the_journal_says_once_a_minute_that_signatures_are_wrong(
    known: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = Hooks(known, Fetched())
    for _ in range(3):
        for name in ("w", "forged\nname"):
            with pytest.raises(AccessDenied):
                hooks.receive(name, HookHeaders(x_gitlab_token="guess"), BODY)
    assert len(caplog.records) == 1
    assert "A webhook of w without the right signature was refused" in caplog.text


async def test_a_webhook_fetches_its_project_at_once(room: Room, upstream: WorkTree) -> None:
    room.credential(f"w{WEBHOOK}", SECRET)
    room.credential(f"own{WEBHOOK}", SECRET)
    await room.added("w", str(upstream.path))
    tip = upstream.commit({"new": "file\n"})
    hooks = Hooks(Credentials(room.secrets), room.projects.fetch)
    hooks.receive("w", GITHUB, BODY)
    found = await room.settled("w")
    assert (found.state, found.commit) == (ProjectState.READY, tip)
    await room.added("own", "")
    with pytest.raises(Conflict, match="has no upstream"):
        hooks.receive("own", GITHUB, BODY)


@pytest.mark.parametrize("project", ["short", "words"])
def test_strangers_cause_few_lines_about_a_secret_that_is_not_valid(
    known: Credentials, caplog: pytest.LogCaptureFixture, project: str
) -> None:
    hooks = Hooks(known, Fetched())
    for _ in range(5):
        with pytest.raises(AccessDenied):
            hooks.receive(project, GITHUB, BODY)
    [record] = caplog.records
    assert f"The secret of the webhook of {project}" in record.getMessage()
