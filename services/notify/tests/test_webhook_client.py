"""One request to a real server that answers well, badly, or not at all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.config import Webhook
from services.notify.notification import Notification
from services.notify.tests.conftest import TIME_LIMIT, Hook
from services.notify.webhook_client import Outcome, WebhookClient

NOTIFICATION = Notification.of(
    "question", 7, "alice asks you (7)", "Which?\n1  a", 1_780_000_000_000_000, "alice"
)
Make = Callable[..., WebhookClient]


@pytest.fixture
async def make(hook: Hook) -> AsyncIterator[Make]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        def sender(token: str | None = None, timeout: float = 20.0, **hooked: Any) -> WebhookClient:
            values = {"name": "phone", "type": "json", "url": f"{hook.url}/hook?a=b", **hooked}
            return WebhookClient(
                Webhook(**values), token, session, host="box", page="http://page", timeout=timeout
            )

        yield sender


async def test_json(make: Make, hook: Hook) -> None:
    assert (await make("s3cret").post(NOTIFICATION)).outcome is Outcome.DELIVERED
    [(path, headers, body)] = hook.got
    assert path == "/hook"
    assert headers["Authorization"] == "Bearer s3cret"
    assert body == {
        "id": "question-7",
        "event": "question",
        "host": "box",
        "title": "alice asks you (7)",
        "text": "Which?\n1  a",
        "at": "2026-05-28T20:26:40+00:00",
        "url": "http://page",
    }


async def test_ntfy(make: Make, hook: Hook) -> None:
    sender = make(type="ntfy", url=f"{hook.url}/my-topic")
    assert (await sender.post(NOTIFICATION)).outcome is Outcome.DELIVERED
    [(path, headers, body)] = hook.got
    assert path == "/"
    assert headers["X-Sequence-ID"] == "question-7"
    assert "Authorization" not in headers
    assert body == {
        "topic": "my-topic",
        "title": "box: alice asks you (7)",
        "message": "Which?\n1  a",
        "priority": 3,
        "tags": ["question"],
        "click": "http://page",
    }


@pytest.mark.parametrize(("kind", "key"), [("json", "text"), ("ntfy", "message")])
async def test_without_details_agents_words_stay_on_the_host(
    make: Make, hook: Hook, kind: str, key: str
) -> None:
    await make(type=kind, details=False).post(NOTIFICATION)
    assert "Which?" not in hook.bodies[0][key]


def crash() -> Notification:
    return Notification.of("crash", 1, "container-crash", "It does not come up again.", 0)


async def test_a_crash_has_a_higher_priority(make: Make, hook: Hook) -> None:
    await make(type="ntfy").post(crash())
    assert hook.bodies[0]["priority"] == 4


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (204, Outcome.DELIVERED),
        (400, Outcome.REJECTED),
        (401, Outcome.RETRY),
        (404, Outcome.RETRY),
        (413, Outcome.REJECTED),
        (429, Outcome.RETRY),
        (500, Outcome.RETRY),
        (503, Outcome.RETRY),
    ],
)
async def test_the_status_decides_the_outcome(
    make: Make, hook: Hook, status: int, outcome: Outcome
) -> None:
    hook.answers = [web.Response(status=status)]
    attempt = await make().post(NOTIFICATION)
    assert attempt.outcome is outcome
    assert outcome is Outcome.DELIVERED or str(status) in attempt.reason


@pytest.mark.parametrize(("said", "wait"), [("120", 120.0), ("999999", 3600.0), ("soon", 0.0)])
async def test_retry_after_is_respected_within_bounds(
    make: Make, hook: Hook, said: str, wait: float
) -> None:
    hook.answers = [web.Response(status=429, headers={"Retry-After": said})]
    assert (await make().post(NOTIFICATION)).retry_after == wait


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_does_not_get_the_token(make: Make, hook: Hook, status: int) -> None:
    hook.answers = [web.Response(status=status, headers={"Location": f"{hook.url}/elsewhere"})]
    attempt = await make("s3cret").post(NOTIFICATION)
    assert attempt.outcome is Outcome.RETRY
    assert "redirects are not followed" in attempt.reason
    assert [path for path, _, _ in hook.got] == ["/hook"]


async def test_a_silent_webhook_times_out(make: Make, hook: Hook) -> None:
    hook.silent = True
    async with asyncio.timeout(TIME_LIMIT):
        attempt = await make(timeout=0.2).post(NOTIFICATION)
    assert attempt.outcome is Outcome.RETRY
    assert attempt.reason == "it did not answer within 0.2 s"


async def serve(answer: bytes) -> tuple[asyncio.Server, str]:
    """Start a server that gives `answer` to each request; return it and its address."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/s3cret-path"


@pytest.mark.parametrize(
    "answer",
    [b"", b"no http\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n"],
    ids=["nothing", "no http", "endless header"],
)
async def test_an_answer_that_is_not_http_is_retried(
    make: Make, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server, url = await serve(answer)
    with caplog.at_level(logging.DEBUG):
        attempt = await make("s3cret", url=url).post(NOTIFICATION)
    server.close()
    await server.wait_closed()
    assert attempt.outcome is Outcome.RETRY
    assert "s3cret" not in attempt.reason + caplog.text


async def test_a_refused_connection_is_retried(make: Make, hook: Hook) -> None:
    server, url = await serve(b"")
    server.close()
    await server.wait_closed()
    attempt = await make("s3cret", url=url).post(NOTIFICATION)
    assert attempt.outcome is Outcome.RETRY
    assert "Connection refused" in attempt.reason
    assert "s3cret" not in attempt.reason


async def test_an_unknown_host_name_is_retried(make: Make) -> None:
    attempt = await make("s3cret", url="http://nowhere.invalid/s3cret-path").post(NOTIFICATION)
    assert attempt.outcome is Outcome.RETRY
    assert "s3cret" not in attempt.reason


async def test_a_long_answer_is_not_read(make: Make, hook: Hook) -> None:
    hook.answers = [web.Response(body=b"x" * 50_000_000)]
    assert (await make().post(NOTIFICATION)).outcome is Outcome.DELIVERED
