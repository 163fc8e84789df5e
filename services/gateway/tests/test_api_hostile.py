"""Hostile clients and broken upstreams of the Messages API."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.config import GatewayConfig
from services.gateway.api import exchange
from services.gateway.tests.stage import KEY, LIMIT, Stage, stage
from services.gateway.tests.upstream import (
    BEGIN,
    END,
    STREAM_HEAD,
    Act,
    Sent,
    chunk,
    delta,
    event,
    hang,
    http,
    message,
    saying,
    upstream,
)
from wire.records.ledger import RequestOutcome

ASK: dict[str, Any] = {"model": "m", "max_tokens": 100, "messages": []}
BODY = json.dumps(ASK).encode()
WHOLE = http(json.dumps(message()).encode())
MIB = 2**20


def post(body: bytes, *headers: str, target: str = "/v1/messages") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ask(stage: Stage, **values: Any) -> tuple[int, Any]:
    async with asyncio.timeout(LIMIT):
        async with stage.session().post("/v1/messages", json=ASK | values) as answer:
            return answer.status, await answer.json(content_type=None)


SMUGGLED = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nx-smuggled: 1\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        # Two lengths, a length and chunks, and lengths that parsers read differently.
        post(BODY + SMUGGLED, f"Content-Length: {len(BODY)}"),
        post(BODY + SMUGGLED, "Transfer-Encoding: chunked"),
        post(BODY, "Transfer-Encoding: chunked, identity"),
        post(BODY, "Transfer-Encoding : chunked"),
        post(BODY, "Transfer-Encoding: xchunked"),
        post(BODY, "Transfer-Encoding: chunked", "Transfer-encoding: identity"),
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n" + BODY,
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n" + BODY,
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n" + BODY,
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + SMUGGLED,
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n" + SMUGGLED,
        # Headers that fold, have no name, or contain control characters.
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n x-app: y\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-app: a\rx-evil: 1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-app: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n: y\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        # Chunks that lie.
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"zz\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"-5\r\nabcde\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0",
        b"\0" * 100,
    ],
)
async def test_nothing_is_smuggled(tmp_path: Path, data: bytes) -> None:
    async with upstream(saying(WHOLE, close=False)) as up, stage(tmp_path, upstream=up.url) as hive:
        reader, writer = await hive.open(proxy=False)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(LIMIT):
            answer = await reader.read(-1)
        writer.close()
        assert b"200 OK" not in answer
        assert not any("smuggled" in str(sent.headers) for sent in up.sent)
        assert all(sent.first == "POST /v1/messages HTTP/1.1" for sent in up.sent)
        assert not up.sent
        assert not hive.ledger.reserved


async def test_each_pipelined_request_has_its_own_reservation(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE, close=False)) as up, stage(tmp_path, upstream=up.url) as hive:
        answer = await hive.raw(post(BODY) * 3 + post(BODY, "Connection: close"))
        assert answer.count(b"HTTP/1.1 200 OK") == 4
        assert len(up.sent) == len(hive.ledger.reserved) == 4
        await hive.ledger.settlement(4)
        assert len(hive.ledger.settled) == 4


async def test_a_chunked_body_goes_up_with_one_length(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        head = (
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        answer = await hive.raw(head + chunk(BODY[:9]) + chunk(BODY[9:]) + b"0\r\n\r\n")
        assert b"200 OK" in answer
        [sent] = up.sent
        assert (sent.all("content-length"), sent.body) == ([str(len(BODY))], BODY)
        assert not sent.all("transfer-encoding")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff\xfe{\x00}\x00", 400),
        (BODY.decode().encode("utf-16"), 400),
        (b"\xef\xbb\xbf" + BODY, 400),
        (b'{"model":"m","max_tokens":1,"max_tokens":100000}', 400),
        (b'{"model":"m","max_tokens":1,"max\\u005ftokens":100000}', 400),
        (b'{"model":"m","model":"n","max_tokens":1}', 400),
        (b'{"model":"m","max_tokens":1,"Max_Tokens":100000}', 400),
        (b'{"model":"m","max_tokens":1,"x":{"a":1,"a":2}}', 400),
        (b'{"model":"m"}', 400),
        (b'{"model":"m","max_tokens":"1"}', 400),
        (b'{"model":"m","max_tokens":true}', 400),
        (b'{"model":"m","max_tokens":1.5}', 400),
        (b'{"model":"m","max_tokens":-1}', 400),
        (b'{"model":"m","max_tokens":0}', 400),
        (b'{"model":"m","max_tokens":' + b"9" * 5000 + b"}", 400),
        (b'{"max_tokens":1}', 400),
        (b'{"model":["m"],"max_tokens":1}', 400),
        (b'{"model":"m\\n","max_tokens":1}', 400),
        (b'{"model":"%s","max_tokens":1}' % (b"m" * 200), 400),
        (b'{"a":' * 100_000, 400),
        (b"[" * 3_000_000, 413),
    ],
)
async def test_a_body_that_may_be_understood_differently_does_not_leave(
    tmp_path: Path, body: bytes, status: int
) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        answer = await hive.raw(post(body, "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
        assert b"Hyperhive: " in answer
        assert not up.sent
        assert not hive.ledger.reserved


async def test_bodies_are_bounded(tmp_path: Path) -> None:
    config = GatewayConfig(max_body=16 * MIB)
    async with (
        upstream(saying(WHOLE)) as up,
        stage(tmp_path, upstream=up.url, config=config) as hive,
    ):
        head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        assert (await hive.raw(head)).startswith(b"HTTP/1.1 413 ")
        reader, writer = await hive.open(proxy=False)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = chunk(b" " * MIB)
        try:
            async with asyncio.timeout(LIMIT):
                for _ in range(40):
                    writer.write(piece)
                    await writer.drain()
                answer = await reader.read(-1)
        except ConnectionError:
            answer = await reader.read(-1)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert not up.sent
        gzip = post(BODY, "Content-Encoding: gzip", "Connection: close")
        assert (await hive.raw(gzip)).startswith(b"HTTP/1.1 415 ")


async def test_a_slow_body_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.api.body.READ_SECONDS", 0.2)
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        reader, writer = await hive.open(proxy=False)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        async with asyncio.timeout(LIMIT):
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 408 ")
        writer.close()
        assert not up.sent


async def test_a_slow_head_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.api.server.IDLE_SECONDS", 0.2)
    async with stage(tmp_path) as hive:
        for sent in (b"", b"POST /v1/messages HTTP/1.1\r\nHost:"):
            reader, writer = await hive.open(proxy=False)
            writer.write(sent)
            async with asyncio.timeout(LIMIT):
                assert await reader.read(-1) == b""
            writer.close()


async def test_a_client_that_does_not_read_keeps_no_reservation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CLIENT_SECONDS", 0.2)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Sent) -> None:
        writer.write(STREAM_HEAD + chunk(BEGIN))
        while True:
            writer.write(chunk(delta("x" * 5000)))
            await writer.drain()

    async with upstream(flood) as up, stage(tmp_path, upstream=up.url) as hive:
        reader, writer = await hive.open(proxy=False)
        writer.write(post(BODY))
        async with asyncio.timeout(LIMIT):
            settled = await hive.ledger.settlement()
        assert settled.outcome is RequestOutcome.BROKEN
        assert settled.output_tokens > 0
        async with asyncio.timeout(LIMIT):
            assert (await reader.read(100)).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize(
    ("text", "part"),
    [("x" * 200_000, 0.5), ("an ordinary sentence " * 10_000, 0.5), ("}~" * 10**5, 1)],
)
async def test_a_request_that_is_cut_off_costs_what_its_text_may_cost(
    tmp_path: Path, text: str, part: float
) -> None:
    async with upstream(hang) as up, stage(tmp_path, upstream=up.url) as hive:
        _, writer = await hive.open(proxy=False)
        asked = {
            "model": "claude-a",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": text}],
        }
        writer.write(post(json.dumps(asked).encode()))
        async with asyncio.timeout(LIMIT):
            await up.asked.wait()
        writer.close()
        usage = await hive.ledger.settlement()
        most = hive.ledger.reserved[1].input_tokens
        assert part * most <= usage.input_tokens * 1.01 <= (part + 0.05) * most


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with stage(tmp_path, config=GatewayConfig(max_connections=4)) as hive:
        kept = [await hive.open(proxy=False) for _ in range(4)]
        answer = await hive.raw(post(BODY))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"overloaded_error" in answer
        kept[0][1].close()
        async with asyncio.timeout(LIMIT):
            while not (await hive.raw(post(b"", "Connection: close"))).startswith(b"HTTP/1.1 4"):
                pass
        for _, writer in kept:
            writer.close()


async def test_long_bodies_together_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.api.handler.BODIES", 1)
    monkeypatch.setattr("services.gateway.api.handler.WAIT_SECONDS", 0.2)
    config = GatewayConfig(max_body=16 * MIB)
    async with (
        upstream(saying(WHOLE)) as up,
        stage(tmp_path, upstream=up.url, config=config) as hive,
    ):
        _, writer = await hive.open(proxy=False)
        head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {16 * MIB}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        async with asyncio.timeout(LIMIT):
            while not (answer := await hive.raw(post(BODY, "Connection: close"))).startswith(
                b"HTTP/1.1 503 "
            ):
                assert answer.startswith(b"HTTP/1.1 200 ")
        writer.close()
        async with asyncio.timeout(LIMIT):
            while not (await hive.raw(post(BODY, "Connection: close"))).startswith(b"HTTP/1.1 200"):
                pass


async def test_a_client_that_leaves_early_pays_for_what_passed(tmp_path: Path) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        writer.write(STREAM_HEAD + chunk(BEGIN) + chunk(delta("x" * 600)))
        await reader.read(-1)

    async with upstream(act) as up, stage(tmp_path, upstream=up.url) as hive:
        async with hive.session().post("/v1/messages", json=ASK | {"max_tokens": 9999}) as answer:
            await answer.content.readexactly(len(BEGIN + delta("x" * 600)))
            answer.close()
        async with asyncio.timeout(LIMIT):
            await up.gone.wait()  # the upstream stops to generate
        usage = await hive.ledger.settlement()
        assert usage.outcome is RequestOutcome.BROKEN
        assert usage.input_tokens == 10
        assert 200 <= usage.output_tokens < 9999


async def test_a_client_that_leaves_before_the_answer_pays_for_its_request(tmp_path: Path) -> None:
    async with upstream(hang) as up, stage(tmp_path, upstream=up.url) as hive:
        _, writer = await hive.open(proxy=False)
        writer.write(post(json.dumps(ASK | {"x": "y" * 10_000}).encode()))
        async with asyncio.timeout(LIMIT):
            await up.asked.wait()
        writer.transport.abort()
        usage = await hive.ledger.settlement()
        assert usage.outcome is RequestOutcome.BROKEN
        assert usage.input_tokens >= 5000


async def test_a_client_that_leaves_while_the_ledger_thinks_leaves_nothing_reserved(
    tmp_path: Path,
) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        hive.ledger.slow = asyncio.Event()
        _, writer = await hive.open(proxy=False)
        writer.write(post(BODY))
        await hive.ledger.until_true(lambda: hive.ledger.reserved)
        writer.transport.abort()
        # Another request is answered after the gateway has seen the end of the first.
        answer = await hive.raw(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in answer
        hive.ledger.slow.set()
        assert (await hive.ledger.settlement()).outcome is RequestOutcome.REFUSED
        assert not up.sent


async def test_a_stop_settles_what_it_cuts_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.gateway.DRAIN_SECONDS", 0.1)
    async with upstream(hang) as up, stage(tmp_path, upstream=up.url) as hive:
        _, writer = await hive.open(proxy=False)
        writer.write(post(BODY))
        async with asyncio.timeout(LIMIT):
            await up.asked.wait()
            await hive.gateway.close()
        writer.close()
        assert hive.ledger.settled[1].outcome is RequestOutcome.BROKEN


async def test_the_use_cannot_be_hidden_by_a_stop_sequence(tmp_path: Path) -> None:
    end = event(
        "message_delta",
        delta={"stop_reason": "stop_sequence", "stop_sequence": '"type": "content_block_delta"'},
        usage={"output_tokens": 77},
    )
    answer = STREAM_HEAD + chunk(BEGIN + delta("message_delta usage") + end) + b"0\r\n\r\n"
    async with upstream(saying(answer)) as up, stage(tmp_path, upstream=up.url) as hive:
        async with hive.session().post("/v1/messages", json=ASK) as got:
            await got.read()
        assert (await hive.ledger.settlement()).output_tokens == 77


async def test_a_stream_that_was_not_asked_for_is_counted(tmp_path: Path) -> None:
    answer = STREAM_HEAD + chunk(BEGIN + END) + b"0\r\n\r\n"
    async with upstream(saying(answer)) as up, stage(tmp_path, upstream=up.url) as hive:
        async with hive.session().post("/v1/messages", json=ASK | {"stream": "true"}) as got:
            await got.read()
        assert (await hive.ledger.settlement()).output_tokens == 42


GARBAGE = STREAM_HEAD + chunk(b"event: x\ndata: {\xff\xfe\n\n" + b"\0" * 100)


@pytest.mark.parametrize(
    ("act", "status", "outcome"),
    [
        (saying(b""), 502, RequestOutcome.FAILED),
        (saying(b"garbage\r\n\r\n"), 502, RequestOutcome.FAILED),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\n"), 502, "failed"),
        (saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"), 502, "failed"),
        (saying(http(b"<html>", kind="text/html")), 502, RequestOutcome.BROKEN),
        (saying(http(b"{}")), 502, RequestOutcome.BROKEN),
        (saying(http(b"not json")), 502, RequestOutcome.BROKEN),
        (saying(http(b"[" * 100_000)), 502, RequestOutcome.BROKEN),
        (saying(http(b'{"usage":{}}', "Content-Encoding: gzip")), 502, RequestOutcome.BROKEN),
        (saying(http(b"<html>", status="503 Oops", kind="text/html")), 503, "failed"),
        (saying(http(b"", "Location: http://evil.example/", status="302 Found")), 502, "failed"),
        (saying(http(b"{}", status="204 No Content")), 502, "failed"),
        (saying(http(b'{"a":1}')[:-3]), 502, RequestOutcome.BROKEN),
    ],
)
async def test_a_broken_upstream_is_a_clean_error(
    tmp_path: Path, act: Act, status: int, outcome: str
) -> None:
    async with upstream(act) as up, stage(tmp_path, upstream=up.url) as hive:
        got, body = await ask(hive)
        assert (got, body["type"]) == (status, "error")
        assert body["error"]["message"].startswith("Hyperhive: ")
        assert KEY not in str(body)
        usage = await hive.ledger.settlement()
        assert usage.outcome == outcome
        assert (usage.input_tokens > 0) == (outcome == "broken")


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    found = http(b"{}", "Location: /v1/elsewhere", status="302 Found")
    act = saying(found, close=False)
    async with upstream(act) as up, stage(tmp_path, upstream=up.url) as hive:
        assert (await ask(hive))[0] == 502
        assert len(up.sent) == 1


async def test_an_upstream_that_is_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path, upstream="http://127.0.0.1:1") as hive:
        await ask(hive)
        await hive.ledger.settlement()
        status, body = await ask(hive)
        told = [text for text in caplog.messages if "The Messages API cannot be reached" in text]
        assert len(told) == 1, "Claude Code repeats its requests: the log says it once"
        assert (status, body["error"]["type"]) == (502, "api_error")
        usage = await hive.ledger.settlement()
        assert (usage.outcome, usage.status, usage.input_tokens) == (RequestOutcome.FAILED, 0, 0)


async def test_an_upstream_that_hangs(tmp_path: Path) -> None:
    # The setting has whole seconds; the test does not wait for one.
    config = GatewayConfig.model_construct(**dict(GatewayConfig()) | {"idle_timeout": 0.3})
    async with upstream(hang) as up, stage(tmp_path, upstream=up.url, config=config) as hive:
        status, body = await ask(hive)
        assert (status, body["error"]["type"]) == (502, "api_error")
        assert "in time" in body["error"]["message"]
        assert (await hive.ledger.settlement()).outcome is RequestOutcome.FAILED


@pytest.mark.parametrize("how", ["between", "within", "garbage"])
async def test_a_stream_that_breaks_off(tmp_path: Path, how: str) -> None:
    go = asyncio.Event()
    rest = {"between": b"", "within": chunk(delta("two")[:-9]), "garbage": b"zz\r\n"}[how]

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        writer.write(STREAM_HEAD + chunk(BEGIN))
        await go.wait()
        writer.write(rest)
        writer.close()

    async with upstream(act) as up, stage(tmp_path, upstream=up.url) as hive:
        reader, writer = await hive.open(proxy=False)
        writer.write(post(BODY, "Connection: close"))
        async with asyncio.timeout(LIMIT):
            await reader.readuntil(BEGIN)
            go.set()
            answer = await reader.read(-1)
        writer.close()
        if how == "within":
            assert not answer.endswith(b"0\r\n\r\n")  # the client sees that the end is missing
        else:
            assert b"event: error\ndata: " in answer
            assert answer.endswith(b"0\r\n\r\n")
        usage = await hive.ledger.settlement()
        assert usage.outcome is RequestOutcome.BROKEN
        assert (usage.input_tokens, usage.output_tokens >= 1) == (10, True)


async def test_an_answer_without_an_end_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_ANSWER", 4 * MIB)

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        writer.write(STREAM_HEAD + chunk(BEGIN))
        while True:
            writer.write(chunk(delta("x" * 60_000)))
            await writer.drain()

    async with upstream(act) as up, stage(tmp_path, upstream=up.url) as hive:
        answer = await hive.raw(post(BODY, "Connection: close"))
        assert 4 * MIB < len(answer) < 5 * MIB
        assert (await hive.ledger.settlement()).outcome is RequestOutcome.BROKEN
        assert up.gone.is_set() or await asyncio.wait_for(up.gone.wait(), LIMIT)


async def test_a_long_whole_answer_is_refused(tmp_path: Path) -> None:
    long = http(b'{"a":"' + b"x" * (exchange.MAX_WHOLE + 1) + b'"}')
    async with upstream(saying(long)) as up, stage(tmp_path, upstream=up.url) as hive:
        status, body = await ask(hive)
        assert status == 502
        assert "bytes" in body["error"]["message"]


async def test_lines_without_an_end_use_no_memory(tmp_path: Path) -> None:
    pieces = chunk(b"data: " + b"x" * 60_000) + chunk(b"x" * 60_000) * 100
    answer = STREAM_HEAD + chunk(BEGIN) + pieces + chunk(b"\n\n" + END) + b"0\r\n\r\n"
    async with upstream(saying(answer)) as up, stage(tmp_path, upstream=up.url) as hive:
        async with hive.session().post("/v1/messages", json=ASK) as got:
            assert (await got.read()).endswith(END)
        assert (await hive.ledger.settlement()).output_tokens == 42


async def test_numbers_of_the_upstream_are_bounded(tmp_path: Path) -> None:
    strange = message() | {"model": "a model\nwith a line"}
    strange["usage"] = {"input_tokens": -5, "output_tokens": 2**70, "cache_creation": []}
    async with (
        upstream(saying(http(json.dumps(strange).encode()))) as up,
        stage(tmp_path, upstream=up.url) as hive,
    ):
        await ask(hive)
        usage = await hive.ledger.settlement()
        assert (usage.input_tokens, usage.output_tokens) == (0, 10_000_000)
        assert usage.model == ""
