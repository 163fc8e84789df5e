"""Changes on a private bus: an agent hands one back, and the operator decides."""

import asyncio
from pathlib import Path

import pytest

from services.projects.tests.conftest import LIMIT
from services.projects.tests.test_service import client, lifecycle, service
from services.quarantine import runner
from services.quarantine.tests.worktree import WorkTree
from wire import names
from wire.bus import Bus
from wire.clients.changes import ChangesClient
from wire.clients.projects import ProjectsClient
from wire.errors import AccessDenied, InvalidArgument, NotFound
from wire.fixtures import Connect
from wire.interface import Interface, method
from wire.principal import EVERYBODY, Principal, agent
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeDiffOptions,
    ChangeFilter,
    CommentOptions,
    LineComment,
    PublishMode,
    SubmitOptions,
)
from wire.records.projects import AddOptions
from wire.testing import FixedPrincipals
from wire.types import Dict, Str, UInt64

__all__ = ["lifecycle", "service"]


class Broker(Interface, name=names.BROKER):
    """A broker that takes messages."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:  # noqa: N802
        self.sent.put_nowait((to, options["kind"], body))
        return self.sent.qsize()


@pytest.fixture
async def broker(connect: Connect) -> Broker:
    bus, broker = await connect(), Broker()
    bus.export(names.BROKER_PATH, broker)
    await bus.own(names.BROKER)
    return broker


async def changes_of(
    connect: Connect, principals: FixedPrincipals, who: Principal | None = None
) -> ChangesClient:
    bus = await connect()
    if who is not None:
        principals.known[bus.unique_name] = who
    return ChangesClient(bus, timeout=LIMIT)


async def test_a_change_from_its_submission_to_its_merge(
    broker: Broker,
    service: Bus,
    lifecycle: None,
    connect: Connect,
    principals: FixedPrincipals,
    tmp_path: Path,
) -> None:
    await (await client(connect, principals)).add("hers", "", AddOptions())
    copy = WorkTree(tmp_path / "agents/alice/work/hers")
    commit = copy.commit({"page": "one\n"})
    alice = await changes_of(connect, principals, agent("alice"))
    operator = await changes_of(connect, principals)
    number = await alice.submit("hers", commit, "A page", "", SubmitOptions())
    assert runner._confinement is not None, "a git read what alice has written, unconfined"
    [listed] = await operator.list_changes(ChangeFilter())
    assert (listed.id, listed.agent, listed.commit) == (number, "alice", commit)
    shown = await operator.diff(number, ChangeDiffOptions(path="page"))
    assert "+one" in shown.diff

    await operator.request_changes(number, commit, "", [LineComment("page", 1, "Two.")])
    to, kind, body = await asyncio.wait_for(broker.sent.get(), LIMIT)
    assert (to, kind, "page, line 1 (revision 1):\nTwo." in body) == ("alice", "change", True)
    second = copy.commit({"page": "two\n"})
    assert await alice.update(number, second, "Two.") == 2
    await alice.comment(number, "So.", CommentOptions())
    options = ApproveChangeOptions(PublishMode.SQUASH)
    await operator.approve(number, second, "", options)
    to, _, body = await asyncio.wait_for(broker.sent.get(), LIMIT)
    details = await operator.get_change(number)
    assert (details.change.state, details.comments[-1].text) == ("merged", "So.")
    assert f"is in the branch main as {details.change.published[:12]}" in body


async def test_everybody_calls_what_is_theirs(
    service: Bus, lifecycle: None, connect: Connect, principals: FixedPrincipals
) -> None:
    alice = await changes_of(connect, principals, agent("alice"))
    bob = await changes_of(connect, principals, agent("bob"))
    operator = await changes_of(connect, principals)
    for call in (
        alice.approve(1, "", "", ApproveChangeOptions()),
        alice.deny(1, "", ""),
        alice.request_changes(1, "", "x", []),
        operator.submit("hers", "1234567", "t", "", SubmitOptions()),
        operator.update(1, "1234567", ""),
        operator.withdraw(1),
        bob.submit("hers", "1234567", "t", "", SubmitOptions()),
    ):
        with pytest.raises(AccessDenied):
            await call
    assert await bob.list_changes(ChangeFilter()) == []
    with pytest.raises(NotFound, match="There is no change c1"):
        await bob.get_change(1)
    with pytest.raises(InvalidArgument, match="key of the filter of List 'limit'"):
        await bob.list_changes(ChangeFilter(limit=0))


async def test_a_change_outlives_the_service_and_waits_for_the_broker(
    service: Bus, lifecycle: None, connect: Connect, principals: FixedPrincipals, tmp_path: Path
) -> None:
    projects: ProjectsClient = await client(connect, principals)
    await projects.add("hers", "", AddOptions())
    copy = WorkTree(tmp_path / "agents/alice/work/hers")
    alice = await changes_of(connect, principals, agent("alice"))
    operator = await changes_of(connect, principals)
    number = await alice.submit("hers", copy.commit({"a": "b"}), "A page", "", SubmitOptions())
    await operator.comment(number, "Why?", CommentOptions())
    bus, broker = await connect(), Broker()
    bus.export(names.BROKER_PATH, broker)
    await bus.own(names.BROKER)
    to, _, body = await asyncio.wait_for(broker.sent.get(), LIMIT)
    assert (to, "Why?" in body) == ("alice", True)
