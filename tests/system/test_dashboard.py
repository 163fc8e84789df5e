"""The page's server under its real unit: its login, and that it is live."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.system.hive import Hive
from tests.system.inside import call, hivectl, refused, until_asleep, until_state
from tests.system.sleeping import sleepy
from wire import names

__all__ = ["sleepy"]

pytestmark = pytest.mark.system


class Page:
    """A browser's requests to the dashboard, with its session."""

    def __init__(self, link: str) -> None:
        self._link = urlsplit(link)
        self._open: list[http.client.HTTPConnection | http.client.HTTPResponse] = []
        token = parse_qs(self._link.fragment)["token"][0]
        answer = self.request("POST", "/login", {"token": token}, logged_in=False)
        assert answer.status == 200
        self.session: str = json.load(answer)["session"]

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        logged_in: bool = True,
        cookie: str = "",
    ) -> http.client.HTTPResponse:
        """Make a request on a connection of its own; after 30 s of silence it fails."""
        connection = http.client.HTTPConnection(self._link.netloc, timeout=30)
        headers = {"Origin": f"http://{self._link.netloc}", "Content-Type": "application/json"}
        if logged_in:
            headers["Hyperhive-Session"] = self.session
        if cookie:
            headers["Cookie"] = cookie
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        self._open += [answer, connection]
        return answer

    def close(self) -> None:
        """Close all connections, such as event streams."""
        for connection in self._open:
            connection.close()

    def events(self, query: str = "") -> Iterator[dict[str, Any]]:
        """Yield the server's events from now on."""
        stream = self.request("GET", f"/api/events{query}")
        assert stream.status == 200
        while line := stream.readline():
            if line.startswith(b"data:"):
                yield json.loads(line.removeprefix(b"data:"))


@pytest.fixture
def page(swarm: Hive) -> Iterator[Page]:
    page = Page(swarm.hivectl("login-link").stdout.strip())
    yield page
    page.close()


def rows(events: Iterator[dict[str, Any]], table: str) -> Iterator[dict[str, Any]]:
    for event in events:
        if event.get("table") == table:
            yield from event["put"].values()


def test_without_a_login_nothing_is_shown(page: Page) -> None:
    assert page.request("GET", "/api/state", logged_in=False).status == 401
    assert page.request("GET", "/api/state").status == 200


def test_cookies_neither_log_in_nor_lock_out(swarm: Hive, page: Page) -> None:
    name = f"hyperhive-{swarm.ports.dashboard}"
    cookie = f"{name}={page.session}"
    assert page.request("GET", "/api/state", logged_in=False, cookie=cookie).status == 401
    assert page.request("POST", "/logout", logged_in=False, cookie=cookie).status == 401
    bomb = "; ".join(f"c{number}={'x' * 4000}" for number in range(180))
    assert page.request("GET", "/api/state", cookie=bomb).status == 200
    for cookie in ("a=do-not-repeat-this\1", f"a=do-not-repeat-this{'x' * 9000}"):
        assert b"do-not-repeat-this" not in page.request("GET", "/login", cookie=cookie).read()


@pytest.mark.long
def test_cookies_that_do_not_end_take_no_memory(swarm: Hive, page: Page) -> None:
    def memory() -> int:
        pid = swarm.run("systemctl", "show", "-P", "MainPID", "hive-dashboard").stdout.strip()
        status = swarm.run("cat", f"/proc/{pid}/status").stdout
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    assert page.request("GET", "/api/state").status == 200
    before = memory()
    sockets = []
    for _ in range(100):
        sockets.append(socket.create_connection(("127.0.0.1", swarm.ports.dashboard), timeout=30))
        sockets[-1].sendall(b"GET / HTTP/1.1\r\nCookie: a=" + b"x" * 2 * 2**20)
    assert page.request("GET", "/api/state").status == 200
    assert memory() - before < 50 * 2**20
    for one in sockets:
        one.close()


def test_the_page_knows_the_agents_and_the_messages(swarm: Hive, page: Page) -> None:
    events = page.events()
    next(events)
    swarm.hivectl("send", "operator", "before the page")
    assert any(row["body"] == "before the page" for row in rows(events, "messages"))
    tables = json.load(page.request("GET", "/api/state"))["tables"]
    assert set(tables["agents"]) == {"manager", "alice", "bob"}
    assert all(service["available"] for service in tables["services"].values())
    assert "before the page" in [message["body"] for message in tables["messages"].values()]


def test_messages_approvals_and_agents_are_live(swarm: Hive, page: Page) -> None:
    events = page.events()
    next(events)  # `reset`: from here on it is live
    swarm.hivectl("send", "operator", "while the page is open")
    assert any(row["body"] == "while the page is open" for row in rows(events, "messages"))
    approvals = [names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS]
    swarm.run("busctl", "call", *approvals, "RequestSpawn", "ssa{sv}", "erin", "to be seen", "0")
    assert any(row["agent"] == "erin" for row in rows(events, "approvals"))
    request = hivectl(swarm, "pending")[-1]
    path = f"/api/approvals/{request['id']}/deny"
    assert page.request("POST", path, {"commit": "c" * 40, "note": "no"}).status == 409
    body = {"commit": request["commit"], "note": "no"}
    assert page.request("POST", path, body).status == 200
    assert any(row["state"] == "denied" for row in rows(events, "approvals"))
    swarm.hivectl("stop", "alice")
    assert any(row["state"] == "stopped" for row in rows(events, "agents"))
    swarm.hivectl("start", "alice")


def test_what_the_page_sends_is_said_by_the_operator(swarm: Hive, page: Page) -> None:
    answer = page.request("POST", "/api/messages", {"to": "operator", "body": "a note to myself"})
    assert answer.status == 200
    said = hivectl(swarm, "history", "--to", "operator")[-1]
    assert (said["from"], said["body"]) == ("operator", "a note to myself")


def part(page: Page, name: str, part: str) -> Any:
    answer = page.request("GET", f"/api/agents/{name}/{part}")
    assert answer.status == 200, answer.read()
    return json.load(answer)[part]


def test_one_agent_is_shown_with_what_it_uses_and_logs(swarm: Hive, page: Page) -> None:
    assert page.request("GET", "/agents/alice").status == 200
    swarm.hivectl("send", "alice", "hello on your page")
    assert "hello on your page" in [message["body"] for message in part(page, "alice", "messages")]
    # The other figures depend on the host's controllers.
    assert part(page, "alice", "usage")["cpu"] > 0
    assert any("alice" in line for line in part(page, "alice", "logs"))
    first = part(page, "alice", "deploys")[-1]
    assert (first["approval"], first["description"]) == (0, "The initial configuration")
    row = json.load(page.request("GET", "/api/state"))["tables"]["agents"]["alice"]
    assert row["image"] == "/"
    assert row["resources"]["tasks_max"] == 4096
    assert page.request("GET", "/api/agents/nobody/usage").status == 404


def test_a_question_is_answered_on_the_page(swarm: Hive, page: Page) -> None:
    events = page.events()
    next(events)
    asked = call(swarm, "alice", "ask", question="left or right?", options=["left", "right"])
    assert not refused(asked), asked
    question = next(row for row in rows(events, "questions") if row["question"] == "left or right?")
    path = f"/api/questions/{question['id']}/answer"
    assert page.request("POST", path, {"answer": ["up"]}).status == 400
    assert page.request("POST", path, {"answer": ["left"]}).status == 200
    answered = next(row for row in rows(events, "questions") if row["id"] == question["id"])
    assert (answered["state"], answered["answer"]) == ("answered", ["left"])


@pytest.mark.long
def test_opening_the_page_of_a_sleeping_agent_wakes_it(sleepy: Hive, page: Page) -> None:
    events = page.events()
    next(events)
    shown = hivectl(sleepy, "status", "bob")
    if shown["state"] != "sleeping" or shown["job"]:
        # Until the job is over that puts it to sleep.
        next(event for event in events if event.get("table") == "jobs" and event["remove"])
    answer = page.request("POST", "/api/agents/bob/wake", {})
    assert (answer.status, json.load(answer)) == (200, {"woken": True})
    until_state(sleepy, "bob", "running")
    until_asleep(sleepy, "bob")
    sleepy.hivectl("stop", "bob")
    answer = page.request("POST", "/api/agents/bob/wake", {})
    assert (answer.status, json.load(answer)) == (200, {"woken": False})
    assert hivectl(sleepy, "status", "bob")["state"] == "stopped"


def test_a_restart_logs_nobody_out(swarm: Hive, page: Page) -> None:
    swarm.run("systemctl", "restart", "hive-dashboard")
    assert page.request("GET", "/api/state").status == 200


def test_a_turn_is_shown_as_it_happens_and_kept(swarm: Hive, page: Page) -> None:
    """The dashboard reaches the socket of a real harness, from its own sandbox."""
    items = (event for event in page.events("?tail=alice") if "tail" in event)
    assert next(item for item in items if item["tail"] == "begin")["state"]["state"] != "unknown"
    swarm.hivectl("send", "alice", "note seen on the page")
    seen: list[dict[str, Any]] = []
    for item in items:
        if item["tail"] == "event":
            seen.append(item)
            if item["type"] == "turn-end":
                if "to do: seen on the page" in json.dumps(seen):
                    break
                seen.clear()  # a turn about something else
    kinds = [item["type"] for item in seen]
    assert {"wake", "tool-use", "tool-result", "text"} <= set(kinds)
    uses = [item for item in seen if item["type"] == "tool-use"]
    use = next(item for item in uses if "to do: seen on the page" in json.dumps(item["title"]))
    results = {item["call"]: item["error"] for item in seen if item["type"] == "tool-result"}
    assert (use["tool"], results[use["call"]]) == ("Bash", False)
    numbers = [item["seq"] for item in seen]
    assert numbers == sorted(set(numbers))
    turn = seen[-1]["turn"]
    [kept] = [one for one in part(page, "alice", "turns") if one["id"] == turn]
    assert kept["outcome"] == "done"
    answer = page.request("GET", f"/api/agents/alice/turns/{turn}/export")
    head, *lines = answer.read().decode().splitlines(keepends=True)
    assert json.loads(head)["turn"]["id"] == turn
    shown = [json.loads(line)["seq"] for line in lines]
    assert shown == [e["seq"] for e in seen if e["turn"] == turn]
    exported = swarm.run("hivectl", "export-turn", "alice", str(turn)).stdout
    assert exported.splitlines(keepends=True)[1:] == lines


def test_the_cost_of_a_turn_reaches_the_page(swarm: Hive, page: Page) -> None:
    events = page.events()
    next(events)
    before = json.load(page.request("GET", "/api/state"))["tables"]["costs"].get("alice")
    swarm.hivectl("send", "alice", "what does this cost?")
    known = before["cost"] if before else 0
    assert any(row["cost"] > known for row in rows(events, "costs"))
