"""The webhooks of forges: open to whoever signs them, and bounded for everybody else."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from services.dashboard.http import hook_handlers
from services.dashboard.http.failures import FREE, Failures
from services.dashboard.http.hook_handlers import HookHandlers
from services.dashboard.tests.conftest import TIME_LIMIT, Page
from services.dashboard.tests.fakes.projects import FakeProjects, sign
from wire.records.projects import MAX_HOOK

BODY = b'{"ref": "refs/heads/main"}'
SIGNED = {"X-Forgejo-Signature": sign(BODY)}


@pytest.fixture
def projects(page: Page) -> FakeProjects:
    return page.hive.projects


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before answers, none of which is made."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("services.dashboard.__main__.Failures", lambda: Failures(sleep=sleep))
    return found


async def deliver(
    page: Page, headers: dict[str, str], body: bytes = BODY, path: str = "/hooks/website"
) -> tuple[int, str]:
    """Send a webhook as a forge does: without a session, an Origin or a cookie."""
    headers = {"Content-Type": "application/json", **headers}
    data = io.BytesIO(body)
    async with page.http.post(page.url + path, data=data, headers=headers) as response:
        return response.status, await response.text()


async def test_a_webhook_needs_no_session_and_is_passed_on_whole(
    page: Page, projects: FakeProjects
) -> None:
    others = {
        "X-Gitea-Signature": "b",
        "X-Hub-Signature-256": "sha256=c",
        "X-Gitlab-Token": "d",
        "webhook-id": "e",
        "webhook-timestamp": "f",
        "webhook-signature": "v1,g",
    }
    dropped = {"Cookie": "Hyperhive-Session=x", "X-Forgejo-Event": "push", "X-Other": "y"}
    assert await deliver(page, SIGNED | others | dropped) == (200, "{}")
    [(name, headers, body)] = projects.received
    assert (name, body) == ("website", BODY)
    assert headers == {
        "x_forgejo_signature": sign(BODY),
        "x_gitea_signature": "b",
        "x_hub_signature_256": "sha256=c",
        "x_gitlab_token": "d",
        "webhook_id": "e",
        "webhook_timestamp": "f",
        "webhook_signature": "v1,g",
    }


async def test_a_webhook_may_be_any_bytes(page: Page, projects: FakeProjects) -> None:
    body = b"\xff\0" * (MAX_HOOK // 2)
    assert (await deliver(page, {"X-Forgejo-Signature": sign(body)}, body))[0] == 200
    assert projects.received[0][2] == body


async def test_failures_are_sentences_and_slow(
    pauses: list[float], page: Page, projects: FakeProjects
) -> None:
    for _ in range(FREE + 2):
        status, text = await deliver(page, {"X-Forgejo-Signature": "0"})
        assert status == 403
        assert "the signature is wrong" in text
    assert pauses == [0.5, 1.0]
    assert (await deliver(page, SIGNED))[0] == 200
    assert len(pauses) == 2, "the forge does not wait, whoever fails meanwhile"


async def test_a_long_webhook_is_refused_unread(page: Page, projects: FakeProjects) -> None:
    status, text = await deliver(page, SIGNED, bytes(MAX_HOOK + 1))
    assert status == 413
    assert "at most 1024 KiB" in text
    assert projects.received == []


async def test_without_the_service_the_forge_is_told_to_come_again(page: Page) -> None:
    await page.buses["projects"].close()
    status, text = await deliver(page, SIGNED)
    assert status == 503
    assert "Send the webhook again" in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
async def test_pages_of_other_sites_send_none(
    page: Page, projects: FakeProjects, headers: dict[str, str]
) -> None:
    assert (await deliver(page, SIGNED | headers))[0] == 403
    assert projects.received == []


@pytest.mark.parametrize("path", ["/hooks", "/hooks/", "/hooks/a/b"])
async def test_other_paths_lead_nowhere(page: Page, projects: FakeProjects, path: str) -> None:
    assert (await deliver(page, SIGNED, path=path))[0] in (401, 403, 404)
    assert projects.received == []
    assert (await page.get("/hooks/website"))[0] in (401, 405)


@pytest.fixture
def arriving(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """Return a queue that gets an item when a webhook begins to arrive."""
    found: asyncio.Queue[None] = asyncio.Queue()
    make_room = HookHandlers._make_room

    def seen(handlers: HookHandlers) -> None:
        make_room(handlers)
        found.put_nowait(None)

    monkeypatch.setattr(HookHandlers, "_make_room", seen)
    return found


async def test_webhooks_are_checked_one_after_the_other(
    page: Page, projects: FakeProjects, arriving: asyncio.Queue[None]
) -> None:
    projects.go_on.clear()
    async with asyncio.timeout(TIME_LIMIT):
        tasks = [asyncio.create_task(deliver(page, SIGNED)) for _ in range(8)]
        for _ in tasks:
            await arriving.get()
        for _ in range(3):  # meanwhile, those that may be passed on are
            assert (await page.get("/login/ways"))[0] == 200
        assert projects.at_once == 1
        projects.go_on.set()
        answers = await asyncio.gather(*tasks)
    assert [status for status, _ in answers] == [200] * 8
    assert projects.at_once == 1


async def test_the_oldest_makes_way_when_many_arrive(
    page: Page,
    projects: FakeProjects,
    arriving: asyncio.Queue[None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hook_handlers, "MOST", 2)

    async def slowly() -> AsyncIterator[bytes]:
        yield BODY[:1]
        await asyncio.Event().wait()

    async def slow() -> tuple[int, str]:
        headers = {"Content-Length": str(len(BODY))}
        url = f"{page.url}/hooks/website"
        async with page.http.post(url, data=slowly(), headers=headers) as response:
            return response.status, await response.text()

    async with asyncio.timeout(TIME_LIMIT):
        tasks = []
        for _ in range(2):
            tasks.append(asyncio.create_task(slow()))
            await arriving.get()
        assert (await deliver(page, SIGNED))[0] == 200
        status, text = await tasks[0]
        assert status == 503
        assert "not whole in time" in text
        assert not tasks[1].done()
        tasks[1].cancel()
        await asyncio.wait(tasks)
