"""Previews: a program of an agent in a browser, behind the login and on an origin of its own."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from services.dashboard.preview import heads
from services.dashboard.preview.addresses import Place, PreviewNames
from services.dashboard.preview.previews import Previews
from services.dashboard.preview.tickets import MAX_KEPT, TICKET_SECONDS, Tickets
from services.dashboard.tests.conftest import TIME_LIMIT, Page
from wire.records.lifecycle import AgentState, Network, NetworkMode

HOST = "alice-3000.localhost"


class Program:
    """A program of the agent: it keeps the requests, and gives its answers."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        self.echoes = False
        self.events: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = heads.request(head).all(b"content-length")
            self.got.append(head + await reader.readexactly(int(length[0]) if length else 0))
            writer.write(self.answer)
            for event in self.events:
                await asyncio.sleep(0.1)  # a stream has a pace
                writer.write(event)
            while self.echoes and (data := await reader.read(100)):
                writer.write(data.upper())
        writer.close()


@asynccontextmanager
async def serving(program: Program, directory: Path) -> AsyncIterator[None]:
    await asyncio.to_thread(directory.mkdir, parents=True)
    # The path of a test's directory may be longer than an address may be.
    folder = os.open(directory, os.O_PATH)
    try:
        place = f"/proc/self/fd/{folder}/port-3000.sock"
        server = await asyncio.start_unix_server(program.serve, place)
        try:
            yield
        finally:
            server.close()
    finally:
        os.close(folder)


async def send(page: Page, data: bytes, *, more: bytes = b"") -> bytes:
    """Send bytes to the dashboard's socket; return what comes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(page.url.rpartition(":")[2]))
    writer.write(data)
    if more:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(more)
        writer.write_eof()
    async with asyncio.timeout(TIME_LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


def get(path: str, cookie: str = "", host: str = HOST, **more: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:7000"]
    lines += [f"Cookie: {cookie}"] if cookie else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def enter(page: Page, port: int = 3000) -> str:
    """Open a preview from the page of alice; return the browser's cookie."""
    status, answer = await page.post("/api/agents/alice/preview", {"port": port})
    assert status == 200
    scheme, _, rest = answer["url"].partition("://")
    host, _, path = rest.partition("/")
    at = page.url.rpartition(":")[2]
    assert (scheme, host) == ("http", f"alice-{port}.localhost:{at}")
    said = await send(page, get(f"/{path}", host=f"alice-{port}.localhost"))
    assert said.startswith(b"HTTP/1.1 303 See Other\r\nLocation: /\r\n")
    assert b"HttpOnly; SameSite=Lax" in said
    again = await send(page, get(f"/{path}", host=f"alice-{port}.localhost"))
    assert again.startswith(b"HTTP/1.1 401 ")
    return said.partition(b"Set-Cookie: ")[2].partition(b";")[0].decode()


async def test_a_page_of_an_agent_is_shown_behind_the_login(page: Page) -> None:
    program = Program()
    async with serving(program, page.agents / "alice"):
        for cookie in ("", "hyperhive-preview=guessed"):
            assert (await send(page, get("/", cookie))).startswith(b"HTTP/1.1 401 ")
        assert (await page.post("/api/agents/alice/preview", {"port": 3000}))[0] == 401
        await page.log_in()
        cookie = await enter(page)
        answer = await send(page, get("/a?b=c", f"theirs=1; {cookie}", Authorization="Basic x"))
    assert answer == (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    [request] = program.got
    assert request.decode() == (
        f"GET /a?b=c HTTP/1.1\r\nHost: {HOST}:7000\r\nCookie: theirs=1\r\nConnection: close\r\n\r\n"
    )


async def test_a_right_is_for_one_port_of_one_agent_and_ends_with_the_login(page: Page) -> None:
    await page.log_in()
    async with serving(Program(), page.agents / "alice"), serving(Program(), page.agents / "bob"):
        cookie = await enter(page)
        for host in ("alice-3001.localhost", "bob-3000.localhost"):
            assert (await send(page, get("/", cookie, host))).startswith(b"HTTP/1.1 401 ")
        assert (await send(page, get("/", cookie))).startswith(b"HTTP/1.1 200 ")
        await page.post("/logout")
        assert (await send(page, get("/", cookie))).startswith(b"HTTP/1.1 401 ")


async def test_a_body_and_a_web_socket_pass(page: Page) -> None:
    await page.log_in()
    program = Program()
    async with serving(program, page.agents / "alice"):
        cookie = await enter(page)
        post = get("/", cookie, Content_Length="3").replace(b"GET", b"POST") + b"a=b"
        assert (await send(page, post)).endswith(b"hello")
        assert program.got[0].endswith(b"\r\n\r\na=b")
        program.answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
        program.echoes = True
        asked = get("/", cookie, Connection="keep-alive, Upgrade", Upgrade="websocket")
        assert await send(page, asked, more=b"ping") == b"PING"
    assert b"Connection: Upgrade\r\n" in program.got[1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://bob-3000.localhost:7000"},
        {"Origin": "http://alice-3000.localhost.evil.test"},
        {"Origin": "http://127.0.0.1:7000"},
        {"Origin": "null"},
        {"Origin": "http://[bob-3000.localhost"},
        {"Origin": "null", "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "script"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "websocket"},
    ],
)
async def test_a_page_of_another_agent_uses_no_preview(page: Page, headers: dict[str, str]) -> None:
    await page.log_in()
    program = Program()
    async with serving(program, page.agents / "alice"):
        cookie = await enter(page)
        asked = get("/", cookie, Connection="Upgrade", Upgrade="websocket", **headers)
        if headers.get("Sec_Fetch_Dest") == "document":
            asked = asked.replace(b"GET", b"POST")
        assert (await send(page, asked)).startswith(b"HTTP/1.1 403 ")
    assert program.got == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://alice-3000.localhost:7000"},
        {"Origin": "http://alice-8000.localhost:7000", "Sec_Fetch_Site": "same-site"},
        {"Origin": "null", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none", "Sec_Fetch_Dest": "document"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"},
    ],
)
async def test_pages_of_the_agent_and_links_reach_a_preview(
    page: Page, headers: dict[str, str]
) -> None:
    await page.log_in()
    async with serving(Program(), page.agents / "alice"):
        cookie = await enter(page)
        assert (await send(page, get("/", cookie, **headers))).startswith(b"HTTP/1.1 200 ")


async def test_a_cookie_of_another_page_with_the_same_name_takes_no_preview_away(
    page: Page,
) -> None:
    await page.log_in()
    async with serving(Program(), page.agents / "alice"):
        cookie = await enter(page)
        answer = await send(page, get("/", f"hyperhive-preview=theirs; {cookie}"))
        assert answer.startswith(b"HTTP/1.1 200 ")


@asynccontextmanager
async def web_socket(
    page: Page, cookie: str, host: str = HOST
) -> AsyncIterator[tuple[bytes, asyncio.StreamReader]]:
    """Open a web socket; give the head of the answer, and what follows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(page.url.rpartition(":")[2]))
    writer.write(get("/", cookie, host, Connection="Upgrade", Upgrade="websocket"))
    async with asyncio.timeout(TIME_LIMIT):
        head = await reader.readuntil(b"\r\n\r\n")
    try:
        yield head, reader
    finally:
        writer.close()


async def test_a_web_socket_ends_with_the_login(page: Page) -> None:
    await page.log_in()
    program = Program()
    program.answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    program.echoes = True
    async with (
        serving(program, page.agents / "alice"),
        web_socket(page, await enter(page)) as (head, reader),
    ):
        assert b" 101 " in head
        await page.post("/logout")
        async with asyncio.timeout(TIME_LIMIT):
            assert await reader.read() == b""


async def test_an_agent_leaves_connections_to_others(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.dashboard.preview.previews.MAX_OF_AGENT", 1)
    await page.log_in()
    program = Program()
    program.answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    program.echoes = True
    other = Place("bob", 3000)
    async with serving(program, page.agents / "alice"), serving(program, page.agents / "bob"):
        cookie = await enter(page)
        status, answer = await page.post("/api/agents/bob/preview", {"port": 3000})
        assert status == 200
        host = PreviewNames().name(other)
        said = await send(page, get("/" + answer["url"].split("/", 3)[3], host=host))
        bobs = said.partition(b"Set-Cookie: ")[2].partition(b";")[0].decode()
        async with web_socket(page, cookie) as (head, _):
            assert b" 101 " in head
            async with web_socket(page, cookie) as (refused, _):
                assert b" 503 " in refused
            async with web_socket(page, bobs, host) as (allowed, _):
                assert b" 101 " in allowed


async def test_strangers_take_no_places_of_previews(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.dashboard.preview.previews.MAX_CONNECTIONS", 1)
    await page.log_in()
    port = int(page.url.rpartition(":")[2])
    async with serving(Program(), page.agents / "alice"):
        cookie = await enter(page)
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in held:
            writer.write(get("/")[:-2])  # the head has no end
            await writer.drain()
        assert (await send(page, get("/", cookie))).startswith(b"HTTP/1.1 200 ")
        for _, writer in held:
            writer.close()


async def test_a_program_changes_the_protocol_only_when_it_is_asked_to(page: Page) -> None:
    """A proxy in front could take what follows for the answer to another request."""
    await page.log_in()
    program = Program()
    program.answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    )
    async with serving(program, page.agents / "alice"):
        answer = await send(page, get("/", await enter(page)))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"200 OK" not in answer


@pytest.mark.parametrize(
    "header",
    [
        b"Set-Cookie: a=b; Domain=localhost",
        b"Set-Cookie: hyperhive-preview=theirs",
        b"Clear-Site-Data: *",
        b"Strict-Transport-Security: max-age=1",
        b'Alt-Svc: h2="x:1"',
        b"Connection: keep-alive",
    ],
)
async def test_a_header_that_reaches_beyond_the_preview_is_dropped(
    page: Page, header: bytes
) -> None:
    await page.log_in()
    program = Program()
    program.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: c=d; Path=/\r\n%b\r\n\r\n" % header
    async with serving(program, page.agents / "alice"):
        answer = await send(page, get("/", await enter(page)))
    assert answer == (b"HTTP/1.1 200 OK\r\nSet-Cookie: c=d; Path=/\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "answer", [b"HTTP", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad\r\n\r\n", b"x" * 100_000]
)
async def test_a_program_that_does_not_speak_http_is_named(page: Page, answer: bytes) -> None:
    await page.log_in()
    program = Program()
    program.answer = answer
    async with serving(program, page.agents / "alice"):
        said = await send(page, get("/", await enter(page)))
    assert said.startswith(b"HTTP/1.1 502 ")
    assert said.endswith(b"did not answer in HTTP.\n")


async def test_a_program_that_sends_heads_without_end_is_cut_off(page: Page) -> None:
    await page.log_in()
    program = Program()
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    program.answer = hint * 1000 + b"HTTP/1.1 200 OK\r\n\r\n"
    async with serving(program, page.agents / "alice"):
        cookie = await enter(page)
        said = await send(page, get("/", cookie))
        assert said.count(b" 103 ") < 20
        assert b"HTTP/1.1 502 " in said
        program.answer = hint + b"HTTP/1.1 200 OK\r\n\r\n"
        said = await send(page, get("/", cookie))
    assert said.count(b"HTTP/1.1 103 ") == 1
    assert b"HTTP/1.1 200 OK" in said


NOTHING = "Nothing listens on port 3000 in the container of alice"


@pytest.mark.parametrize(
    ("shows", "sentence", "act"),
    [
        ({"state": AgentState.STOPPED}, "alice is stopped.", "Start alice"),
        ({"state": AgentState.SLEEPING}, "alice sleeps until", "Start alice"),
        ({"state": AgentState.FAILED}, "alice has failed.", "Start alice"),
        ({"state": AgentState.PAUSED}, "alice is paused", "Resume alice"),
        ({"state": AgentState.STARTING}, "alice is starting.", "Open the page"),
        ({"mode": NetworkMode.HOST}, "http://alice.localhost:3000/", "Open the page"),
        ({"ports": ()}, "not among the `ports`", "Open the page"),
        ({"ports": (3000,)}, "does not offer port 3000 yet", "Open the page"),
    ],
)
async def test_a_port_that_shows_nothing_says_why_and_where_the_remedy_is(
    page: Page, shows: dict[str, Any], sentence: str, act: str
) -> None:
    await page.log_in()
    alice = page.hive.agents["alice"]
    network = {"mode": NetworkMode.GATEWAY, "ports": (3000,)}
    network |= {key: value for key, value in shows.items() if key in network}
    shown = alice.shown.network._replace(**network)  # type: ignore[arg-type]
    alice.show(network=shown, **{k: v for k, v in shows.items() if k == "state"})
    state = alice.shown.state
    await page.until(
        lambda tables: (
            (row := tables["agents"].get("alice"))
            and (row["state"], row["network"]) == (state, json_of(shown))
        )
    )
    cookie = await enter(page)
    said = (await send(page, get("/", cookie, Accept="text/html,*/*"))).decode()
    assert said.startswith("HTTP/1.1 503 ")
    assert f'href="{page.url}/agents/alice"' in said
    assert sentence in said
    assert act in said
    assert "script" not in said
    assert "default-src 'none'" in said
    # A script of a page gets the sentence alone.
    said = (await send(page, get("/x.json", cookie, Accept="*/*"))).decode()
    assert said.startswith("HTTP/1.1 503 ")
    assert sentence in said
    assert "text/plain" in said


def json_of(network: Network) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(json.dumps(network._asdict()))
    return shown


async def test_a_port_on_which_nothing_listens_says_so(page: Page) -> None:
    await page.log_in()
    program = Program()
    program.answer = b""
    async with serving(program, page.agents / "alice"):
        said = await send(page, get("/", await enter(page), Accept="text/html"))
    assert said.startswith(b"HTTP/1.1 502 ")
    assert NOTHING in said.decode()
    assert "Ask alice" in said.decode()


async def test_a_silent_program_is_given_up_and_a_stream_that_speaks_is_not(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Previews, "answer_seconds", 0.2)
    monkeypatch.setattr(Previews, "idle_seconds", 0.4)
    await page.log_in()
    program = Program()
    async with serving(program, page.agents / "alice"):
        cookie = await enter(page)
        program.answer, program.echoes = b"", True  # it reads, and says nothing
        said = await send(page, get("/", cookie))
        assert said.startswith(b"HTTP/1.1 504 ")
        assert b"does not answer" in said
        # Server-sent events: longer than the limits in all, but never silent for so long.
        program.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        program.events = [b"data: %d\n\n" % number for number in range(8)]
        said = await send(page, get("/events", cookie))
    assert said.count(b"data: ") == 8


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Host: bob-3000.localhost\r\n",
        b"X : y\r\n",
        b"X: \x00\r\n",
    ],
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(page: Page, more: bytes) -> None:
    await page.log_in()
    program = Program()
    async with serving(program, page.agents / "alice"):
        cookie = await enter(page)
        data = get("/", cookie).removesuffix(b"\r\n") + more + b"\r\n"
        assert (await send(page, data)).startswith(b"HTTP/1.1 400 ")
    assert program.got == []


async def test_the_dashboard_is_not_served_under_the_name_of_a_preview(page: Page) -> None:
    await page.log_in()
    session = page.http.headers["Hyperhive-Session"]
    for host in (HOST, "alice-3000.localhost.", "x.alice-3000.localhost", "alice-0.localhost"):
        head = get("/api/state", host=host, Hyperhive_Session=session, Connection="close")
        said = await send(page, head)
        assert said.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 403 "))
    # A connection of the dashboard does not lead to a preview later.
    first = get("/login", host="127.0.0.1").replace(b":7000", b"")
    said = await send(page, first + get("/", "x=y", Connection="close"))
    assert said.count(b"HTTP/1.1 200 ") == 1
    assert b"HTTP/1.1 403 " in said


async def test_heads_in_pieces_reach_both(page: Page) -> None:
    await page.log_in()
    async with serving(Program(), page.agents / "alice"):
        cookie = await enter(page)
        for data in (get("/", cookie), get("/login", host="127.0.0.1", Connection="close")):
            at = int(page.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", at)
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            async with asyncio.timeout(TIME_LIMIT):
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("alice-3000.localhost:7000", Place("alice", 3000)),
        ("ALICE-3000.LOCALHOST", Place("alice", 3000)),
        ("a-1-3000.localhost", Place("a-1", 3000)),
        ("localhost:7000", None),
        ("127.0.0.1", None),
        ("alice.localhost", None),
        ("alice-0.localhost", None),
        ("alice-65536.localhost", None),
        ("alice-3000.localhost.example.org", None),
        ("alice-3000", None),
        ("-3000.localhost", None),
        ("", None),
    ],
)
def test_names_of_previews(host: str, place: Place | None) -> None:
    assert PreviewNames().place(host) == place
    if place:
        assert PreviewNames().place(PreviewNames().name(place)) == place


def test_tickets_are_few_and_end_soon() -> None:
    clock = 1000.0
    tickets = Tickets(lambda session: 1.0 if session == "in" else 0.0, lambda: clock)
    place = Place("alice", 3000)
    ticket = tickets.issue(place, "in")
    assert tickets.redeem(ticket, Place("bob", 3000)) is None
    assert tickets.redeem(ticket, place) is None, "a wrong try uses it up"
    assert tickets.redeem(tickets.issue(place, "out"), place) is None
    ticket = tickets.issue(place, "in")
    clock += TICKET_SECONDS
    assert tickets.redeem(ticket, place) is None
    entered = [tickets.redeem(tickets.issue(place, "in"), place) for _ in range(MAX_KEPT + 1)]
    allowed = [bool(one and tickets.holder([one.secret], place)) for one in entered]
    assert allowed == [False, *[True] * MAX_KEPT]


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
async def test_a_right_that_came_over_tls_stays_there(
    page: Page, scheme: str, secure: bool
) -> None:
    await page.log_in()
    at = page.url.rpartition(":")[2]
    origin = f"{scheme}://127.0.0.1:{at}"
    _, answer = await page.post("/api/agents/alice/preview", {"port": 3000}, Origin=origin)
    assert answer["url"].startswith(f"{scheme}://{HOST}:{at}/.hyperhive/")
    said = await send(page, get("/" + answer["url"].split("/", 3)[3]))
    assert said.startswith(b"HTTP/1.1 303 ")
    assert (b"SameSite=Lax; Secure\r\n" in said) == secure
