"""Attacks and their refusals."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from services.dashboard.tests.conftest import TIME_LIMIT, Page
from wire.errors import AccessDenied
from wire.principal import THE_MANAGER, agent
from wire.testing import FixedPrincipals

PATHS = ["/api/state", "/api/events", "/api/session", "/api/messages/1", "/static", "/api/x"]
PATHS += ["/api/questions/1", "/api/approvals/1/diff", "/api/agents/alice/logs", "/api"]
PATHS += ["/api/events?tail=alice", "/api/agents/alice/events", "/api/agents/alice/events/1"]
PATHS += ["/api/agents/alice/turns", "/api/agents/alice/turns/1", "/api/agents/alice/days"]
PATHS += ["/api/agents/alice/turns/1/export", "/api/agents/alice/turns/1/export?form=html"]
POSTS = [
    "/api/messages",
    "/api/messages/1/read",
    "/api/messages/1/requeue",
    "/api/messages/1/drop",
    "/api/questions/1/answer",
    "/api/agents/alice/kill",
    "/api/agents/alice/wake",
    "/api/agents/alice/cancel",
    "/api/agents/alice/compact",
    "/api/agents/alice/new-session",
    "/api/agents/alice/model",
    "/api/agents/alice/effort",
    "/api/agents/alice/login",
    "/api/agents/alice/login/code",
    "/api/agents/alice/login/cancel",
    "/api/approvals/1/approve",
    "/api/approvals/1/deny",
    "/api/services/broker/refresh",
    "/logout",
]


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_login_nothing_is_shown(page: Page, path: str) -> None:
    status, answer = await page.get(path)
    assert status == 401
    assert "hivectl login-link" in answer["error"]
    assert answer["name"] == "org.hyperhive.Error.AccessDenied"


@pytest.mark.parametrize("path", POSTS)
async def test_without_a_login_nothing_is_done(page: Page, path: str) -> None:
    assert (await page.post(path))[0] == 401
    assert not any(agent.calls or agent.commands for agent in page.hive.agents.values())
    assert not page.hive.broker.log


@pytest.mark.parametrize(
    "path", ["/", "/agents/alice", "/agents/nobody", "/agents/alice/turns/1", "/static/index.js"]
)
async def test_without_a_login_pages_are_shells_that_say_nothing(page: Page, path: str) -> None:
    elsewhere = {} if path.startswith("/static") else {"Sec-Fetch-Site": "cross-site"}
    status, shell = await page.get(path, **elsewhere)
    assert status == 200
    await page.log_in()
    assert await page.get(path, **elsewhere) == (200, shell)


@pytest.mark.parametrize("path", ["/xyz", "/agents", "/agents/..%2fx", "/agents/alice/turns/x"])
async def test_an_unknown_address_is_a_page_with_a_sentence_and_a_link(
    page: Page, path: str
) -> None:
    status, text = await page.get(path, **{"Sec-Fetch-Site": "cross-site"})
    assert status == 404
    assert '<a href="/">' in text
    assert 'role="alert"' in text
    await page.log_in()
    assert await page.get(path) == (404, text)
    assert (await page.get("/api/xyz"))[1]["error"] == "Not Found: GET /api/xyz"


async def test_a_hostile_address_is_not_shown(page: Page) -> None:
    text = (await page.get("/%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE"))[1]
    assert "There is no page at this address." in text
    assert "alert(1)" not in text
    assert "<script" not in text


async def test_a_link_logs_in_once_and_a_get_does_not_use_it_up(page: Page) -> None:
    link = await page.link()
    assert link.startswith(f"{page.url}/login#token=")
    token = link.partition("token=")[2]
    for query in ("", f"?token={token}"):
        status, text = await page.get(f"/login{query}")
        assert status == 200
        assert token not in text
    status, answer = await page.post("/login", {"token": token})
    assert status == 200
    assert (await page.get("/api/session"))[0] == 401
    assert (await page.get("/api/session", **{"Hyperhive-Session": answer["session"]}))[0] == 200
    status, answer = await page.post("/login", {"token": token})
    assert status == 401
    assert "already used" in answer["error"]


async def test_no_answer_sets_a_cookie_and_none_is_accepted(page: Page) -> None:
    headers = {"Origin": page.url}
    body = {"token": await page.token()}
    async with page.http.post(page.url + "/login", json=body, headers=headers) as response:
        assert "Set-Cookie" not in response.headers
        session = (await response.json())["session"]
    port = page.url.rpartition(":")[2]
    for name in (f"hyperhive-{port}", "hyperhive-session", "Hyperhive-Session"):
        assert (await page.get("/api/state", Cookie=f"{name}={session}"))[0] == 401
    assert (await page.get("/api/state", Authorization=f"Bearer {session}"))[0] == 401
    headers["Hyperhive-Session"] = session
    async with page.http.post(page.url + "/logout", headers=headers) as response:
        assert response.status == 200
        assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("token", ["", "x", "x" * 300, "\ud800", 7, None])
async def test_a_made_up_token_is_refused(page: Page, token: object) -> None:
    assert (await page.post("/login", {"token": token}))[0] in (400, 401)
    assert (await page.get("/api/state"))[0] == 401


async def test_logging_out_ends_the_session_and_its_streams(page: Page) -> None:
    await page.log_in()
    async with page.http.get(page.url + "/api/events") as stream:
        await stream.content.readuntil(b"\n\n")
        assert (await page.post("/logout"))[0] == 200
        with suppress(aiohttp.ClientError):  # the stream is aborted
            async with asyncio.timeout(TIME_LIMIT):
                await stream.content.read()
    assert (await page.get("/api/state"))[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.2", "", "[", "localhost@evil"]
)
async def test_another_host_name_is_refused(page: Page, host: str) -> None:
    await page.log_in()
    status, _ = await page.get("/api/state", Host=host)
    assert status in (400, 403)
    assert (await page.get("/login", Host=host))[0] in (400, 403)


@pytest.mark.parametrize(
    ("host", "path", "target"),
    [
        ("localhost", "/", "http://127.0.0.1/"),
        ("LOCALHOST:1", "/agents/alice?x", "http://127.0.0.1:1/agents/alice?x"),
        ("localhost:7000", "/login", "http://127.0.0.1:7000/login"),
    ],
)
async def test_pages_of_localhost_lead_to_the_address(
    page: Page, host: str, path: str, target: str
) -> None:
    url, headers = page.url + path, {"Host": host}
    async with page.http.get(url, headers=headers, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, target)


async def test_localhost_gets_nothing_else(page: Page) -> None:
    token = await page.token()
    await page.log_in()
    host = {"Host": "localhost", "Origin": "http://localhost"}
    assert (await page.get("/api/state", **host))[0] == 403
    assert (await page.get("/static/index.js", **host))[0] == 403
    assert (await page.post("/login", {"token": token}, **host))[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "[::1]:7000"])
async def test_its_own_host_names_are_served(page: Page, host: str) -> None:
    assert (await page.get("/login", Host=host))[0] == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "x", "http://["],
)
async def test_another_origin_may_not_post(page: Page, origin: str) -> None:
    await page.log_in()
    status, _ = await page.post("/api/messages", {"to": "alice", "body": "x"}, Origin=origin)
    assert status == 403
    assert not page.hive.broker.log


async def test_a_post_without_origin_is_refused(page: Page) -> None:
    await page.log_in()
    async with page.http.post(
        page.url + "/api/messages", json={"to": "alice", "body": "x"}
    ) as response:
        assert response.status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_reads_nothing_and_posts_nothing(page: Page, site: str) -> None:
    await page.log_in()
    fetch_site = {"Sec-Fetch-Site": site}
    assert (await page.get("/api/state", **fetch_site))[0] == 403
    assert (await page.get("/api/events", **fetch_site))[0] == 403
    assert (await page.post("/api/agents/alice/kill", **fetch_site))[0] == 403
    assert (await page.get("/", **fetch_site))[0] == 200  # other sites may link to a page


async def test_every_answer_carries_the_headers(page: Page) -> None:
    for path in ("/", "/login", "/api/state", "/nowhere", "/static/base.css"):
        async with page.http.get(page.url + path, allow_redirects=False) as response:
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"
            assert "Server" not in response.headers
    await page.log_in()
    async with page.http.get(page.url + "/api/events") as stream:
        assert "Content-Security-Policy" in stream.headers


@pytest.mark.parametrize("name", ["..%2fguard.py", "%2e%2e/guard.py", "index.html", "x.js", "."])
async def test_only_static_files_are_served(page: Page, name: str) -> None:
    await page.log_in()
    assert (await page.get(f"/static/{name}"))[0] == 404


async def test_bodies_are_bounded_and_have_a_shape(page: Page) -> None:
    await page.log_in()
    async with page.http.post(
        page.url + "/api/messages",
        data=io.BytesIO(b"x" * (9 * 1024 * 1024)),
        headers={"Origin": page.url, "Content-Type": "application/json"},
    ) as response:
        assert response.status == 413
        assert (await response.json())["name"] == "org.hyperhive.Error.LimitExceeded"
    for body in (
        {"to": "alice"},
        {"to": 1, "body": "x"},
        {"to": "alice", "body": "x", "kind": "y"},
    ):
        status, answer = await page.post("/api/messages", body)
        assert (status, answer["name"]) == (400, "org.hyperhive.Error.InvalidArgument")
    async with page.http.post(
        page.url + "/api/messages", data=b'{"to":', headers={"Origin": page.url}
    ) as response:
        assert response.status == 400
    assert not page.hive.broker.log


async def test_only_the_operator_gets_a_link(page: Page, principals: FixedPrincipals) -> None:
    for stranger in (agent("alice"), THE_MANAGER):
        principals.known[page.bus.unique_name] = stranger
        with pytest.raises(AccessDenied):
            await page.link()


async def test_large_logins_are_refused_before_they_are_read(page: Page) -> None:
    headers = {"Origin": page.url, "Content-Type": "application/json"}

    async def endless() -> AsyncIterator[bytes]:
        yield b'{"token": "'
        await asyncio.Event().wait()

    async with asyncio.timeout(TIME_LIMIT):
        for body, status in ((b'{"token": "' + b"x" * 9000 + b'"}', 413), (endless(), 411)):
            async with page.http.post(page.url + "/login", data=body, headers=headers) as answer:
                assert answer.status == status, "it was read"


@pytest.mark.parametrize("path", ["/Run `rm`", "/agents/run `rm`", "/. Log in again: it has ended"])
async def test_an_address_puts_no_words_into_the_mouth_of_the_page(page: Page, path: str) -> None:
    status, text = await page.get(path.replace(" ", "%20").replace("`", "%60"))
    assert status == 404
    assert "<code>" not in text
    for word in ("rm", "Log", "Run", "run"):
        assert word not in text.partition('role="alert"')[2].partition("</p>")[0]


@pytest.mark.parametrize("metrics_token", ["a token"])
async def test_a_token_that_is_no_text_is_none(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    port = int(page.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer \xff\xe9\r\n"
        b"Hyperhive-Session: \xff\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(TIME_LIMIT):
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    assert not caplog.records


@pytest.mark.parametrize("more", [b"", b"Connection: Upgrade\r\n"])
async def test_after_a_refused_web_socket_the_connection_is_closed(page: Page, more: bytes) -> None:
    """Nobody looks at the bytes after the head, so they must not be taken for a request."""
    port = int(page.url.rpartition(":")[2])
    for path in (b"a" * 43, b"a"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"GET /terminals/%b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n%b\r\n"
        writer.write(head % (path, more) + b"GET /%7e HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(TIME_LIMIT):
            answers = await reader.read()
        assert answers.count(b"HTTP/1.1 ") == 1, answers
        writer.close()
