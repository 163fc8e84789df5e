"""The proxy in front of the dashboard, and the users whom it names."""

import asyncio
import json
from contextlib import closing, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from services.config import DashboardConfig
from services.dashboard.__main__ import DashboardService
from services.dashboard.http.failures import FREE, MAX_WAITING, WINDOW, Failures
from services.dashboard.http.proxy import Proxy
from services.dashboard.preview.addresses import PreviewNames
from services.dashboard.preview.entrance import Entrances
from services.dashboard.tests.conftest import TIME_LIMIT, Page, listen
from services.dashboard.tests.test_preview import Program, enter, get, send, serving
from services.dashboard.tests.test_push import subscription
from services.errors import ConfigError
from wire.agent_web import AgentWeb
from wire.fixtures import Connect

TOKEN = "a token"
ADA = {"Remote-User": "ada", "Hyperhive-Proxy": TOKEN}


@pytest.fixture
def config() -> DashboardConfig:
    return DashboardConfig(
        url="https://hive.example.org",
        behind_proxy=True,
        trusted_proxies=("127.0.0.1", "10.0.0.0/8"),
        user_header="Remote-User",
        users={"ada": "reviewer", "bob": "operator", "cleo": "reviewer"},
    )


@pytest.fixture
def proxy_token() -> str:
    return TOKEN


async def test_the_user_of_the_proxy_logs_in_and_each_request_must_be_that_user(page: Page) -> None:
    assert (await page.get("/login/ways", **ADA))[1] == {"user": "ada", "passkeys": False}
    status, answer = await page.post("/login/proxy", **ADA)
    assert (status, answer["role"]) == (200, "reviewer")
    session = {"Hyperhive-Session": answer["session"]}
    forwarded = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7, 10.1.1.1"}
    assert (await page.get("/api/session", **ADA, **session))[0] == 200
    for other in ({}, {"Remote-User": "ada"}, ADA | {"Remote-User": "cleo"}):
        assert (await page.get("/api/session", **other, **session))[0] == 401
    assert (await page.post("/api/agents/alice/kill", **ADA, **session))[0] == 403
    status, answer = await page.post("/login/proxy", **ADA | {"Remote-User": "bob"}, **forwarded)
    page.http.headers.update(ADA | {"Remote-User": "bob", "Hyperhive-Session": answer["session"]})
    rows = (await page.get("/api/sessions"))[1]["sessions"]
    assert [(row["name"], row["role"], row["way"], row["own"]) for row in rows] == [
        ("bob", "operator", "proxy", True),
        ("ada", "reviewer", "proxy", False),
    ]
    assert rows[0]["address"] == "192.0.2.7", "what the browser has written itself is not believed"


async def test_nothing_of_a_user_outlives_the_entry(
    page: Page, connect: Connect, config: DashboardConfig
) -> None:
    """A user who is no longer named, or has another role, gets no passkey and no notification."""
    page.http.headers.update(ADA)
    answer = (await page.post("/login/proxy"))[1]
    page.http.headers["Hyperhive-Session"] = answer["session"]
    for path, body in (
        ("/api/passkeys/begin", {}),
        ("/api/passkeys", {"credential": {}, "name": "phone"}),
    ):
        status, answer = await page.post(path, body)
        assert (status, answer["name"]) == (403, "org.hyperhive.Error.AccessDenied")
        assert "dashboard.users" in answer["error"]
    assert "dashboard.users" in (await page.get("/api/session"))[1]["passkeys"]
    assert (await page.post("/api/push", subscription()))[0] == 200
    assert (await page.post("/login/proxy", **{"Remote-User": "bob"}))[0] == 200
    for users, left in (
        ({"ada": "reviewer", "bob": "operator"}, {"ada", "bob"}),
        ({"ada": "guest", "bob": "operator"}, {"bob"}),
    ):
        settings = config.model_copy(update={"users": users})
        state = page.agents.parent
        with closing(listen()) as listener:
            bus, proxy = await connect(), Proxy(settings, TOKEN)
            DashboardService(bus, listener, state, settings, AgentWeb(), proxy=proxy)
        sessions = json.loads((state / "logins.json").read_text())["sessions"]
        assert {one["name"] for one in sessions.values()} == left
        pushed = json.loads((state / "push.json").read_text())["targets"]
        assert len(pushed) == ("ada" in left)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Remote-User": "bob"}, 403),
        ({"Remote-User": "bob", "Hyperhive-Proxy": "guessed"}, 403),
        (ADA | {"Remote-User": "mallory"}, 403),
        (ADA | {"Origin": "http://evil.example"}, 403),
    ],
)
async def test_nobody_else_logs_in(page: Page, headers: dict[str, str], status: int) -> None:
    assert (await page.post("/login/proxy", **headers))[0] == status
    await page.log_in()
    assert len((await page.get("/api/sessions"))[1]["sessions"]) == 1


def test_on_the_loopback_a_user_needs_a_token(config: DashboardConfig) -> None:
    with pytest.raises(ConfigError, match="credentials/dashboard/proxy"):
        Proxy(config)
    elsewhere = config.model_copy(update={"trusted_proxies": ("10.0.0.0/8", "fd00::/8")})
    proxy = Proxy(elsewhere)
    assert proxy.admits("10.3.2.1")
    assert proxy.admits("::ffff:10.3.2.1")
    assert not proxy.admits("127.0.0.1")
    assert not proxy.admits("nonsense")


@pytest.mark.parametrize(
    "values",
    [
        {"behind_proxy": True},
        {"trusted_proxies": ("10.0.0.1",)},
        {"user_header": "Remote-User"},
        {"users": {"ada": "operator"}},
    ],
)
def test_the_settings_need_each_other(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="need"):
        DashboardConfig.model_validate(values)


async def test_failed_logins_become_slower_and_nobody_is_locked_out(page: Page) -> None:
    now, waits = 0.0, list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    failures = Failures(lambda: now, sleep)
    for _ in range(FREE + 6):
        await failures.failed()
    assert waits == [0.5, 1, 2, 4, 8, 10]
    now = WINDOW + 1
    await failures.failed()
    assert len(waits) == 6

    async def hang(seconds: float) -> None:
        await asyncio.Event().wait()

    failures = Failures(lambda: now, hang)
    tasks = [asyncio.create_task(failures.failed()) for _ in range(FREE + MAX_WAITING + 5)]
    done, pending = await asyncio.wait(tasks, timeout=0)
    while len(pending) > MAX_WAITING:
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == FREE + 5
    for task in pending:
        task.cancel()
    for _ in range(FREE + 1):
        failing = asyncio.create_task(page.post("/login", {"token": "guessed"}))
    await page.log_in()  # a valid link is answered, whoever fails
    assert (await failing)[0] == 401


async def test_other_hosts_are_cut_off_before_they_say_anything() -> None:
    let_in: list[str] = []

    class Inside(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            let_in.append(data.decode())

    previews: Any = SimpleNamespace(names=PreviewNames("localhost"))
    loop = asyncio.get_running_loop()
    for admitted in ("127.0.0.1", "10.0.0.1"):
        entrances = Entrances(Inside, previews, admits=admitted.__eq__)
        server = await loop.create_server(entrances, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with suppress(OSError):  # the connection may be gone at any moment
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        server.close()
        assert not entrances.waiting
    assert len(let_in) == 1


async def test_a_program_of_an_agent_gets_nothing_of_the_proxy(page: Page) -> None:
    program = Program()
    headers = ADA | {"Remote-User": "bob"}
    session = (await page.post("/login/proxy", **headers))[1]["session"]
    page.http.headers.update(headers | {"Hyperhive-Session": session})
    async with serving(program, page.agents / "alice"):
        cookie = await enter(page)
        sent = {"Hyperhive_Proxy": TOKEN, "REMOTE_USER": "bob", "X_Forwarded_For": "192.0.2.7"}
        assert (await send(page, get("/", cookie, **sent))).startswith(b"HTTP/1.1 200 ")
    [request] = program.got
    assert request.count(b"\r\n") == 4, request
    assert TOKEN.encode() not in request


async def test_names_that_are_no_text_spoil_nothing(page: Page) -> None:
    """The file of logins takes text only: with anything else, nobody logs in any more."""
    port = int(page.url.rpartition(":")[2])
    token = (await page.token()).encode()
    for headers in (
        b"Hyperhive-Proxy: \xff\r\nRemote-User: bob\r\n",
        b"Hyperhive-Proxy: a token\r\nRemote-User: \xff\r\n",
        b"Hyperhive-Proxy: a token\r\nX-Forwarded-For: \xff\xfe\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"token": "%b"}' % token
        writer.write(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
            b"Content-Type: application/json\r\nConnection: close\r\n%b"
            b"Content-Length: %d\r\n\r\n%b" % (headers, len(body), body)
        )
        async with asyncio.timeout(TIME_LIMIT):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        token = (await page.token()).encode()
    await page.log_in()


async def test_any_user_must_have_a_name_of_text(config: DashboardConfig) -> None:
    proxy = Proxy(config.model_copy(update={"users": {"*": "guest"}}), TOKEN)
    for name, user in (("ada", "ada"), ("\udcff", ""), ("a\tb", ""), ("é", "é")):
        request: Any = SimpleNamespace(
            headers={"Remote-User": name, "Hyperhive-Proxy": TOKEN}, remote="127.0.0.1"
        )
        assert proxy.user(request) == user
