"""The operator's own changes of a configuration, and what they are compared with."""

import pytest

from services import agentfile
from services.approvals.git.repositories import Repositories
from services.approvals.tests.room import MANAGER, Room, apply, deployed, spawn
from services.quarantine.tests.worktree import WorkTree
from wire.errors import Conflict, InvalidArgument, LimitExceeded, NotFound
from wire.records.approvals import (
    Allowed,
    ApprovalKind,
    ApprovalState,
    ConfigureOptions,
    DiffBase,
)

FASTER = "# faster\n"


async def configure(
    room: Room, text: str, base: str, path: str = agentfile.NAME, **options: object
) -> Allowed:
    chosen = ConfigureOptions()._replace(**options)  # type: ignore[arg-type]
    outcome = await room.do(room.configurations.configure("alice", path, text, base, chosen))
    assert isinstance(outcome, Allowed)
    return outcome


async def test_a_change_is_requested_approved_and_deployed_in_one_go(room: Room) -> None:
    main = await room.agent()
    assert await room.configurations.get("alice", "agent.toml") == (
        agentfile.TEMPLATE,
        main,
        ["agent.toml"],
    )
    shown = await room.configurations.compare("alice", "agent.toml", 'model = "big"\n')
    assert shown.base == main
    assert shown.diff.startswith('The settings that change:\n  model: not set -> "big"\n')
    assert room.store.find() == [], "a comparison requests nothing"
    done = await configure(room, 'model = "big"\n', main, reason="Think harder", now=True)
    row = room.row(done.request)
    assert (row.kind, row.requested_by, row.reason, row.base) == (
        *(ApprovalKind.APPLY, "operator", "Think harder", main),
    )
    assert room.lifecycle.orders == [("deploy", "alice", row.commit)]
    assert room.lifecycle.now == [True]
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(done.request) is ApprovalState.DEPLOYED
    assert (await room.configurations.get("alice", "agent.toml"))[:2] == (
        'model = "big"\n',
        row.commit,
    )
    await room.check()


async def test_of_two_changes_of_the_same_configuration_the_second_is_refused(room: Room) -> None:
    main = await room.agent()
    first = await configure(room, FASTER, main)
    with pytest.raises(Conflict, match="Request 1 for alice is building"):
        await configure(room, "# slower\n", main)
    room.lifecycle.end("alice")
    await room.rest()
    with pytest.raises(Conflict, match=f"has {room.row(first.request).commit[:12]} deployed now"):
        await configure(room, "# slower\n", main)
    assert [row.id for row in room.store.find()] == [first.request]
    assert len(room.lifecycle.orders) == 1


async def test_a_change_replaces_the_managers_request_but_not_the_operators(room: Room) -> None:
    main = await room.agent()
    theirs = await apply(room)
    assert room.row(theirs).requested_by == MANAGER
    await configure(room, "# mine\n", main)
    assert room.state(theirs) is ApprovalState.SUPERSEDED
    room.lifecycle.end("alice")
    await room.rest()
    commit = await room.propose("alice", "# think first\n")
    mine = await room.do(room.approvals.request_apply("operator", "alice", commit, "later"))
    with pytest.raises(Conflict, match=f"Request {mine} for alice, which you made, is pending"):
        await configure(room, "# mine again\n", room.git.applied["alice"].refs["main"])
    assert room.state(mine) is ApprovalState.PENDING


@pytest.mark.parametrize(
    ("text", "path", "error", "why"),
    [
        ("model = 3\n", "agent.toml", InvalidArgument, "line 1"),
        (agentfile.TEMPLATE, "agent.toml", Conflict, "there is no change"),
        ("#" * 70_000, "notes.md", LimitExceeded, "64 KiB"),
        ("a\0b", "notes.md", InvalidArgument, "NUL"),
        ("x", "../agent.toml", InvalidArgument, "not a valid path"),
        ("x", "a/.GIT/config", InvalidArgument, "not a valid path"),
        ("x", "", InvalidArgument, "not a valid path"),
        ("x", "a\nb", InvalidArgument, "not a valid path"),
    ],
)
async def test_a_change_that_is_not_valid_requests_nothing(
    room: Room, text: str, path: str, error: type[Exception], why: str
) -> None:
    main = await room.agent()
    for call in (
        configure(room, text, main, path),
        room.do(room.configurations.compare("alice", path, text)),
    ):
        with pytest.raises(error, match=why):
            await call
    assert room.store.find() == []


async def test_a_change_of_an_agent_that_does_not_exist_is_refused(room: Room) -> None:
    await spawn(room)
    with pytest.raises(NotFound, match="no agent bob"):
        await room.configurations.get("bob", "agent.toml")
    with pytest.raises(NotFound, match="no agent bob"):
        await room.do(
            room.configurations.configure("bob", "agent.toml", "", "0" * 40, ConfigureOptions())
        )


async def test_a_request_is_compared_with_three_bases(room: Room) -> None:
    await room.agent()
    first = await deployed(room, "# first\n")
    main = room.row(first).commit
    failed = await apply(room, "# failed\n")
    await room.do(room.yes(failed))
    room.lifecycle.end("alice", "failed")
    await room.rest()
    denied = await apply(room, "# denied\n")
    await room.no(denied, "no")
    number = await apply(room, "# third\n")
    compare = room.comparisons.diff_against
    assert await compare(number, DiffBase.DEPLOYED) == ("-# first\n+# third\n", main, main)
    commit = room.row(failed).commit
    assert await compare(number, DiffBase.APPROVED) == ("-# failed\n+# third\n", commit, main)
    commit = room.row(denied).commit
    assert await compare(number, DiffBase.PREVIOUS) == ("-# denied\n+# third\n", commit, main)
    with pytest.raises(NotFound, match="no request for alice that was approved before 1"):
        await compare(first, DiffBase.APPROVED)
    with pytest.raises(NotFound, match="no request for alice before 1"):
        await compare(first, DiffBase.PREVIOUS)


async def test_a_deploy_shows_what_it_changed_even_after_later_ones(room: Room) -> None:
    main = await room.agent()
    first = await deployed(room, "# first\n")
    await deployed(room, "# second\n")
    shown = await room.comparisons.diff_deploy("alice", f"deployed/{first}")
    assert shown == (f"-{agentfile.TEMPLATE}+# first\n", main)
    shown = await room.comparisons.diff_deploy("alice", "deployed/0")
    assert shown == (f"-+{agentfile.TEMPLATE}", "")
    for agent, tag in (("alice", "deployed/99"), ("bob", f"deployed/{first}")):
        with pytest.raises(NotFound):
            await room.comparisons.diff_deploy(agent, tag)


async def test_a_file_in_a_directory_is_replaced_and_all_else_stays(
    ours: Repositories, theirs: WorkTree
) -> None:
    commit = await ours.fetch(
        "alice",
        theirs.commit({"agent.toml": "a = 1\n", "notes/a": "a", "notes/b/c": "c", "run": "#!"}),
    )
    assert await ours.files("alice", commit) == ["agent.toml", "notes/a", "notes/b/c", "run"]
    edited = await ours.commit_file("alice", "C", "Edit", parent=commit, path="notes/b/c")
    assert await ours.files("alice", edited) == await ours.files("alice", commit)
    assert await ours.read("alice", edited, "notes/b/c") == "C"
    assert await ours.read("alice", edited, "notes/a") == "a"
    assert await ours.descends("alice", edited, commit)
    for path in ("notes", "notes/b", "agent.toml/x"):
        with pytest.raises(InvalidArgument, match="of the configuration"):
            await ours.commit_file("alice", "x", "Edit", parent=commit, path=path)
