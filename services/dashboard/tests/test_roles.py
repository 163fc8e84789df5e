"""The roles: every route belongs to one, and the table is the application's own."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from services.dashboard.http import exports, log_handlers
from services.dashboard.http.places import Owner, Places
from services.dashboard.http.roles import NEEDED, covers, needed
from services.dashboard.tests.conftest import CountedStreams, Page
from services.dashboard.tests.fake_harness import a_turn
from wire.errors import LimitExceeded
from wire.records.dashboard import Role

OWN = {
    *("/api/passkeys", "/api/passkeys/begin", "/api/passkeys/remove"),
    *("/api/push", "/api/push/remove"),
}
"""The routes by which a reviewer keeps passkeys and notifications of its own."""

ANSWERS = {
    "/api/questions/{id}/answer",
    "/api/approvals/{id}/approve",
    "/api/approvals/{id}/deny",
    "/api/changes/{id}/approve",
    "/api/changes/{id}/comment",
    "/api/changes/{id}/deny",
    "/api/changes/{id}/request-changes",
    "/api/agents/{name}/egress",
}
"""The routes by which a reviewer answers and approves."""
OPEN = ("/login", "/refused/", "/terminals/", "/hooks/")
"""The beginnings of the routes that need no session; a webhook needs a signature."""


def routes(page: Page) -> Iterator[tuple[str, str, str]]:
    """Yield method, canonical path and an address of each route of the running application."""
    for route in page.dashboard.application.router.routes():
        resource = route.resource
        assert resource is not None
        info: Any = resource.get_info()
        pattern = info["pattern"].pattern if "pattern" in info else re.escape(info["path"])
        yield route.method, resource.canonical, example(pattern)


def example(pattern: str) -> str:
    """Return an address that fits the pattern of a route."""

    def value(group: re.Match[str]) -> str:
        rule = group[1]
        if rule.startswith(r"\d"):
            return "1"
        return "alice" if rule.startswith("[") else rule.split("|")[0]

    found = re.sub(r"\(\?P<\w+>((?:[^()\\]|\\.)*)\)", value, pattern)
    return re.sub(r"\\(.)", r"\1", found)


async def posts(page: Page) -> list[tuple[str, str]]:
    found = [(path, url) for method, path, url in routes(page) if method == "POST"]
    assert len(found) > 20
    return [(path, url) for path, url in found if not path.startswith(("/login", "/hooks/"))]


@pytest.mark.parametrize("role", [Role.GUEST, Role.REVIEWER])
async def test_a_role_tries_every_action_and_is_refused(page: Page, role: Role) -> None:
    await page.log_in(role)
    allowed = {"/logout"} | (ANSWERS | OWN if role is Role.REVIEWER else set())
    for path, url in await posts(page):
        if path in allowed:
            continue
        status, answer = await page.post(url)
        assert status == 403, f"{path}: {answer}"
        assert f"logged in as a {role}" in answer["error"]
        assert answer["name"] == "org.hyperhive.Error.AccessDenied"
    assert not any(agent.calls or agent.commands for agent in page.hive.agents.values())
    assert not page.hive.broker.log


async def test_a_reviewer_answers_and_approves_and_everybody_reads(page: Page) -> None:
    await page.log_in(Role.REVIEWER)
    for path, url in await posts(page):
        if path in ANSWERS:
            assert (await page.post(url))[0] != 403, path
    for role in Role:
        await page.log_in(role)
        assert (await page.get("/api/session"))[1]["role"] == role
        assert (await page.get("/api/state"))[0] == 200
        assert (await page.get("/api/sessions"))[0] == (200 if role is Role.OPERATOR else 403)


async def test_without_a_login_only_pages_and_logins_answer(page: Page) -> None:
    for method, path, url in routes(page):
        if path.startswith(OPEN) or method == "HEAD":
            continue
        answers = page.get if method == "GET" else page.post
        status, _ = await answers(url)
        if method == "POST" or path.startswith(("/api/", "/metrics")):
            assert status == 401, f"{method} {path}"
        else:
            assert status in (200, 404), f"{method} {path}"


async def test_the_table_names_only_routes_that_exist(page: Page) -> None:
    assert set(NEEDED) <= {(method, path) for method, path, _ in routes(page)}


def test_what_opens_a_connection_is_an_action() -> None:
    assert needed("GET", "/api/new") is Role.GUEST
    assert needed("GET", "/api/new", upgrade=True) is Role.OPERATOR
    assert needed("PUT", "/api/new") is Role.OPERATOR
    assert covers(Role.OPERATOR, Role.GUEST)
    assert not covers(Role.GUEST, Role.REVIEWER)


async def test_logging_in_answers_the_role_and_a_link_is_for_one(page: Page) -> None:
    token = await page.token(Role.GUEST)
    status, answer = await page.post("/login", {"token": token})
    assert (status, answer["role"]) == (200, "guest")
    assert isinstance(answer["session"], str)


def test_head_needs_what_get_needs() -> None:
    for method, path in NEEDED:
        if method == "GET":
            assert needed("HEAD", path) is needed("GET", path)


@pytest.fixture
def few_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountedStreams, "limit", 3)
    monkeypatch.setattr(log_handlers, "MAX_STREAMS", 2)
    monkeypatch.setattr(exports, "MAX_EXPORTS", 1)


async def open_streams(page: Page, pages: AsyncExitStack, path: str, *roles: Role) -> list[int]:
    """Open a stream in a new session for each role; return the statuses."""
    statuses = []
    for role in roles:
        await page.log_in(role)
        stream = page.http.get(f"{page.url}{path}")
        statuses.append((await pages.enter_async_context(stream)).status)
    return statuses


@pytest.mark.usefixtures("few_streams")
async def test_a_guest_with_many_pages_shuts_out_nobody(page: Page) -> None:
    guest, operator = dict[str, str](), dict[str, str]()
    for role, headers in ((Role.GUEST, guest), (Role.OPERATOR, operator)):
        await page.log_in(role)
        headers["Hyperhive-Session"] = page.http.headers.pop("Hyperhive-Session")
    async with AsyncExitStack() as pages:

        async def follow(headers: dict[str, str]) -> int:
            url = f"{page.url}/api/events"
            return (await pages.enter_async_context(page.http.get(url, headers=headers))).status

        assert [await follow(guest) for _ in range(4)] == [200, 200, 200, 413]
        assert await follow(operator) == 200
        await page.streams.until_ended(2)  # the fourth, and the first of the guest
        assert await follow(guest) == 413
        assert page.streams.open == 3


@pytest.mark.usefixtures("few_streams")
@pytest.mark.parametrize(("path", "count"), [("/api/events", 3), ("/api/logs/stream", 2)])
async def test_many_sessions_of_guests_leave_room_for_an_operator(
    page: Page, path: str, count: int
) -> None:
    async with AsyncExitStack() as pages:
        guests = await open_streams(page, pages, path, *[Role.GUEST] * (count + 1))
        assert guests == [200] * count + [413]
        assert await open_streams(page, pages, path, *[Role.OPERATOR] * count) == [200] * count
        assert await open_streams(page, pages, path, Role.REVIEWER, Role.OPERATOR) == [413, 413]


@pytest.mark.usefixtures("few_streams")
async def test_a_guest_who_reads_an_export_slowly_shuts_out_no_operator(page: Page) -> None:
    async with page.harness("alice") as harness, AsyncExitStack() as pages:
        harness.turns = [a_turn(1)]
        for _ in range(5):
            harness.add("text", turn=1, text="t" * 50_000)
        harness.hangs_after = 4
        path = "/api/agents/alice/turns/1/export"
        await page.log_in(Role.GUEST)
        await page.until(lambda tables: "alice" in tables["agents"])
        assert await open_streams(page, pages, path, Role.GUEST, Role.GUEST) == [200, 413]
        assert await open_streams(page, pages, path, Role.OPERATOR) == [200]


async def test_no_user_with_many_sessions_has_more_than_a_share() -> None:
    def owner(session: int, user: str, role: Role = Role.GUEST) -> Owner:
        return Owner(f"session {session} of {user}", user, role)

    places = Places(16, "Full.")
    async with AsyncExitStack() as held:

        async def take(owner: Owner) -> asyncio.Timeout:
            end = await held.enter_async_context(asyncio.timeout(None))
            held.enter_context(places.hold(end, owner))
            return end

        ada = [await take(owner(number // 4, "ada")) for number in range(16)]
        with pytest.raises(LimitExceeded):
            await take(owner(0, "ada"))
        for number in range(8):
            await take(owner(number, "bob"))
        assert [end.when() is None for end in ada] == [False, False, True, True] * 4
        with pytest.raises(LimitExceeded):
            await take(owner(1, "bob"))
        await take(owner(1, "cleo", Role.OPERATOR))
        assert sum(end.when() is None for end in ada) == 7
        # Between the sessions of one user there is a balance, too.
        await take(owner(4, "ada"))
        assert sum(end.when() is None for end in ada) == 6
