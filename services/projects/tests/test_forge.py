"""A real forge: tokens, keys, certificates, redirections, and hosts that change their keys."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.projects import access
from services.projects.tests.conftest import Room
from services.projects.tests.forge import NAME, TOKEN, Https, https, ssh
from services.quarantine.tests.worktree import WorkTree
from wire.records.projects import ProjectState, SetOptions

READY, FAILED = ProjectState.READY, ProjectState.FAILED


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "forge"
    root.mkdir()
    work = WorkTree(tmp_path / "work")
    work.commit({"README": "one\n"})
    work.git("clone", "-q", "--bare", ".", str(root / "w.git"))
    return root


@pytest.fixture
def leaks() -> list[str]:
    """The processes that had the token in their arguments or variables."""
    return []


def look(leaks: list[str]) -> None:
    """Look at all processes for the token, as everybody on the host can look at arguments."""
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            try:
                if TOKEN.encode() in (process / file).read_bytes():
                    leaks.append(f"{process.name} {file}")
            except OSError:
                continue


@pytest.fixture
def forge(
    root: Path, leaks: list[str], room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Https]:
    with https(root, on_request=lambda: look(leaks)) as serving:
        # As if the host knew its authority.
        configuration = tmp_path / "gitconfig"
        configuration.write_text(
            f"[include]\n\tpath = {access.CONFIGURATION}\n"
            f"[http]\n\tsslCAInfo = {serving.authority}\n"
        )
        monkeypatch.setattr(access, "CONFIGURATION", configuration)
        room.names.add(NAME, "127.0.0.1")
        yield serving


def address(forge: Https, path: str) -> str:
    return f"https://{NAME}:{forge.port}/{path}"


async def test_a_public_repository(room: Room, forge: Https) -> None:
    found = await room.added("w", address(forge, "w.git"), private=True)
    assert (found.state, found.message, found.branch) == (READY, "", "main")
    assert found.commit
    assert forge.users == []


async def test_a_token_opens_a_repository_and_is_seen_by_nobody(
    room: Room, forge: Https, leaks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    room.credential("deploy", f"{TOKEN}\n")
    found = await room.added("w", address(forge, "secret/w.git"), private=True, credential="deploy")
    assert (found.state, found.message) == (READY, "")
    assert set(forge.users) == {f"x-access-token:{TOKEN}"}
    assert leaks == []
    kept = [path for path in room.root.rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in caplog.text
    named = address(forge, "secret/w.git").replace("https://", "https://robot@")
    await room.projects.set("w", SetOptions(source=named))
    assert (await room.settled("w")).state is READY
    assert forge.users[-1] == f"robot:{TOKEN}"


@pytest.mark.parametrize(
    ("path", "token", "said"),
    [
        ("secret/w.git", None, "wants a token, or has no such repository"),
        ("secret/w.git", "another-token", "refuses the token"),
        ("none.git", None, "not found"),
        ("moved/w.git", TOKEN, "redirects to another address"),
    ],
)
async def test_a_refusal_is_told_with_the_remedy(
    room: Room, forge: Https, path: str, token: str | None, said: str
) -> None:
    if token:
        room.credential("deploy", token)
    found = await room.added(
        "w", address(forge, path), private=True, credential="deploy" if token else None
    )
    assert found.state is FAILED
    assert said in found.message
    assert TOKEN not in found.message


async def test_a_stranger_with_another_certificate_gets_no_token(
    room: Room, forge: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The authority of the stranger is not one that the host knows.
    monkeypatch.setattr(access, "CONFIGURATION", Path(access.__file__).with_name("gitconfig"))
    room.credential("deploy", TOKEN)
    found = await room.added("w", address(forge, "secret/w.git"), private=True, credential="deploy")
    assert found.state is FAILED
    assert f"the certificate of {NAME} is not valid" in found.message
    assert forge.users == []


async def test_a_key_opens_a_repository_and_the_host_is_known_from_then_on(
    room: Room, root: Path
) -> None:
    room.names.add(NAME, "127.0.0.1")
    async with ssh(root) as first:
        room.credential("deploy", first.key)
        source = f"ssh://git@{NAME}:{first.port}{root}/w.git"
        found = await room.added("w", source, private=True, credential="deploy")
        assert (found.state, found.message) == (READY, "")
        assert (await room.projects.show("w")).host_keys == [first.fingerprint]
    async with ssh(root, first.port) as second:
        room.credential("deploy", second.key)
        found = await room.fetched("w")
        assert found.state is FAILED
        assert "is not the one that it had" in found.message
        assert "hivectl project set w --forget-host-keys" in found.message
        await room.projects.set("w", SetOptions(forget_host_keys=True))
        assert (await room.settled("w")).state is READY
        assert (await room.projects.show("w")).host_keys == [second.fingerprint]
        room.credential("deploy", first.key)
        found = await room.fetched("w")
        assert found.state is FAILED
        assert f"{NAME} refuses the key" in found.message


async def test_upstream_that_is_away_fails_and_comes_back(room: Room, root: Path) -> None:
    room.names.add(NAME, "127.0.0.1")
    async with ssh(root) as serving:
        room.credential("deploy", serving.key)
        source = f"ssh://git@{NAME}:{serving.port}{root}/w.git"
        tip = (await room.added("w", source, private=True, credential="deploy")).commit
    found = await room.fetched("w")
    assert (found.state, found.commit) == (FAILED, tip)
    assert "The fetch failed: " in found.message
    async with asyncio.timeout(60), ssh(root, serving.port) as again:
        room.credential("deploy", again.key)
        room.repositories.forget_host_keys("w")
        assert (await room.fetched("w")).state is READY
