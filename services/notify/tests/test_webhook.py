"""One request to a real server that behaves well, badly, or not at all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.config import Webhook
from services.notify.news import News, news
from services.notify.tests.conftest import PATIENCE, Hook
from services.notify.webhook import Sender, Verdict

NEWS = news("question", 7, "alice asks you (7)", "Which?\n1  a", 1_780_000_000_000_000, "alice")
Make = Callable[..., Sender]


@pytest.fixture
async def make(hook: Hook) -> AsyncIterator[Make]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        def sender(token: str | None = None, timeout: float = 20.0, **hooked: Any) -> Sender:
            values = {"name": "phone", "type": "json", "url": f"{hook.url}/hook?a=b", **hooked}
            return Sender(
                Webhook(**values), token, session, host="box", page="http://page", timeout=timeout
            )

        yield sender


async def test_json(make: Make, hook: Hook) -> None:
    assert (await make("s3cret").post(NEWS)).verdict is Verdict.TAKEN
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
    assert (await sender.post(NEWS)).verdict is Verdict.TAKEN
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
async def test_words_of_agents_stay_here_if_wanted(
    make: Make, hook: Hook, kind: str, key: str
) -> None:
    await make(type=kind, details=False).post(NEWS)
    assert "Which?" not in hook.bodies[0][key]


def crash() -> News:
    return news("crash", 1, "container-crash", "It does not come up again.", 0)


async def test_what_is_bad_rings_louder(make: Make, hook: Hook) -> None:
    await make(type="ntfy").post(crash())
    assert hook.bodies[0]["priority"] == 4


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (204, Verdict.TAKEN),
        (400, Verdict.REFUSED),
        (401, Verdict.LATER),
        (404, Verdict.LATER),
        (413, Verdict.REFUSED),
        (429, Verdict.LATER),
        (500, Verdict.LATER),
        (503, Verdict.LATER),
    ],
)
async def test_what_an_answer_means(make: Make, hook: Hook, status: int, verdict: Verdict) -> None:
    hook.answers = [web.Response(status=status)]
    outcome = await make().post(NEWS)
    assert outcome.verdict is verdict
    assert verdict is Verdict.TAKEN or str(status) in outcome.reason


@pytest.mark.parametrize(("said", "wait"), [("120", 120.0), ("999999", 3600.0), ("soon", 0.0)])
async def test_it_comes_again_when_it_may(make: Make, hook: Hook, said: str, wait: float) -> None:
    hook.answers = [web.Response(status=429, headers={"Retry-After": said})]
    assert (await make().post(NEWS)).wait == wait


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_token_goes_nowhere_else(make: Make, hook: Hook, status: int) -> None:
    hook.answers = [web.Response(status=status, headers={"Location": f"{hook.url}/elsewhere"})]
    outcome = await make("s3cret").post(NEWS)
    assert outcome.verdict is Verdict.LATER
    assert "redirects are not followed" in outcome.reason
    assert [path for path, _, _ in hook.got] == ["/hook"]


async def test_silence_has_an_end(make: Make, hook: Hook) -> None:
    hook.silent = True
    async with asyncio.timeout(PATIENCE):
        outcome = await make(timeout=0.2).post(NEWS)
    assert outcome.verdict is Verdict.LATER
    assert outcome.reason == "it did not answer within 0.2 s"


async def serve(answer: bytes) -> tuple[asyncio.Server, str]:
    """A server that says `answer` to whoever comes."""

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
async def test_nonsense_is_no_answer(
    make: Make, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server, url = await serve(answer)
    with caplog.at_level(logging.DEBUG):
        outcome = await make("s3cret", url=url).post(NEWS)
    server.close()
    await server.wait_closed()
    assert outcome.verdict is Verdict.LATER
    assert "s3cret" not in outcome.reason + caplog.text


async def test_nobody_there(make: Make, hook: Hook) -> None:
    server, url = await serve(b"")
    server.close()
    await server.wait_closed()
    outcome = await make("s3cret", url=url).post(NEWS)
    assert outcome.verdict is Verdict.LATER
    assert "Connection refused" in outcome.reason
    assert "s3cret" not in outcome.reason


async def test_a_name_that_nobody_has(make: Make) -> None:
    outcome = await make("s3cret", url="http://nowhere.invalid/s3cret-path").post(NEWS)
    assert outcome.verdict is Verdict.LATER
    assert "s3cret" not in outcome.reason


async def test_a_long_answer_is_not_read(make: Make, hook: Hook) -> None:
    hook.answers = [web.Response(body=b"x" * 50_000_000)]
    assert (await make().post(NEWS)).verdict is Verdict.TAKEN
