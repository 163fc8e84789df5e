"""The whole room on a private bus: its callers, its signals, its policy, its README."""

import asyncio
import re
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from services.config import Config
from services.projects.__main__ import build
from services.projects.changes.model import TRANSITIONS as CHANGE_TRANSITIONS
from services.projects.interface import Changes1, Projects1
from services.projects.model import TRANSITIONS, Row
from services.projects.store import Store
from services.projects.tests.conftest import LIMIT
from services.quarantine.tests.worktree import WorkTree
from wire import names
from wire.bus import Bus
from wire.clients.projects import ProjectsClient
from wire.errors import AccessDenied, Conflict, InvalidArgument, NotFound
from wire.fake_agent import FakeAgent, properties
from wire.fixtures import Connect
from wire.principal import DASHBOARD, THE_MANAGER, Kind, Principal, agent
from wire.records.changes import PublishMode
from wire.records.lifecycle import ProjectAccess
from wire.records.projects import AddOptions, HookHeaders, ProjectState, SetOptions
from wire.testing import FixedPrincipals

ROOM = Path(__file__).parents[1]
README = (ROOM / "README.md").read_text()
FETCH = Principal(Kind.SERVICE, "fetch")


@pytest.fixture
async def lifecycle(connect: Connect) -> None:
    """Lifecycle with an agent that has the project `hers`."""
    bus = await connect()
    bus.export_object_manager(names.LIFECYCLE_PATH)
    hers = ProjectAccess("hers", readonly=False, branches=[])
    bus.export(names.agent_path("alice"), FakeAgent(properties("alice", projects=(hers,))))
    await bus.own(names.LIFECYCLE)


@pytest.fixture
async def service(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bus]:
    state = tmp_path / "projects"
    state.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    bus = await connect()
    running = await build(bus, Config())
    await bus.own(names.PROJECTS)
    await running.start()
    yield bus
    await running.close()


async def client(
    connect: Connect, principals: FixedPrincipals, who: Principal | None = None
) -> ProjectsClient:
    bus = await connect()
    if who is not None:
        principals.known[bus.unique_name] = who
    return ProjectsClient(bus)


async def test_a_project_from_its_addition_to_its_end(
    service: Bus, lifecycle: None, connect: Connect, upstream: WorkTree
) -> None:
    bus = await connect()
    projects = ProjectsClient(bus)
    told: list[tuple[str, list[object]]] = []
    gone = asyncio.Event()
    async with bus.subscribe(sender=names.PROJECTS, interface=names.PROJECTS) as signals:
        await projects.add("website", str(upstream.path), AddOptions())

        async def listen() -> None:
            async for signal in signals:
                told.append((signal.member, signal.args))
                if signal.args[:2] == ["website", "ready"] and not gone.is_set():
                    gone.set()
                if signal.member == "ProjectRemoved":
                    return

        async with asyncio.timeout(LIMIT):
            listening = asyncio.create_task(listen())
            await gone.wait()
            [found] = await projects.list_projects()
            shown = await projects.show("website")
            await projects.remove("website")
            await listening
    assert (found.state, found.branch) == (ProjectState.READY, "main")
    assert shown.project == found
    assert [branch.name for branch in shown.branches] == ["main"]
    assert "FetchProgress" in {member for member, _ in told}
    assert told[-2:] == [
        ("ProjectChanged", ["website", "removing"]),
        ("ProjectRemoved", ["website"]),
    ]


async def test_a_project_that_an_agent_has_is_not_removed(
    service: Bus, lifecycle: None, connect: Connect
) -> None:
    projects = ProjectsClient(await connect())
    await projects.add("hers", "", AddOptions())
    with pytest.raises(Conflict, match=r"hers is in the agent\.toml of alice, whose container"):
        await projects.remove("hers")
    assert [one.state for one in await projects.list_projects()] == [ProjectState.READY]


async def test_a_wrong_option_is_named(service: Bus, connect: Connect) -> None:
    projects = ProjectsClient(await connect())
    with pytest.raises(InvalidArgument, match="The option of Add 'depth' is not valid"):
        await projects.add("w", "", AddOptions(depth=0))
    with pytest.raises(NotFound, match="There is no project 'w'"):
        await projects.set("w", SetOptions(branch="main"))


@pytest.mark.parametrize("who", [agent("alice"), THE_MANAGER, FETCH, DASHBOARD])
async def test_the_operator_calls_and_the_timer_fetches(
    service: Bus, connect: Connect, principals: FixedPrincipals, who: Principal
) -> None:
    projects = await client(connect, principals, who)
    if who is DASHBOARD:
        assert await projects.list_projects() == []
        with pytest.raises(AccessDenied, match="has another secret"):
            await projects.receive_hook("w", HookHeaders(x_gitlab_token="guess"), b"\xff")
        return
    for call in (
        projects.list_projects(),
        projects.add("w", "", AddOptions()),
        projects.set("w", SetOptions(branch="x")),
        projects.remove("w"),
        projects.fetch("w"),
        projects.cancel_fetch("w"),
        projects.show("w"),
        projects.receive_hook("w", HookHeaders(), b""),
    ):
        with pytest.raises(AccessDenied):
            await call
    if who is FETCH:
        await projects.fetch_all()
    else:
        with pytest.raises(AccessDenied):
            await projects.fetch_all()


async def test_a_webhook_comes_through_the_dashboard_alone(service: Bus, connect: Connect) -> None:
    projects = ProjectsClient(await connect())
    with pytest.raises(AccessDenied, match="the service dashboard"):
        await projects.receive_hook("w", HookHeaders(), b"")


def test_the_policy_lets_services_call_what_they_need() -> None:
    policy = ET.parse(ROOM / "org.hyperhive.Projects1.conf").getroot()
    members = {
        p.get("user") or p.get("group"): [rule.get("send_member") for rule in p]
        for p in policy
        if p.get("user") or p.get("group")
    }
    assert members["hive-fetch"] == ["FetchAll"]
    interfaces = (*Projects1.methods, *Changes1.methods)
    unneeded = {"Add", "Set", "Remove", "FetchAll", "Submit", "Update", "Withdraw", "Bundle"}
    assert set(members["hive-dashboard"]) == {*interfaces, None, "Ping"} - unneeded
    decisions = {"Approve", "Deny", "RequestChanges", "Bundle"}
    assert set(members["hive-agents"]) == set(Changes1.methods) - decisions
    users = {"hive-projects", "root", "hive", "hive-agents", "hive-fetch", "hive-dashboard"}
    assert set(members) == users


def test_the_readme_has_each_method_and_the_table_of_states() -> None:
    assert all(f"`{name}`" in README for name in (*Projects1.methods, *Changes1.methods))
    tables = (TRANSITIONS, CHANGE_TRANSITIONS)
    drawn = re.findall(r"^([\w-]+) -> ([\w-]+) ", README, re.MULTILINE)
    assert sorted(drawn) == sorted(
        (str(old), str(new)) for table in tables for old, to in table.items() for new in to
    )


def test_a_state_that_may_not_follow_is_a_fault_of_ours(tmp_path: Path) -> None:
    store = Store(tmp_path / "projects.sqlite")
    row = Row("w", "/x", "", ProjectState.FETCHING, "", 0, 1, 0, "", 0, "", False, ("note",))
    store.add(row)
    assert store.get("w") == row
    store.put(row._replace(state=ProjectState.REMOVING))
    with pytest.raises(ValueError, match="ready does not follow removing"):
        store.put(row._replace(state=ProjectState.READY))
    store.close()


VERSION_1 = """
CREATE TABLE project (
    name TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    branch TEXT NOT NULL,
    state TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    fetched INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    credential TEXT NOT NULL,
    depth INTEGER NOT NULL,
    filter TEXT NOT NULL,
    private INTEGER NOT NULL,
    notes TEXT NOT NULL DEFAULT '[]'
) STRICT;
INSERT INTO project VALUES
    ('w', '/x', 'main', 'ready', '', 2, 1, 3, 'key', 4, '', 1, '["note"]');
PRAGMA user_version = 1;
"""
"""A store of the first version, as it was released; never change it."""


def test_a_store_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "projects.sqlite")) as db:
        db.executescript(VERSION_1)
    store = Store(tmp_path / "projects.sqlite")
    [row] = store.all()
    assert (row.name, row.credential, row.depth, row.notes) == ("w", "key", 4, ("note",))
    assert row.how is PublishMode.MERGE
    store.close()
