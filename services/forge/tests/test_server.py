"""The endpoint: signed events become messages, and nothing else does."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.config import ForgeConfig
from services.forge import http, server
from services.forge.bounds import Bounds
from services.forge.forge import PATH, Forge
from services.forge.replays import Replays
from services.forge.server import Server
from services.forge.tests.payloads import (
    SECRET,
    comment,
    encoded,
    issue,
    repository,
    signature,
    user,
)
from wire.errors import HiveError, LimitExceeded, NotFound, Unavailable

LIMIT = 20.0
CONFIG = ForgeConfig.model_validate(
    {"agents": {"alice": {}, "bob": {"account": "Bob.Bot"}, "gone": {}}, "messages_per_hour": 5}
)


@dataclass
class FakeBroker:
    """A broker that drops repetitions, and knows no agent `gone`."""

    sent: dict[str, tuple[str, str]] = field(default_factory=dict)
    fail: list[HiveError] = field(default_factory=list)
    wait: asyncio.Event | None = None
    calls: int = 0

    async def send(self, agent: str, body: str, dedupe_key: str) -> None:
        assert 1 <= len(dedupe_key) <= 128
        self.calls += 1
        if self.wait is not None:
            await self.wait.wait()
        if self.fail:
            raise self.fail.pop(0)
        if agent == "gone":
            raise NotFound("There is no agent gone.")
        self.sent.setdefault(dedupe_key, (agent, body))

    @property
    def agents(self) -> list[str]:
        return [agent for agent, _ in self.sent.values()]


@dataclass
class Stage:
    """A running server."""

    server: Server
    broker: FakeBroker
    port: int

    async def raw(self, data: bytes, *, end: bool = False) -> bytes:
        """Send `data`, and return all that comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        if end:
            writer.write_eof()
        async with asyncio.timeout(LIMIT):
            answer = await reader.read(-1)
        writer.close()
        return answer

    async def post(self, payload: Any, **headers: str) -> tuple[int, str]:
        """Post an event as Forgejo does; `headers` replace those of Forgejo."""
        body = payload if isinstance(payload, bytes) else encoded(payload)
        given = {
            "Host": "127.0.0.1",
            "User-Agent": "Go-http-client/1.1",
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            "X-Forgejo-Event": "issues",
            "X-Forgejo-Signature": signature(body),
            "X-Gitea-Signature": signature(body),
        }
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        return parsed(await self.raw(f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode() + body))


def parsed(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert f"Content-Length: {len(body.encode())}" in head
    assert "Connection: close" in head
    found = re.match(r"HTTP/1.1 ([0-9]{3}) ", head)
    assert found
    return int(found[1]), body.strip()


@asynccontextmanager
async def stage(
    folder: Path, idle: float = 60.0, bounds: Bounds | None = None
) -> AsyncIterator[Stage]:
    listener = socket.create_server(("127.0.0.1", 0))
    broker = FakeBroker()
    forge = Forge(CONFIG, SECRET, Replays(folder / "received"), broker, bounds)
    running = Server(listener, forge, idle)
    port = listener.getsockname()[1]
    running.start()
    try:
        yield Stage(running, broker, port)
    finally:
        await running.close()


async def test_an_event_becomes_one_message_for_each_agent(tmp_path: Path) -> None:
    async with stage(tmp_path) as hive:
        payload = comment("@BOB.bot, @gone and @stranger: look", author="alice")
        assert await hive.post(payload) == (200, "2 agents were told.")
        assert sorted(hive.broker.agents) == ["alice", "bob"]
        for agent, body in hive.broker.sent.values():
            reason = "you opened it" if agent == "alice" else "it mentions you"
            assert body.startswith("In the forge, ann commented on issue 4 of ann/site, and ")
            assert reason in body
            assert "> @BOB.bot, @gone and @stranger: look" in body


async def test_an_account_that_is_named_like_an_agent_is_not_the_agents(tmp_path: Path) -> None:
    """bob has the account Bob.Bot; `bob` is somebody else's."""
    async with stage(tmp_path) as hive:
        assert await hive.post(comment("@bob @operator @system @manager")) == (
            200,
            "0 agents were told.",
        )
        assert not hive.broker.sent


async def test_a_repetition_is_told_once(tmp_path: Path) -> None:
    payload = comment("hello", author="alice")
    async with stage(tmp_path) as hive:
        assert (await hive.post(payload))[1] == "1 agent was told."
        repeated = await hive.post(payload, X_Forgejo_Delivery="another-id", X_Forgejo_Event="push")
        assert repeated == (200, "This event was received before: nobody was told again.")
        assert len(hive.broker.sent) == 1
        assert (await hive.post(comment("hello!", author="alice")))[1] == "1 agent was told."
    async with stage(tmp_path) as restarted:
        assert "before" in (await restarted.post(payload))[1]
        assert not restarted.broker.sent


async def test_repetitions_at_the_same_time_are_told_once(tmp_path: Path) -> None:
    broker = FakeBroker(wait=asyncio.Event())
    forge = Forge(CONFIG, SECRET, Replays(tmp_path / "received"), broker)
    body = encoded(comment("x", author="alice"))
    headers = {"content-type": "application/json", "x-forgejo-signature": signature(body)}
    request = http.Request("POST", PATH, headers, body)
    receiving = [asyncio.create_task(forge.receive(request)) for _ in range(8)]
    for _ in range(20):  # all of them go as far as they can
        await asyncio.sleep(0)
    assert broker.calls == 1
    assert broker.wait is not None
    broker.wait.set()
    told = await asyncio.gather(*receiving)
    assert told.count("1 agent was told.") == 1
    assert broker.calls == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_Forgejo_Signature": "0" * 64}, 401),
        ({"X_Forgejo_Signature": "", "X_Gitea_Signature": ""}, 401),
        ({"X_Forgejo_Signature": "", "X_Gitea_Signature": "00"}, 401),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": ""}, 415),
    ],
)
async def test_what_is_not_signed_is_refused(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with stage(tmp_path) as hive:
        assert (await hive.post(comment("x", author="alice"), **headers))[0] == status
        assert not hive.broker.sent


async def test_a_changed_body_is_refused(tmp_path: Path) -> None:
    body = encoded(comment("x", author="alice"))
    async with stage(tmp_path) as hive:
        changed = body.replace(b"The colours", b"The colors!")
        assert len(changed) == len(body)
        good = signature(body)
        assert (await hive.post(changed, X_Forgejo_Signature=good))[0] == 401
        assert (await hive.post(body + b" ", X_Forgejo_Signature=good))[0] == 401
        assert not hive.broker.sent


async def test_refusals_are_said_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path) as hive:
        for _ in range(5):
            await hive.post(comment("x"), X_Forgejo_Signature="0")
    assert len([record for record in caplog.records if "signature" in record.message]) == 1


async def test_the_bodys_bound(tmp_path: Path) -> None:
    async with stage(tmp_path) as hive:
        status, text = await hive.post(issue("closed", body="x" * http.MAX_BODY))
        assert (status, text.partition(";")[2]) == (413, f" at most {http.MAX_BODY} are taken.")
        room = http.MAX_BODY - len(encoded(issue("closed", author="alice", body="")))
        assert await hive.post(issue("closed", author="alice", body="x" * room)) == (
            200,
            "1 agent was told.",
        )


POST = f"POST {PATH} HTTP/1.1\r\n"
HOSTILE = {
    "another path": ("POST /hooks HTTP/1.1\r\n\r\n", 404),
    "a path with a query": (f"POST {PATH}?x HTTP/1.1\r\n\r\n", 404),
    "dots": (f"POST /x/..{PATH} HTTP/1.1\r\n\r\n", 404),
    "another method": (f"GET {PATH} HTTP/1.1\r\n\r\n", 405),
    "an absolute address": (f"POST http://x{PATH} HTTP/1.1\r\n\r\n", 400),
    "another protocol": ("PRI * HTTP/2.0\r\n\r\n", 400),
    "no HTTP": ("hello\r\n\r\n", 400),
    "a folded header": (f"{POST}A: b\r\n c\r\n\r\n", 400),
    "a header without a name": (f"{POST}: b\r\n\r\n", 400),
    "a space before the colon": (f"{POST}Content-Length : 1\r\n\r\nx", 400),
    "a NUL": (f"{POST}A: \0\r\n\r\n", 400),
    "two lengths": (f"{POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "two signatures": (f"{POST}X-Gitea-Signature: a\r\nx-gitea-signature: b\r\n\r\n", 400),
    "a negative length": (f"{POST}Content-Length: -1\r\n\r\n", 400),
    "a length of many digits": (f"{POST}Content-Length: {'9' * 100}\r\n\r\n", 400),
    "a long body": (f"{POST}Content-Length: 999999999\r\n\r\n", 413),
    "chunks": (f"{POST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    "chunks and a length": (f"{POST}Content-Length: 3\r\nTransfer-Encoding: x\r\n\r\nxxx", 411),
    "a long head": (f"{POST}A: {'x' * 100_000}\r\n\r\n", 431),
    "many headers": (POST + "".join(f"A{n}: x\r\n" for n in range(3000)) + "\r\n", 431),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_request_is_refused(tmp_path: Path, what: str) -> None:
    data, status = HOSTILE[what]
    async with stage(tmp_path) as hive:
        assert parsed(await hive.raw(data.encode()))[0] == status
        assert (await hive.post(comment("x", author="alice")))[0] == 200


async def test_a_second_request_on_a_connection_is_not_read(tmp_path: Path) -> None:
    body = encoded(comment("x", author="alice"))
    head = f"{POST}Content-Length: {len(body)}\r\nX-Gitea-Signature: {signature(body)}\r\n"
    whole = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    async with stage(tmp_path) as hive:
        answer = await hive.raw(f"{POST}Content-Length: 0\r\n\r\n".encode() + whole)
        assert parsed(answer)[0] == 415
        assert not hive.broker.sent
        assert parsed(await hive.raw(whole))[0] == 200


async def test_a_client_that_leaves_or_hangs_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SECONDS", 0.2)
    async with stage(tmp_path) as hive:
        assert await hive.raw(POST.encode(), end=True) == b""
        assert await hive.raw(f"{POST}Content-Length: 5\r\n\r\nx".encode(), end=True) == b""
        assert parsed(await hive.raw(POST.encode()))[0] == 408
        assert parsed(await hive.raw(f"{POST}Content-Length: 5\r\n\r\nx".encode()))[0] == 408


async def test_connections_above_the_limit_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    async with stage(tmp_path) as hive:
        held = [await asyncio.open_connection("127.0.0.1", hive.port) for _ in range(2)]
        for _, writer in held:
            writer.write(b"POST")
            await writer.drain()
        async with asyncio.timeout(LIMIT):
            while not (answer := await hive.raw(b"")).startswith(b"HTTP/1.1 503 "):
                assert not answer  # one of the two was accepted after this one
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("gone"), 503), (LimitExceeded("too much"), 429)]
)
async def test_an_event_that_the_broker_does_not_take_can_be_sent_again(
    tmp_path: Path, error: HiveError, status: int
) -> None:
    payload = comment("@bob.bot", author="alice")
    async with stage(tmp_path) as hive:
        hive.broker.fail.append(error)
        assert (await hive.post(payload))[0] == status
        assert (await hive.post(payload))[1] == "2 agents were told."
        assert sorted(hive.broker.agents) == ["alice", "bob"]


async def test_an_agent_with_a_full_inbox_keeps_no_event_from_others(tmp_path: Path) -> None:
    async with stage(tmp_path) as hive:
        hive.broker.fail.append(LimitExceeded("The inbox of alice is full."))
        assert (await hive.post(comment("@bob.bot", author="alice")))[0] == 429
        assert hive.broker.agents == ["bob"]


async def test_an_event_that_cannot_be_stored_can_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    async with stage(tmp_path) as hive:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            assert (await hive.post(comment("x", author="alice")))[0] == 503
        assert (await hive.post(comment("x", author="alice")))[0] == 200
        assert len(hive.broker.sent) == 1


async def test_a_flood_is_cut_and_the_agent_hears_of_it(tmp_path: Path) -> None:
    async with stage(tmp_path, bounds=Bounds(5, lambda: 1000.0)) as hive:
        for number in range(20):
            payload = comment(f"again {number}", author="alice")
            assert (await hive.post(payload))[0] == 200
        bodies = [body for _, body in hive.broker.sent.values()]
        assert len(bodies) == 6
        assert bodies[-1].startswith("There were more than 5 events")
        assert (await hive.post(comment("@bob.bot")))[1] == "1 agent was told."


async def test_an_event_that_is_none_is_refused_with_its_place(tmp_path: Path) -> None:
    async with stage(tmp_path) as hive:
        status, text = await hive.post({"issue": {"number": []}})
        assert (status, "issue.number" in text) == (422, True)
        assert (await hive.post(b"[" * 100_000))[0] == 422
        assert await hive.post({"ref": "refs/heads/main", "repository": repository()}) == (
            200,
            "No agent is told of events of this kind.",
        )


async def test_events_of_one_organization_reach_no_agent_of_another_account(tmp_path: Path) -> None:
    async with stage(tmp_path) as hive:
        payload = issue(
            "assigned", assignees=[user("ann"), user("x")], repository=repository("org")
        )
        assert await hive.post(payload) == (200, "0 agents were told.")


async def test_a_fault_of_ours_is_told_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as hive:
        monkeypatch.setattr("services.forge.forge.texts.message", lambda *_: 1 / 0)
        assert await hive.post(comment("x", author="alice")) == (
            500,
            "The request failed; see the journal.",
        )


async def test_it_ends_when_nothing_happens(tmp_path: Path) -> None:
    async with stage(tmp_path, idle=0.2) as hive:
        await hive.post(comment("x"))
        async with asyncio.timeout(LIMIT):
            await hive.server.run()
