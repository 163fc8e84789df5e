"""The Messages API, passed on: what goes upstream, what comes back, what the ledger hears."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.gateway.api.priced import OVERHEAD
from services.gateway.credentials import Credential
from services.gateway.settlements import MAX_UNTOLD
from services.gateway.tests.stage import KEY, LIMIT, Stage, stage
from services.gateway.tests.upstream import (
    BEGIN,
    END,
    STREAM_HEAD,
    Sent,
    chunk,
    delta,
    http,
    message,
    saying,
    upstream,
)
from wire.errors import (
    BudgetExhausted,
    HiveError,
    LimitExceeded,
    ProviderLimited,
    Timeout,
    Unavailable,
)
from wire.records.ledger import RequestOutcome

ASK: dict[str, Any] = {
    "model": "claude-test-1",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hi"}],
}
WHOLE = http(json.dumps(message(cache_read_input_tokens=7)).encode(), "request-id: req_1")


async def ask(stage: Stage, path: str = "/v1/messages", **values: Any) -> tuple[int, Any, Any]:
    """Send a request; return the status, the body and the headers of the answer."""
    async with asyncio.timeout(LIMIT):
        async with stage.session().post(path, json=ASK | values) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers


async def test_the_real_key_replaces_every_credential_of_the_client(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        headers = {
            "x-api-key": "placeholder",
            "X-Api-Key": "other",
            "Authorization": "Bearer other",
            "Proxy-Authorization": "Basic other",
            "Cookie": "session=other",
            "X-Forwarded-For": "1.2.3.4",
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "a,b",
            "X-Stainless-OS": "Linux",
            "User-Agent": "claude-cli/2",
            "Connection": "x-app",
            "x-app": "cli",
        }
        async with hive.session().post(
            "/v1/messages?beta=true", json=ASK, headers=headers
        ) as answer:
            assert answer.status == 200
            assert (await answer.json())["content"][0]["text"] == "Hello."
            assert answer.headers["request-id"] == "req_1"
        [sent] = up.sent
        assert sent.first == "POST /v1/messages?beta=true HTTP/1.1"
        assert sent.all("x-api-key") == [KEY]
        assert sent.all("anthropic-beta") == ["a,b"]
        assert sent.all("host") == [f"127.0.0.1:{up.port}"]
        assert sent.all("accept-encoding") == ["identity"]
        assert "other" not in str(sent.headers)
        assert "1.2.3.4" not in str(sent.headers)
        assert json.loads(sent.body) == ASK


async def test_a_token_goes_as_bearer_with_its_beta(tmp_path: Path) -> None:
    token = Credential("agent:alice", "sk-ant-oat01-x")
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, token, upstream=up.url) as hive:
        await ask(hive)
        [sent] = up.sent
        assert sent.all("authorization") == ["Bearer sk-ant-oat01-x"]
        assert sent.all("anthropic-beta") == ["oauth-2025-04-20"]
        assert not sent.all("x-api-key")
        assert hive.ledger.reserved[1].credential == "agent:alice"


async def test_the_ledger_hears_before_and_after(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        status, _, _ = await ask(hive)
        assert status == 200
        wanted = hive.ledger.reserved[1]
        assert (wanted.credential, wanted.model, wanted.output_tokens) == (
            "default",
            "claude-test-1",
            100,
        )
        assert wanted.input_tokens == len(json.dumps(ASK)) + OVERHEAD
        usage = await hive.ledger.settlement()
        assert usage.outcome is RequestOutcome.DONE
        assert (usage.status, usage.model) == (200, "claude-test-1")
        assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (10, 5, 7)
        assert 0 < usage.first_byte <= usage.last_byte
        assert usage.sent == len(json.dumps(ASK))
        assert usage.received == len(WHOLE.partition(b"\r\n\r\n")[2])


async def test_a_stream_passes_piece_by_piece(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        writer.write(STREAM_HEAD + chunk(BEGIN))
        for word in ("one", "two"):
            await go.wait()
            go.clear()
            writer.write(chunk(delta(word)))
        writer.write(chunk(END) + b"0\r\n\r\n")

    async with upstream(act) as up, stage(tmp_path, upstream=up.url) as hive:
        async with hive.session().post("/v1/messages", json=ASK | {"stream": True}) as answer:
            assert answer.content_type == "text/event-stream"
            async with asyncio.timeout(LIMIT):
                assert await answer.content.readexactly(len(BEGIN)) == BEGIN
                for word in ("one", "two"):
                    go.set()
                    assert await answer.content.readexactly(len(delta(word))) == delta(word)
                assert await answer.content.read() == END
        usage = await hive.ledger.settlement()
        assert usage.outcome is RequestOutcome.DONE
        assert (usage.input_tokens, usage.output_tokens) == (10, 42)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/v1/messages"),
        ("POST", "/v1/complete"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/files"),
        ("GET", "/v1/organizations/x"),
        ("DELETE", "/v1/models/x"),
        ("GET", "/v1/models/../files"),
        ("GET", "/v1/models/.."),
        ("GET", "/v1/models/%2e%2e"),
        ("POST", "//v1/messages"),
        ("POST", "/v1//messages"),
        ("POST", "/v1/./messages"),
        ("POST", "/v1/%6dessages"),
        ("POST", "/v1/messages/"),
        ("POST", "/v1/messages;x"),
        ("POST", "/v1/messages?x=%0d%0aX-Evil:%201"),
        ("POST", "/v1/messages#x"),
        ("POST", "http://evil.example/v1/messages"),
        ("POST", "http://evil.example:1/v1/../x"),
        ("OPTIONS", "*"),
        ("CONNECT", "evil.example:443"),
        ("TRACE", "/v1/messages"),
    ],
)
async def test_nothing_else_is_passed_on(tmp_path: Path, method: str, target: str) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        body = json.dumps(ASK).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        answer = await hive.raw(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert answer.split(b" ")[1] in (b"404", b"400"), answer
        assert not up.sent
        assert not hive.ledger.reserved


async def test_head_is_answered_here(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        async with hive.session().head("/") as answer:
            assert answer.status == 200
        assert not up.sent


async def test_models_and_counts_are_passed_on_and_cost_nothing(tmp_path: Path) -> None:
    models = http(b'{"data":[]}')
    async with upstream(saying(models)) as up, stage(tmp_path, upstream=up.url) as hive:
        async with hive.session().get("/v1/models?limit=5") as answer:
            assert await answer.json() == {"data": []}
        assert (await ask(hive, "/v1/messages/count_tokens"))[0] == 200
        assert [sent.first.split(" ")[1] for sent in up.sent] == [
            "/v1/models?limit=5",
            "/v1/messages/count_tokens",
        ]
        for number, model in ((1, ""), (2, "claude-test-1")):
            wanted = hive.ledger.reserved[number]
            assert (wanted.model, wanted.input_tokens, wanted.output_tokens) == (model, 0, 0)
            assert (await hive.ledger.settlement(number)).outcome is RequestOutcome.DONE


@pytest.mark.parametrize(
    ("error", "status", "kind", "header"),
    [
        (BudgetExhausted("alice's budget is used up."), 402, "billing_error", None),
        (ProviderLimited("limited"), 429, "rate_limit_error", "Retry-After"),
        (LimitExceeded("others are under way"), 429, "rate_limit_error", "Retry-After"),
        (Unavailable("gone"), 503, "overloaded_error", "Retry-After"),
    ],
)
async def test_nothing_leaves_without_a_reservation(
    tmp_path: Path, error: Any, status: int, kind: str, header: str | None
) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        hive.ledger.refuse.append(error)
        got, body, headers = await ask(hive)
        assert (got, body["error"]["type"]) == (status, kind)
        assert body["error"]["message"].startswith("Hyperhive: ")
        assert (header is None) == (headers.get("x-should-retry") == "false")
        assert header is None or int(headers[header]) > 0
        assert not up.sent
        assert not hive.ledger.settled


async def test_a_request_waits_for_a_ledger_that_starts_anew(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        hive.ledger.refuse.append(Unavailable("killed"))
        asking = asyncio.create_task(ask(hive))
        await hive.ledger.until_true(lambda: not hive.ledger.refuse)
        hive.ledger.come_back()
        assert (await asking)[0] == 200
        [first] = hive.ledger.asked_in_vain
        assert hive.ledger.reserved[1] == first, "with the same key"
        assert first.key


@pytest.mark.parametrize("error", [Unavailable("killed"), Timeout("busy")])
async def test_a_reservation_whose_answer_was_lost_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: HiveError
) -> None:
    monkeypatch.setattr("services.gateway.api.reservations.AWAY_SECONDS", 0)
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        hive.ledger.refuse.append(error)
        hive.ledger.fail.append(Unavailable("still away"))
        assert (await ask(hive))[0] == 503
        await hive.ledger.until_true(lambda: not hive.ledger.fail)
        assert not hive.ledger.released
        hive.ledger.come_back()
        await hive.ledger.until_true(lambda: hive.ledger.released)
        [lost] = hive.ledger.asked_in_vain
        assert hive.ledger.released == [lost.key]


async def test_a_client_that_leaves_while_the_ledger_is_away_leaves_nothing_reserved(
    tmp_path: Path,
) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        hive.ledger.refuse.append(Unavailable("killed"))
        asking = asyncio.create_task(ask(hive))
        await hive.ledger.until_true(lambda: hive.ledger.asked_in_vain)
        asking.cancel()
        await hive.ledger.until_true(lambda: hive.ledger.released)


async def test_a_long_absence_of_the_ledger_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.api.reservations.AWAY_SECONDS", 0)
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        away: list[HiveError] = [Unavailable("away")]
        hive.ledger.refuse, hive.ledger.fail = away * 1000, away * 1000
        data = json.dumps(ASK).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
        for _ in range(MAX_UNTOLD + 10):
            answer = await hive.raw(head.encode() + b"Connection: close\r\n\r\n" + data)
            assert answer.startswith(b"HTTP/1.1 503 ")
        assert len(hive.ledger.asked_in_vain) == MAX_UNTOLD
        hive.ledger.refuse, hive.ledger.fail = [], []
        hive.ledger.come_back()
        await hive.ledger.until_true(lambda: len(hive.ledger.released) == MAX_UNTOLD)
        assert (await ask(hive))[0] == 200


async def test_inference_in_the_us_costs_more(tmp_path: Path) -> None:
    there = message() | {"usage": {"input_tokens": 1, "output_tokens": 2, "inference_geo": "us"}}
    answer = http(json.dumps(there).encode())
    async with upstream(saying(answer)) as up, stage(tmp_path, upstream=up.url) as hive:
        await ask(hive)
        assert (await hive.ledger.settlement()).surcharge == 10


async def test_without_a_credential_the_operator_is_named(tmp_path: Path) -> None:
    async with stage(tmp_path, None, upstream="https://api.anthropic.com") as hive:
        status, body, _ = await ask(hive)
        assert (status, body["error"]["type"]) == (401, "authentication_error")
        assert "hivectl credentials set" in body["error"]["message"]
        assert not hive.ledger.reserved


async def test_another_service_may_need_none(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, None, upstream=up.url) as hive:
        assert (await ask(hive))[0] == 200
        [sent] = up.sent
        assert not sent.all("x-api-key")
        assert not sent.all("authorization")
        assert hive.ledger.reserved[1].credential == "none"


async def test_the_credential_for_all_goes_to_their_upstream_alone(tmp_path: Path) -> None:
    async with (
        upstream(saying(WHOLE)) as up,
        stage(tmp_path, upstream=up.url, own_upstream=True, auth="bearer") as hive,
    ):
        assert (await ask(hive))[0] == 200
        [sent] = up.sent
        assert KEY not in str(sent)
        assert not sent.all("x-api-key")
        assert not sent.all("authorization")
        # The limits of this upstream concern no other agent.
        assert hive.ledger.reserved[1].credential == "agent:alice"
        hive.settings(upstream="https://api.anthropic.com", own_upstream=True)
        while (await ask(hive))[0] == 200:
            pass  # until the settings are in effect
        assert (await ask(hive))[0] == 401


async def test_an_agents_own_credential_goes_to_its_own_upstream(tmp_path: Path) -> None:
    async with (
        upstream(saying(WHOLE)) as up,
        stage(tmp_path, Credential("agent:alice", KEY), upstream=up.url, own_upstream=True) as hive,
    ):
        assert (await ask(hive))[0] == 200
        assert up.sent[0].all("x-api-key") == [KEY]


async def test_a_scripted_model_needs_none_and_gets_none(tmp_path: Path) -> None:
    async with (
        upstream(saying(WHOLE)) as up,
        stage(tmp_path, upstream=up.url, scripted=True) as hive,
    ):
        assert (await ask(hive))[0] == 200
        assert KEY not in str(up.sent)
        assert hive.ledger.reserved[1].credential == "scripted"


async def test_settings_are_in_effect_at_once(tmp_path: Path) -> None:
    async with (
        upstream(saying(http(json.dumps(message()).encode()))) as first,
        upstream(saying(http(json.dumps(message()).encode()))) as second,
        stage(tmp_path, upstream=first.url) as hive,
    ):
        session = hive.session()
        async with asyncio.timeout(LIMIT):
            hive.settings(upstream=second.url)
            while not second.sent:
                async with session.post("/v1/messages", json=ASK) as answer:
                    assert answer.status == 200
            (tmp_path / "settings/alice.json").write_text("{")
            while answer.status != 503:
                async with session.post("/v1/messages", json=ASK) as answer:
                    pass


async def test_settlements_wait_for_the_ledger(tmp_path: Path) -> None:
    async with upstream(saying(WHOLE)) as up, stage(tmp_path, upstream=up.url) as hive:
        hive.ledger.fail.append(Unavailable("restarting"))
        assert (await ask(hive))[0] == 200
        await hive.ledger.until_true(lambda: hive.ledger.tries == 1)
        assert not hive.ledger.settled
        hive.ledger.come_back()
        assert (await hive.ledger.settlement()).output_tokens == 5


async def test_errors_of_the_api_pass_with_their_limits(tmp_path: Path) -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'
    limited = http(
        body,
        "retry-after: 30",
        "anthropic-ratelimit-requests-remaining: 0",
        "anthropic-ratelimit-tokens-remaining: 17",
        "anthropic-organization-id: secret",
        status="429 Too Many Requests",
    )
    async with upstream(saying(limited)) as up, stage(tmp_path, upstream=up.url) as hive:
        status, got, headers = await ask(hive)
        assert (status, got) == (429, json.loads(body))
        assert headers["retry-after"] == "30"
        assert "anthropic-organization-id" not in headers
        usage = await hive.ledger.settlement()
        assert usage.outcome is RequestOutcome.FAILED
        assert (usage.remaining_requests, usage.remaining_tokens) == (0, 17)
        assert usage.limited_until > 0


async def test_a_gateway_ends_when_nobody_needs_it(tmp_path: Path) -> None:
    async with stage(tmp_path, exit_seconds=0.05) as hive:
        async with asyncio.timeout(LIMIT):
            await hive.gateway.run()
        # The kernel queues what comes now for the next gateway.
        _, writer = await hive.open()
        writer.close()
