"""The HTTP interface over fake services: pages see their content, and actions reach them."""

import asyncio
import json
import select
from typing import Any

import aiohttp
import pytest

from services.dashboard.clients.broker_feed import MAX_QUESTIONS
from services.dashboard.state.page_state import MAX_MESSAGES, MAX_RESOLVED
from services.dashboard.tests.conftest import TIME_LIMIT, CountedStreams, Page
from services.dashboard.tests.fakes.lifecycle import FakeJob
from wire import names
from wire.fixtures import Connect
from wire.records.broker import PREVIEW, MessageState


@pytest.fixture
async def inside(page: Page) -> Page:
    await page.log_in()
    await page.until(
        lambda t: all(row["available"] for row in t["services"].values()) and t["agents"]
    )
    return page


async def event(stream: aiohttp.ClientResponse) -> dict[str, str]:
    async with asyncio.timeout(TIME_LIMIT):
        text = (await stream.content.readuntil(b"\n\n")).decode()
    return dict(line.split(": ", 1) for line in text.strip().split("\n"))


async def test_a_cold_load_shows_the_agents(inside: Page) -> None:
    agents = (await inside.tables())["agents"]
    assert {name: row["state"] for name, row in agents.items()} == {
        "manager": "running",
        "alice": "running",
        "bob": "stopped",
    }
    assert agents["alice"]["model"] == "claude-test"


async def test_agents_change_crash_and_go(inside: Page) -> None:
    inside.hive.agents["bob"].become("running")
    await inside.until(lambda t: t["agents"]["bob"]["state"] == "running")
    bob = inside.hive.agents["bob"]
    bob.Crashed("oom-kill", 9)
    tables = await inside.until(lambda t: t["notices"])
    assert texts(tables) == ["bob crashed (oom-kill, status 9). It is running again."]
    bob.Crashed("oom-kill", 9)
    bob.become("failed")
    tables = await inside.until(lambda t: t["notices"]["crash bob"]["level"] == "bad")
    assert texts(tables) == [
        "bob crashed 2 times (last: oom-kill, status 9), and is not started again. "
        "Look at its log, then start it."
    ]
    end_job(inside, "bob", "start", "done")
    await inside.until(lambda t: not t["notices"])
    bob.become("stopped")
    bob.Crashed("success", 0)
    tables = await inside.until(lambda t: t["notices"])
    assert texts(tables) == ["bob was powered off, but not by the hive. It is stopped."]
    inside.buses["lifecycle"].unexport(names.agent_path("bob"))
    await inside.until(lambda t: "bob" not in t["agents"] and not t["notices"])


def texts(tables: dict[str, dict[str, Any]]) -> list[str]:
    """Return the texts of the notices."""
    return [row["text"] for row in tables["notices"].values()]


def end_job(inside: Page, agent: str, verb: str, result: str, note: str = "") -> None:
    """End a job that the dashboard may not have seen."""
    inside.hive.lifecycle.JobRemoved(1, names.job_path(1), agent, verb, result, note)


async def test_a_job_is_cancelled_unless_there_is_no_way_back(inside: Page) -> None:
    job = FakeJob("carol", "spawn", [])
    inside.buses["lifecycle"].export(names.job_path(2), job)
    inside.hive.lifecycle.JobNew(2, names.job_path(2), "carol", "spawn")
    inside.hive.lifecycle.JobNew(3, names.job_path(3), "dave", "purge")
    assert (await inside.post("/api/jobs/2/cancel"))[0] == 200
    tables = await inside.until(lambda t: t["jobs"][names.job_path(2)]["state"] == "cancelling")
    assert [row["may_cancel"] for row in tables["jobs"].values()] == [False, False]
    status, answer = await inside.post("/api/jobs/99/cancel")
    assert (status, answer["error"]) == (404, "Job 99 has ended.")


async def test_jobs_are_shown_and_failures_stay_until_it_works(inside: Page) -> None:
    lifecycle, job = inside.hive.lifecycle, names.job_path(1)
    lifecycle.JobNew(1, job, "carol", "spawn")
    tables = await inside.until(lambda t: t["jobs"])
    new = {"id": 1, "agent": "carol", "verb": "spawn", "state": "waiting", "may_cancel": True}
    assert tables["jobs"] == {job: new}
    end_job(inside, "carol", "spawn", "failed", "No space left.\nfetched\nlost")
    tables = await inside.until(lambda t: not t["jobs"] and t["notices"])
    assert texts(tables) == ["Could not spawn carol: No space left."]
    end_job(inside, "bob", "rebuild", "failed", "No space left")
    end_job(inside, "bob", "rebuild", "failed", "No space left")
    end_job(inside, "bob", "sleep", "done")
    tables = await inside.until(lambda t: len(t["notices"]) == 2)
    assert texts(tables)[1] == "Could not rebuild bob: No space left. It is stopped now."
    inside.hive.agents["bob"].become("running")
    await inside.until(lambda t: texts(t)[1].endswith("It is running now."))
    end_job(inside, "bob", "restart", "done")
    end_job(inside, "carol", "spawn", "done")
    await inside.until(lambda t: not t["notices"])


async def test_messages_arrive_change_state_and_are_bounded(inside: Page) -> None:
    broker = inside.hive.broker
    number = str(broker.arrive("alice", "bob", "six times seven?"))
    tables = await inside.until(lambda t: number in t["messages"])
    assert tables["messages"][number]["body"] == "six times seven?"
    broker.move(int(number), MessageState.LEASED, 2)
    tables = await inside.until(lambda t: t["messages"][number]["state"] == "leased")
    assert tables["messages"][number]["redeliveries"] == 2
    broker.move(int(number), MessageState.DEAD, 5)
    tables = await inside.until(lambda t: t["messages"][number]["state"] == "dead")
    assert tables["messages"][number]["redeliveries"] == 5
    broker.move(int(number), MessageState.ACKNOWLEDGED, 5)
    await inside.until(lambda t: t["messages"][number]["state"] == "acknowledged")
    unread = str(broker.arrive("alice", "operator", "do not forget me"))
    for n in range(MAX_MESSAGES + 100):
        last = broker.arrive("alice", "bob", f"{n}")
    tables = await inside.until(lambda t: str(last) in t["messages"])
    assert len(tables["messages"]) == MAX_MESSAGES + 1
    assert unread in tables["messages"]
    assert number not in tables["messages"]


async def test_a_long_body_is_fetched_when_it_is_wanted(inside: Page) -> None:
    body = "ü" * (PREVIEW + 1)
    number = inside.hive.broker.arrive("alice", "operator", body)
    row = (await inside.until(lambda t: t["messages"]))["messages"][str(number)]
    assert (len(row["body"]), row["length"]) == (PREVIEW, PREVIEW + 1)
    assert await inside.get(f"/api/messages/{number}") == (200, {"body": body})
    assert (await inside.get("/api/messages/999"))[0] == 404


async def test_sending_reading_and_refusals(inside: Page) -> None:
    status, answer = await inside.post("/api/messages", {"to": "alice", "body": "hi"})
    assert status == 200
    tables = await inside.until(lambda t: t["messages"])
    assert tables["messages"][str(answer["id"])]["from"] == "operator"
    assert await inside.post("/api/messages", {"to": "zed", "body": "hi"}) == (
        404,
        {"error": "There is no agent zed.", "name": "org.hyperhive.Error.NotFound"},
    )
    number = inside.hive.broker.arrive("alice", "operator", "done")
    assert (await inside.post(f"/api/messages/{number}/read"))[0] == 200
    await inside.until(lambda t: t["messages"].get(str(number), {}).get("state") == "acknowledged")
    assert inside.hive.broker.read == [number]


async def test_questions_are_shown_answered_and_refused(inside: Page) -> None:
    broker = inside.hive.broker
    number = broker.ask("alice", "operator", "ü" * (PREVIEW + 1), "staging", "production")
    broker.ask("bob", "alice", "six times seven?")
    tables = await inside.until(lambda t: len(t["questions"]) == 2)
    row = tables["questions"][str(number)]
    assert (len(row["question"]), row["length"]) == (PREVIEW, PREVIEW + 1)
    assert row["choices"] == ["staging", "production"]
    answer = await inside.get(f"/api/questions/{number}")
    assert answer == (200, {"question": "ü" * (PREVIEW + 1)})
    assert (await inside.get("/api/questions/999"))[0] == 404
    path = f"/api/questions/{number}/answer"
    assert (await inside.post(path, {"answer": []}))[0] == 400
    status, refused = await inside.post(path, {"answer": ["too late"]})
    assert (status, refused["error"]) == (409, "This question was answered already.")
    assert (await inside.post(path, {"answer": ["staging"]}))[0] == 200
    tables = await inside.until(lambda t: t["questions"][str(number)]["state"] == "answered")
    assert tables["questions"][str(number)]["answer"] == ["staging"]


async def test_always_allow_that_fails_leaves_the_question_open(inside: Page) -> None:
    broker = inside.hive.broker
    call: dict[str, Any] = {"permission": "0a1b", "rule": "Refused"}
    number = broker.ask("alice", "operator", "May I?", "Always allow", "Deny", **call)
    tables = await inside.until(lambda t: str(number) in t["questions"])
    row = tables["questions"][str(number)]
    assert (row["permission"], row["rule"]) == (True, "Refused")
    path = f"/api/questions/{number}/answer"
    status, refused = await inside.post(path, {"answer": ["Always allow"]})
    assert (status, refused["error"]) == (409, "The agent.toml of alice already allows Refused.")
    assert broker.questions[number - 1].state == "open"


async def test_questions_to_the_operator_are_kept_however_old(inside: Page) -> None:
    broker = inside.hive.broker
    mine = broker.ask("alice", "operator", "where?")
    for _ in range(2 * MAX_QUESTIONS):
        last = broker.ask("alice", "bob", "what?")
    tables = await inside.until(lambda t: str(last) in t["questions"])
    assert str(mine) in tables["questions"]
    assert len(tables["questions"]) == MAX_QUESTIONS + 1


async def test_dead_letters_are_kept_requeued_and_dropped(inside: Page) -> None:
    broker = inside.hive.broker
    first, second = (broker.add("alice", "bob", text) for text in ("one", "two"))
    for _ in range(MAX_MESSAGES):
        broker.arrive("alice", "bob", "more")
    await inside.until(lambda t: len(t["messages"]) == MAX_MESSAGES)
    broker.park(first)
    broker.park(second)
    await inside.until(lambda t: {str(first), str(second)} <= t["messages"].keys())
    assert (await inside.post(f"/api/messages/{first}/requeue"))[0] == 200
    assert (await inside.post(f"/api/messages/{second}/drop"))[0] == 200

    def states(tables: dict[str, dict[str, Any]]) -> set[str]:
        return {row["state"] for row in tables["messages"].values()}

    await inside.until(lambda t: "dead" not in states(t))
    assert broker.message(first).state == MessageState.QUEUED
    assert broker.message(second).state == MessageState.DROPPED


@pytest.mark.parametrize(
    "verb", ["start", "stop", "kill", "restart", "rebuild", "update", "pause", "resume"]
)
async def test_the_agents_buttons(inside: Page, verb: str) -> None:
    assert (await inside.post(f"/api/agents/alice/{verb}"))[0] == 200
    assert inside.hive.agents["alice"].calls == [verb]
    assert (await inside.post(f"/api/agents/zed/{verb}"))[0] in (404, 500)
    assert (await inside.post(f"/api/agents/..%2fx/{verb}"))[0] == 404


async def test_an_agent_is_limited_held_no_more_and_destroyed(inside: Page) -> None:
    hive, alice = inside.hive, "/api/agents/alice"
    limits = {"memory_max": "2G", "cpu_quota": "150%", "tasks_max": "max", "io_weight": "default"}
    assert (await inside.post(f"{alice}/limits", limits))[0] == 200
    assert hive.agents["alice"].limits == [
        {"memory_max": 2 * 2**30, "cpu_quota": 150, "tasks_max": "max", "io_weight": "default"}
    ]
    status, answer = await inside.post(f"{alice}/limits", {"memory_max": "much"})
    assert (status, "'much' is not a limit" in answer["error"]) == (400, True)
    assert (await inside.post(f"{alice}/limits", {"memory": "2G"}))[0] == 400
    assert (await inside.post(f"{alice}/budget", {"day": 5_000_000, "week_tokens": 0}))[0] == 200
    assert hive.ledger.set == [("agent", "alice", {"day": 5_000_000, "week_tokens": 0})]
    assert (await inside.post(f"{alice}/budget", {"day": -1}))[0] == 400
    assert (await inside.post(f"{alice}/unhold"))[0] == 200
    assert hive.broker.unheld == ["alice"]
    assert (await inside.post(f"{alice}/destroy", {"name": "bob"}))[0] == 400
    assert hive.lifecycle.destroyed == []
    assert (await inside.post(f"{alice}/destroy", {"name": "alice"}))[0] == 200
    assert (await inside.post(f"{alice}/destroy", {"name": "alice", "purge": True}))[0] == 200
    assert hive.lifecycle.destroyed == [("alice", False), ("alice", True)]


async def test_the_details_of_one_agent(inside: Page) -> None:
    broker = inside.hive.broker
    broker.arrive("alice", "bob", "to bob")
    broker.arrive("manager", "alice", "to alice")
    broker.arrive("manager", "bob", "not alice's")
    broker.ask("alice", "operator", "where?")
    broker.ask("manager", "operator", "not alice's")

    async def part(name: str) -> Any:
        status, answer = await inside.get(f"/api/agents/alice/{name}")
        assert status == 200, answer
        return answer[name]

    assert [row["body"] for row in await part("messages")] == ["to bob", "to alice"]
    assert [row["question"] for row in await part("questions")] == ["where?"]
    assert (await part("usage"))["cpu"] == 1_500_000
    assert await part("logs") == [f"alice line {number}" for number in range(50, 150)]
    [deploy] = await part("deploys")
    assert (deploy["agent"], deploy["approval"]) == ("alice", 7)
    row = (await inside.tables())["agents"]["alice"]
    assert row["network"] == {
        "deny": ["localhost", "10.0.0.0/8"],
        "allow": ["10.0.0.1"],
        "filtered": True,
        "name_servers": [],
        "mode": "host",
        "next_mode": None,
        "until_deploy": False,
        "egress": [],
        "ports": [],
    }
    assert row["resources"] == {"tasks_max": 4096, "memory_max": 2 * 2**30}
    for name in ("usage", "logs"):
        assert await inside.get(f"/api/agents/zed/{name}") == (
            404,
            {"error": "There is no agent zed.", "name": "org.hyperhive.Error.NotFound"},
        )
    assert (await inside.get("/api/agents/alice/secrets"))[0] == 404
    assert (await inside.get("/api/agents/No%20Name/messages"))[0] == 404


async def test_only_a_sleeping_agent_is_woken(inside: Page) -> None:
    agents = inside.hive.agents
    for state in ("stopped", "running", "failed", "starting", "paused"):
        agents["bob"].become(state)
        assert await inside.post("/api/agents/bob/wake") == (200, {"woken": False})
    assert agents["bob"].calls == []
    agents["bob"].become("sleeping")
    assert await inside.post("/api/agents/bob/wake") == (200, {"woken": True})
    assert agents["bob"].calls == ["start"]
    assert (await inside.post("/api/agents/zed/wake"))[0] == 404


async def test_only_valid_agent_names_have_a_page(inside: Page) -> None:
    status, page = await inside.get("/agents/alice")
    assert (status, "agent.js" in page) == (200, True)
    for strange in ("A", "a" * 10, "..%2f..%2fetc", "a b"):
        assert (await inside.get(f"/agents/{strange}"))[0] == 404


async def test_approving_and_denying(inside: Page) -> None:
    approvals = inside.hive.approvals
    for name in ("carol", "dave"):
        approvals.ask(name, "to help")
    shown = (await inside.until(lambda t: len(t["approvals"]) == 2))["approvals"]
    first, second = ({"commit": shown[number]["commit"]} for number in ("1", "2"))
    for path, body in (("1/approve", {}), ("2/deny", {"note": "Not now."})):
        assert (await inside.post(f"/api/approvals/{path}", body))[0] == 400
    for path, body in (("1/approve", second), ("2/deny", first)):
        status, answer = await inside.post(f"/api/approvals/{path}", body)
        assert (status, "about another commit" in answer["error"]) == (409, True)
    assert (await inside.post("/api/approvals/1/approve", first))[0] == 200
    assert (await inside.post("/api/approvals/2/deny", {**second, "note": "Not now."}))[0] == 200
    tables = await inside.until(lambda t: t["approvals"]["2"]["state"] == "denied")
    assert tables["approvals"]["1"]["state"] == "approved"
    assert tables["approvals"]["2"]["note"] == "Not now."
    status, answer = await inside.post("/api/approvals/9/approve", first)
    assert (status, answer["error"]) == (404, "There is no request 9.")


async def test_a_change_is_shown_and_approved_at_once(inside: Page) -> None:
    approvals = inside.hive.approvals
    number = approvals.ask("alice", "more memory", "apply")
    tables = await inside.until(lambda t: t["approvals"])
    commit = tables["approvals"]["1"]["commit"]
    assert commit == f"{number:040x}"
    status, change = await inside.get("/api/approvals/1/diff")
    base = "b" * 40
    assert (status, change) == (200, {"diff": ["+a new line"], "base": base, "deployed": base})
    assert (await inside.get("/api/approvals/9/diff"))[0] == 404
    for wrong in ({"now": "yes"}, {"base": 7}, {"base": "b" * 41}):
        status, _ = await inside.post("/api/approvals/1/approve", {"commit": commit, **wrong})
        assert status == 400
    assert approvals.calls == []
    approvals.base = "c" * 40
    body = {"commit": commit, "base": change["base"], "now": True}
    status, answer = await inside.post("/api/approvals/1/approve", body)
    assert (status, answer["error"]) == (409, f"The change was shown against {'b' * 40}.")
    body["base"] = (await inside.get("/api/approvals/1/diff"))[1]["base"]
    assert (await inside.post("/api/approvals/1/approve", body))[0] == 200
    assert approvals.calls == [("approve now", 1), ("approve now", 1)]


async def test_a_request_in_progress_stays_however_many_are_resolved(inside: Page) -> None:
    approvals = inside.hive.approvals
    approvals.settle(approvals.ask("alice", "more memory", "apply"), "building", "")
    for _ in range(2 * MAX_RESOLVED):
        last = approvals.ask("bob", "more", "apply")
        approvals.settle(last, "denied", "")
    tables = await inside.until(lambda t: str(last) in t["approvals"])
    assert len(tables["approvals"]) == MAX_RESOLVED + 1
    assert tables["approvals"]["1"]["state"] == "building"


async def test_a_stopped_service_is_unavailable_and_is_asked_again_when_it_is_back(
    inside: Page, connect: Connect
) -> None:
    await inside.buses["broker"].close()
    tables = await inside.until(lambda t: not t["services"]["broker"]["available"])
    assert "systemctl status hive-broker" in tables["services"]["broker"]["reason"]
    status, answer = await inside.post("/api/messages", {"to": "alice", "body": "hi"})
    assert (status, answer["name"]) == (503, "org.hyperhive.Error.Unavailable")
    assert answer["error"].startswith("The broker does not answer")
    assert (await inside.post("/api/services/broker/refresh"))[0] == 503
    assert (await inside.get("/api/state"))[0] == 200
    inside.hive.broker.add("alice", "operator", "sent while you could not see it")
    await inside.hive.restart_broker(await connect())
    tables = await inside.until(lambda t: t["services"]["broker"]["available"])
    assert [row["body"] for row in tables["messages"].values()] == [
        "sent while you could not see it"
    ]


async def test_a_stream_continues_where_it_stopped_or_says_reset(inside: Page) -> None:
    url = f"{inside.url}/api/events"
    async with inside.http.get(url) as stream:
        first = await event(stream)
        assert first["event"] == "reset"
        assert stream.headers["X-Accel-Buffering"] == "no"
        inside.hive.agents["bob"].become("starting")
        while json.loads((second := await event(stream))["data"])["table"] != "agents":
            pass  # the samples and queues come by themselves
    inside.hive.agents["bob"].become("running")
    await inside.until(lambda t: t["agents"]["bob"]["state"] == "running")
    async with inside.http.get(url, headers={"Last-Event-ID": second["id"]}) as stream:
        last = json.loads(second["data"])["seq"]
        while True:  # other tables may change meanwhile
            change: dict[str, Any] = json.loads((await event(stream))["data"])
            assert change["seq"] == (last := last + 1)
            if change["table"] == "agents":
                break
    assert change["put"]["bob"]["state"] == "running"
    for strange in ("another-life-3", first["id"].rpartition("-")[0] + "-99999"):
        async with inside.http.get(url, headers={"Last-Event-ID": strange}) as stream:
            assert (await event(stream))["event"] == "reset"


@pytest.fixture
def two_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountedStreams, "limit", 2)


@pytest.fixture
def impatient_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountedStreams, "write_seconds", 0.2)


@pytest.mark.usefixtures("two_streams")
async def test_open_pages_are_bounded_and_closed_ones_forgotten(page: Page) -> None:
    await page.log_in()
    url = f"{page.url}/api/events"
    async with page.http.get(url) as one, page.http.get(url) as two:
        await event(one)
        await event(two)
        status, answer = await page.get("/api/events")
        assert (status, answer["name"]) == (413, "org.hyperhive.Error.LimitExceeded")
    # The refused stream has ended; the others end with their pages, not at the next event.
    await page.streams.until_ended(3)
    async with page.http.get(url) as again:
        assert (await event(again))["event"] == "reset"


async def test_stopping_ends_the_streams_at_once(inside: Page) -> None:
    """`drain` ends the streams, long before `close` would abort them."""
    async with inside.http.get(f"{inside.url}/api/events") as stream:
        await event(stream)
        async with asyncio.timeout(TIME_LIMIT):
            inside.dashboard.drain()
            await inside.dashboard.close()
            await stream.content.read()  # events of before, then the end


@pytest.mark.usefixtures("impatient_streams")
async def test_a_page_that_does_not_read_is_disconnected(page: Page) -> None:
    await page.log_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(page.url.split(":")[2]))
    session = page.http.headers["Hyperhive-Session"]
    request = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nHyperhive-Session: {session}"
    writer.write(f"{request}\r\n\r\n".encode())
    async with asyncio.timeout(TIME_LIMIT):
        await reader.readuntil(b"event: reset")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(30):  # more than the log keeps and the sockets buffer
            page.dashboard.log.append({"x": "x" * 1_000_000})
            await asyncio.sleep(0)
    await page.streams.until_ended(1)
    # The connection has ended though the page has not read the rest: the kernel keeps nothing.
    end = select.poll()
    end.register(writer.get_extra_info("socket").fileno(), 0)
    assert await asyncio.to_thread(end.poll, 1000 * TIME_LIMIT)
    assert (await page.get("/api/session"))[0] == 200
    writer.close()
