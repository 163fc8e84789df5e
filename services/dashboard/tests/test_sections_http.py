"""The paths of costs, connections and logs: what they ask the services, and what they refuse."""

import pytest

from services.dashboard.tests.conftest import Page


@pytest.mark.parametrize(
    "path",
    [
        "/api/costs?days=0",
        "/api/costs?days=x",
        "/api/costs?agent=../x",
        "/api/costs?other=1",
        "/api/costs?days=1&days=2",
        "/api/requests?before=-1",
        "/api/egress?state=unknown",
        "/api/logs?priority=8",
        "/api/logs?unit=a%20b",
        f"/api/logs?text={'x' * 201}",
        "/api/logs/stream?priority=8",
    ],
)
async def test_a_wrong_query_is_named(page: Page, path: str) -> None:
    assert (await page.get(path))[0] == 401
    await page.log_in()
    status, answer = await page.get(path)
    assert status == 400
    assert "parameter" in answer["error"]


async def test_the_ledger_is_asked_for_what_the_page_wants(page: Page) -> None:
    await page.log_in()
    status, answer = await page.get("/api/costs?days=1&agent=alice&credential=default")
    assert (status, answer) == (
        200,
        {"days": [], "models": [], "agents": [], "credentials": [], "days_by_agent": []},
    )
    assert {(wanted.agent, wanted.credential) for wanted in page.hive.ledger.asked} == {
        ("alice", "default")
    }
    assert {wanted.by for wanted in page.hive.ledger.asked} == {
        "day",
        "model",
        "agent",
        "credential",
    }


async def test_lines_of_the_journal_are_shown_as_they_are_marked(page: Page) -> None:
    page.hive.lifecycle.write("a\u202eb", identifier="x\u202e")
    await page.log_in()
    _, answer = await page.get("/api/logs?unit=hive-broker.service&priority=6&text=a")
    [line] = answer["lines"]
    assert line["message"][1]["shown"] == "U+202E"
    assert line["identifier"][1]["shown"] == "U+202E"
    wanted = page.hive.lifecycle.wanted[-1]
    assert (wanted.unit, wanted.priority, wanted.text) == ("hive-broker.service", 6, "a")
