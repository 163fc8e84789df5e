"""The metrics, as Prometheus reads them."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.credentials import token
from services.dashboard.state.counts import MAX_MODELS, Counts
from services.dashboard.tests.conftest import Page
from services.errors import ConfigError
from wire import names
from wire.fixtures import Connect
from wire.records.broker import MessageState
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod, Request, RequestOutcome

TOKEN = "a-token-of-the-operator"

Metrics = dict[tuple[str, tuple[str, ...]], float]


async def read(page: Page) -> Metrics:
    """Return the metrics by name and the values of their labels, in the order of the labels."""
    async with page.http.get(f"{page.url}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    return {
        (sample.name.removeprefix("hyperhive_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
async def inside(page: Page) -> Page:
    await page.log_in()
    await page.until(
        lambda t: all(row["available"] for row in t["services"].values()) and t["agents"]
    )
    return page


async def test_events_are_counted(inside: Page) -> None:
    hive = inside.hive
    number = hive.broker.arrive("alice", "bob", "six times seven?")
    hive.broker.move(number, MessageState.LEASED, 1)
    hive.agents["alice"].Crashed("oom-kill", 9)
    hive.lifecycle.JobNew(1, names.job_path(1), "alice", "restart")
    hive.lifecycle.JobRemoved(1, names.job_path(1), "alice", "restart", "failed", "No space.")
    hive.ledger.settle("alice", "opus", input_tokens=7, output_tokens=3, cost=1_500_000)
    hive.ledger.settle("alice", "opus", output_tokens=2, outcome=RequestOutcome.BROKEN)
    hive.ledger.record("alice", 5)
    await inside.until(lambda t: t["costs"] and len(t["notices"]) == 2 and t["messages"])
    found = await read(inside)
    assert found["messages_total", ("bob", "queued")] == 1
    assert found["messages_total", ("bob", "leased")] == 1
    assert found["queue_depth", ("bob", "leased")] == 1
    assert found["queue_depth", ("alice", "queued")] == 0, "an empty inbox is not absent"
    assert found["crashes_total", ("alice", "oom-kill")] == 1
    assert found["jobs_total", ("alice", "failed", "restart")] == 1
    assert found["jobs_running", ()] == 0
    assert found["turns_total", ("alice",)] == 1
    assert found["model_requests_total", ("alice", "opus", "done")] == 1
    assert found["model_requests_total", ("alice", "opus", "broken")] == 1
    assert found["tokens_total", ("alice", "input", "opus")] == 7
    assert found["tokens_total", ("alice", "output", "opus")] == 5
    assert found["cost_dollars_total", ("alice", "opus")] == 1.5


async def test_the_state_of_the_hive_is_shown(inside: Page) -> None:
    hive = inside.hive
    hive.ledger.spend(
        Budget(BudgetKind.AGENT, "alice", BudgetPeriod.DAY, limit=5_000_000, spent=1_250_000)
    )
    hive.ledger.refuse("alice", "github.com")
    hive.broker.ask("alice", "operator", "May I?")
    await inside.until(lambda t: t["budgets"] and t["egress"] and t["questions"])
    found = await read(inside)
    assert found["service_up", ("ledger",)] == 1
    assert found["agent_state", ("alice", "running")] == 1
    assert found["agent_state", ("bob", "stopped")] == 1
    assert found["agent_cpu_seconds_total", ("alice",)] == 1.5
    assert found["agent_memory_bytes", ("alice",)] == 50 * 2**20
    assert ("agent_memory_bytes", ("bob",)) not in found
    assert found["budget_limit_dollars", ("agent", "alice", "day")] == 5
    assert found["budget_spent_dollars", ("agent", "alice", "day")] == 1.25
    assert ("budget_limit_tokens", ("agent", "alice", "day")) not in found
    assert (found["egress_pending", ()], found["questions_open", ()]) == (1, 1)


async def test_the_broker_is_asked_only_when_messages_have_changed(inside: Page) -> None:
    broker = inside.hive.broker
    for _ in range(3):
        await read(inside)
    assert broker.counted == 1
    number = str(broker.arrive("alice", "bob", "hello"))
    await inside.until(lambda t: number in t["messages"])
    assert (await read(inside))["queue_depth", ("bob", "queued")] == 1
    assert broker.counted == 2


async def test_a_service_that_is_away_is_no_error(inside: Page, connect: Connect) -> None:
    await inside.buses["broker"].close()
    await inside.until(lambda t: not t["services"]["broker"]["available"])
    found = await read(inside)
    assert found["service_up", ("broker",)] == 0
    assert [name for name, _ in found if name == "queue_depth"] == []


async def test_strangers_read_nothing(page: Page) -> None:
    """There is no token: only a session reads the metrics."""
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
        status, answer = await page.get("/metrics", **headers)
        assert status == 401
        assert "/etc/hyperhive/credentials/dashboard/metrics" in answer["error"]


@pytest.mark.parametrize("metrics_token", [TOKEN])
async def test_a_token_reads_the_metrics_and_nothing_else(page: Page) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    status, text = await page.get("/metrics", **right)
    assert (status, "hyperhive_service_up" in text) == (200, True)
    assert (await page.get("/metrics?x=1", **right))[0] == 200
    for value in (f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", TOKEN, "Bearer \u00fc"):
        assert (await page.get("/metrics", Authorization=value))[0] == 401
    for path in ("/api/state", "/metrics/", "/metricsx", "/api/events"):
        assert (await page.get(path, **right))[0] in (401, 404)


async def test_only_the_metrics_read_the_header_of_a_proxy(page: Page) -> None:
    """A long one, as of Kerberos, is not in the way of the other pages."""
    proxy = {"Authorization": f"Negotiate {'x' * 8100}"}
    assert (await page.get("/login", **proxy))[0] == 200
    assert (await page.get("/metrics", **proxy))[0] == 431


@pytest.mark.parametrize("content", ["", "two words", "\u00fc", "a\nb"])
def test_a_token_is_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "metrics"
    assert token(file, "/etc/x") is None
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"^/etc/x is not a valid token"):
        token(file, "/etc/x")
    file.write_text(f"{TOKEN}\n")
    assert token(file, "/etc/x") == TOKEN


def test_an_agent_cannot_fill_the_memory_with_names_of_models() -> None:
    counts = Counts()
    for number in range(MAX_MODELS + 100):
        model = f"model-{number}" if number else ""
        counts.add_request(
            Request(1, "alice", "default", model, RequestOutcome.DONE, 0, 1, input_tokens=1)
        )
    models = {model for _, model, _ in counts.tokens}
    assert len(models) == MAX_MODELS + 2
    assert counts.requests["alice", "other", "done"] == 99
    assert counts.requests["alice", "unknown", "done"] == 1
    assert all(re.fullmatch(r"[\w-]+", model) for model in models)


def test_an_agent_does_not_push_out_the_models_of_others_or_its_own() -> None:
    counts = Counts()
    for number in range(100):
        counts.add_request(
            Request(1, "alice", "default", f"no-{number}", RequestOutcome.FAILED, 0, 1)
        )
    for agent in ("alice", "bob"):
        counts.add_request(Request(1, agent, "default", "opus", RequestOutcome.DONE, 0, 1, cost=5))
    assert set(counts.cost) == {("alice", "other"), ("alice", "opus"), ("bob", "opus")}
