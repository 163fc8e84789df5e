"""Budgets and refused hosts over HTTP: live rows, answers, and the hosts of one agent."""

from typing import Any

import pytest

from services.dashboard.state.page_state import MAX_REFUSED
from services.dashboard.tests.conftest import Page
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod, Egress, EgressState

ALICE = Budget(BudgetKind.AGENT, "alice", BudgetPeriod.DAY, limit=5_000_000, spent=1_250_000)


@pytest.fixture
async def inside(page: Page) -> Page:
    await page.log_in()
    await page.until(
        lambda t: all(row["available"] for row in t["services"].values()) and t["agents"]
    )
    return page


async def test_budgets_are_live(inside: Page) -> None:
    ledger = inside.hive.ledger
    ledger.spend(ALICE)
    tables = await inside.until(lambda t: t["budgets"])
    assert tables["budgets"]["agent alice day"] == ALICE._asdict()
    ledger.spend(ALICE._replace(spent=2_000_000))
    await inside.until(lambda t: t["budgets"]["agent alice day"]["spent"] == 2_000_000)
    ledger.spend(ALICE._replace(limit=0))
    await inside.until(lambda t: not t["budgets"])


async def test_budgets_and_hosts_of_before_are_shown(page: Page) -> None:
    ledger = page.hive.ledger
    ledger.budgets = [ALICE, ALICE._replace(period=BudgetPeriod.TOTAL, limit=0)]
    ledger.hosts = [
        Egress("alice", "github.com", 443, EgressState.PENDING, 1, 2, refused=3),
        Egress("alice", "pypi.org", 443, EgressState.NONE, 1, 2, allowed=3),
    ]
    await page.log_in()
    tables = await page.until(lambda t: t["budgets"] and t["egress"])
    assert set(tables["budgets"]) == {"agent alice day"}
    assert set(tables["egress"]) == {"alice github.com 443"}


async def test_refused_hosts_are_live_and_answered(inside: Page) -> None:
    hive = inside.hive
    hive.ledger.refuse("alice", "fd00::1", 8080, reason="to \u202etest")
    tables = await inside.until(lambda t: t["egress"])
    row = tables["egress"]["alice fd00::1 8080"]
    assert (row["rule"], row["refused"]) == ("[fd00::1]:8080", 1)
    assert row["warning"] == "an address of a private network or of this host"
    assert row["reason"] == ["to ", row["reason"][1], "test"]
    hive.ledger.refuse("alice", "fd00::1", 8080)
    await inside.until(lambda t: t["egress"]["alice fd00::1 8080"]["refused"] == 2)
    body: dict[str, Any] = {"host": "fd00::1", "port": 8080}
    path = "/api/agents/alice/egress"
    status, answer = await inside.post(path, {**body, "answer": "always"})
    said = "Request 8 allows it, and is deployed now."
    assert (status, answer) == (200, {"request": 8, "said": said})
    why = "The operator always allows [fd00::1]:8080."
    assert hive.approvals.allowed == [("alice", "[fd00::1]:8080", why)]
    status, answer = await inside.post(path, {**body, "answer": "once"})
    assert (status, answer["said"]) == (200, "The next connection is allowed.")
    await inside.until(lambda t: not t["egress"])
    assert hive.ledger.decided == [("alice", "fd00::1", 8080, "once")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ""},
        {"host": "h" * 254},
        {"port": 0},
        {"port": 65536},
        {"answer": "maybe"},
        {"more": 1},
    ],
)
async def test_a_wrong_answer_decides_nothing(inside: Page, wrong: dict[str, Any]) -> None:
    body = {"host": "github.com", "port": 443, "answer": "once"}
    assert (await inside.post("/api/agents/alice/egress", body | wrong))[0] == 400
    assert (await inside.post("/api/agents/Alice/egress", body))[0] == 404
    assert inside.hive.ledger.decided == []


async def test_the_hosts_of_an_agent_are_a_part_of_its_details(inside: Page) -> None:
    ledger = inside.hive.ledger
    ledger.refuse("bob", "github.com")
    ledger.refuse("alice", "pypi.org", state=EgressState.NONE, allowed=3)
    status, answer = await inside.get("/api/agents/alice/egress")
    assert status == 200
    assert [(row["rule"], row["allowed"]) for row in answer["egress"]] == [("pypi.org:443", 3)]


async def test_an_agent_cannot_fill_the_page_with_hosts(inside: Page) -> None:
    ledger = inside.hive.ledger
    for number in range(MAX_REFUSED + 2):
        ledger.refuse("alice", f"{number}.example")
    ledger.refuse("bob", "github.com")
    tables = await inside.until(lambda t: "bob github.com 443" in t["egress"])
    assert len(tables["egress"]) == MAX_REFUSED + 1
    left = f"alice {MAX_REFUSED}.example 443"
    assert left not in tables["egress"]
    # Where one is decided, another one that waits takes its place.
    ledger.refuse("alice", "3.example", state=EgressState.DENIED)
    tables = await inside.until(lambda t: left in t["egress"])
    assert len(tables["egress"]) == MAX_REFUSED + 1
