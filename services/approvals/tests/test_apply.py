"""Requests for another configuration."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from services import agentfile
from services.approvals.approvals import MAX_LISTED_TEXT, NEVER_DEPLOYED
from services.approvals.deploys.deployer import MAX_NOTE
from services.approvals.ledger import HOUR
from services.approvals.tests.room import MANAGER, OPERATOR, Room, apply, deployed, spawn
from wire.errors import (
    AccessDenied,
    Conflict,
    HiveError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from wire.records.approvals import ApprovalFilter, ApprovalKind, ApprovalState


async def test_a_yes_deploys_a_commit(room: Room) -> None:
    before = await room.agent()
    number = await apply(room)
    row = room.row(number)
    assert (row.kind, row.state) == (ApprovalKind.APPLY, ApprovalState.PENDING)
    assert room.tags() == {"deployed/0", "proposal/1"}
    assert (await room.comparisons.diff(number)).diff == f"-{agentfile.TEMPLATE}+# faster\n"
    await room.do(room.yes(number))
    assert room.lifecycle.orders == [("deploy", "alice", row.commit)]
    assert room.lifecycle.now == [False]
    assert room.git.applied["alice"].refs["main"] == before
    assert room.meta.pins["alice"].commit == before
    room.lifecycle.end("alice")
    await room.rest()
    assert room.tags() == {
        "deployed/0", "proposal/1", "approved/1", "building/1", "deployed/1"
    }  # fmt: skip
    assert room.broker.told["approval-1"] == (
        f"The request 1 to deploy {row.commit[:12]} to alice was approved, and {row.commit[:12]} "
        "is deployed."
    )
    assert (await room.comparisons.diff(number)).diff == f"-{agentfile.TEMPLATE}+# faster\n"
    (deploy, initial) = await room.approvals.deploy_log("alice", 10)
    assert (deploy.approval, deploy.commit, deploy.requested_by) == (number, row.commit, MANAGER)
    assert (initial.approval, initial.commit, initial.requested_by) == (0, before, OPERATOR)
    await room.check()


async def test_a_yes_may_be_for_now(room: Room) -> None:
    await room.agent()
    await room.do(room.yes(await apply(room), now=True))
    assert room.lifecycle.now == [True]


async def test_a_signalled_deploy_is_in_the_repository(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    seen: list[str] = []
    room.ledger.on_change = lambda approval: seen.append(
        f"{approval.state} {room.meta.pins['alice'].approval}"
    )
    await room.do(room.yes(number))
    room.lifecycle.end("alice")
    await room.rest()
    assert seen == ["approved 0", "building 0", "deployed 1"]


async def test_of_a_long_log_the_beginning_and_the_end_are_kept(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    await room.do(room.yes(number))
    room.lifecycle.end("alice", "failed", "It does not build.\n" + "x" * 100_000 + "\nthe reason")
    await room.rest()
    note = room.row(number).note
    assert len(note) == MAX_NOTE
    assert note.startswith("It does not build.\n...x")
    assert note.endswith("x\nthe reason")


async def test_an_answer_has_bounds(room: Room) -> None:
    for number in range(300):
        agent = f"a{number}"
        room.store.add(ApprovalKind.SPAWN, agent, "c" * 40, "x" * 16_000, OPERATOR, 1)
    found = room.approvals.find(ApprovalFilter())
    assert [a.id for a in found] == list(range(301 - len(found), 301))
    assert sum(len(a.reason) for a in found) <= MAX_LISTED_TEXT < 300 * 16_000


async def test_a_failed_deploy_leaves_the_agent_as_it_was(room: Room) -> None:
    before = await room.agent()
    number = await apply(room)
    await room.do(room.yes(number))
    log = "It does not build.\n" + "\n".join(f"line {n}" for n in range(50))
    room.lifecycle.end("alice", "failed", log)
    await room.rest()
    assert room.row(number).note == log
    assert room.git.applied["alice"].notes["failed/1"] == log
    assert room.git.applied["alice"].refs["main"] == before
    assert "alice is unchanged: It does not build." in room.broker.told["approval-1"]
    await room.check()
    assert await deployed(room) == 2  # nothing is in its way


async def test_a_cancelled_job_has_failed(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    await room.do(room.yes(number))
    room.lifecycle.end("alice", "cancelled", "The job was cancelled; alice is unchanged.")
    await room.rest()
    assert room.state(number) is ApprovalState.FAILED
    await room.check()


@pytest.mark.parametrize("commit", ["main", "HEAD~1", "", "123456", "z" * 40, "--upload-pack=x"])
async def test_an_invalid_commit_is_refused(room: Room, commit: str) -> None:
    await room.agent()
    with pytest.raises(InvalidArgument, match="not a valid commit"):
        await room.do(room.approvals.request_apply(MANAGER, "alice", commit, "x"))
    assert room.store.find() == []


async def test_a_refused_commit_leaves_no_request(room: Room) -> None:
    main = await room.agent()
    stranger = room.git.propose("alice", "# other\n", None)
    broken = room.git.propose("alice", "packages = 7\n", main)
    refused: list[tuple[str, str, type[HiveError], str]] = [
        ("alice", "f" * 40, NotFound, "no commit"),
        ("carol", "f" * 40, NotFound, "no agent carol"),
        ("alice", main, Conflict, "is already deployed to alice"),
        ("alice", stranger, Conflict, "is not based on"),
        ("alice", broken, InvalidArgument, r"agent\.toml, line 1: packages"),
    ]
    for agent, commit, error, words in refused:
        with pytest.raises(error, match=words):
            await room.do(room.approvals.request_apply(MANAGER, agent, commit, "x"))
    assert room.store.find() == []
    number = await room.do(
        room.approvals.request_apply(MANAGER, "alice", stranger, "x", revert=True)
    )
    assert room.row(number).kind is ApprovalKind.REVERT
    assert room.row(number).reason == f"{NEVER_DEPLOYED} x"


async def test_a_revert_to_an_earlier_deploy_has_no_remark(room: Room) -> None:
    main = await room.agent()
    await deployed(room)
    number = await room.do(
        room.approvals.request_apply(MANAGER, "alice", main, "It was better", revert=True)
    )
    assert room.row(number).reason == "It was better"


async def test_refused_requests_count_towards_the_hourly_limit(room: Room) -> None:
    """The commit of a refused request may be on the disk, up to 20 MiB of it, and stays there."""
    main = await room.agent()

    async def ask(who: str, text: str) -> int:
        commit = room.git.propose("alice", text, main)
        number: int = await room.do(room.approvals.request_apply(who, "alice", commit, "x"))
        return number

    assert await ask(MANAGER, "# 0\n") == 1
    for number in range(19):
        with pytest.raises(InvalidArgument):
            await ask(MANAGER, f"packages = {number}\n")
    with pytest.raises(LimitExceeded, match="20 requests were made within an hour"):
        await ask(MANAGER, "# 1\n")
    assert await ask(OPERATOR, "# 1\n") == 2
    later = room.ledger.clock() + HOUR
    room.ledger.clock = lambda: later
    await room.do(room.approvals.withdraw(OPERATOR, 2))
    assert await ask(MANAGER, "# 1\n") == 3


async def test_the_manager_takes_nothing_of_the_operators_away(room: Room) -> None:
    main = await room.agent()
    await deployed(room)
    number = await room.do(room.approvals.revert(OPERATOR, "alice", "deployed/0"))
    with pytest.raises(Conflict, match="Request 2 for alice, made by the operator"):
        await apply(room, "# 2\n")
    with pytest.raises(Conflict, match="Request 2 for alice, made by the operator"):
        await room.do(room.approvals.revert(MANAGER, "alice", "deployed/0"))
    assert room.state(number) is ApprovalState.PENDING
    assert room.row(number).commit == main


async def test_an_agent_that_is_being_made_has_nothing_to_change(room: Room) -> None:
    await room.rest()
    room.lifecycle.agents["alice"] = ""
    room.lifecycle.begin("spawn", "alice")
    with pytest.raises(Conflict, match="being spawned"):
        await room.do(room.approvals.request_apply(MANAGER, "alice", "f" * 40, "x"))


async def test_a_yes_that_waits_for_a_turn_may_be_hurried(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    job = await room.do(room.yes(number))
    with pytest.raises(Conflict, match="already building"):
        await room.do(room.yes(number))
    assert await room.do(room.yes(number, now=True)) == job
    assert room.lifecycle.hurried == [job]
    # Ordered anew, by another life of lifecycle, it does not wait either.
    room.lifecycle.jobs.clear()
    room.controller.lifecycle_vanished()
    await room.rest()
    assert room.lifecycle.now == [False, True]


async def test_a_full_disk_refuses_the_hurry_and_the_request_stands(
    room: Room, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    await room.agent()
    number = await apply(room)
    job = await room.do(room.yes(number))
    with full_disk(), pytest.raises(Unavailable, match="nothing was changed"):
        await room.do(room.yes(number, now=True))
    assert room.lifecycle.hurried == []
    assert not room.row(number).now
    assert await room.do(room.yes(number, now=True)) == job


async def test_an_agent_that_appeared_just_now_is_adopted_at_once(room: Room) -> None:
    await room.rest()
    room.lifecycle.agents["alice"] = ""
    with pytest.raises(NotFound, match="no commit"):
        await room.do(room.approvals.request_apply(MANAGER, "alice", "f" * 40, "x"))
    assert room.tags() == {"deployed/0"}


async def test_a_newer_request_takes_the_place_of_an_older_one(room: Room) -> None:
    await room.agent()
    first = await apply(room, "# 1\n")
    second = await apply(room, "# 2\n")
    assert room.row(first).note == "Request 2 replaced it."
    assert [room.state(n) for n in (first, second)] == [
        ApprovalState.SUPERSEDED,
        ApprovalState.PENDING,
    ]
    assert "superseded/1" in room.tags()
    assert room.broker.told == {}  # who asked anew knows it
    with pytest.raises(Conflict, match="already superseded"):
        await room.do(room.yes(first))
    await room.check()


async def test_the_manager_is_notified_when_the_operator_replaces_its_request(room: Room) -> None:
    main = await room.agent()
    await apply(room, "# 1\n")
    commit = room.git.propose("alice", "# 2\n", main)
    await room.do(room.approvals.request_apply(OPERATOR, "alice", commit, "rather this"))
    assert "was superseded: Request 2 replaced it." in room.broker.told["approval-1"]


async def test_a_deploy_ends_what_was_not_made_on_top_of_it(room: Room) -> None:
    main = await room.agent()
    first = await apply(room, "# 1\n")
    await room.do(room.yes(first))
    second = await apply(room, "# 2\n", base=main)
    with pytest.raises(Conflict, match="Request 1 for alice is building"):
        await room.do(room.yes(second))
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(second) is ApprovalState.SUPERSEDED
    assert "is not based on it" in room.broker.told["approval-2"]
    await room.check()


async def test_a_request_based_on_a_deploy_stays_pending(room: Room) -> None:
    await room.agent()
    first = await apply(room, "# 1\n")
    await room.do(room.yes(first))
    second = await apply(room, "# 2\n", base=room.row(first).commit)
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(second) is ApprovalState.PENDING
    await room.do(room.yes(second))
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(second) is ApprovalState.DEPLOYED
    await room.check()


async def test_a_yes_to_what_no_longer_fits_supersedes_it(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    repository = room.git.applied["alice"]
    repository.refs["main"] = await room.git.commit_file("alice", "# x\n", "x", parent=None)
    with pytest.raises(Conflict, match="was superseded"):
        await room.do(room.yes(number))
    assert room.state(number) is ApprovalState.SUPERSEDED
    assert room.lifecycle.orders == []


async def test_a_revert_goes_back(room: Room) -> None:
    main = await room.agent()
    await deployed(room)
    number = await room.do(room.approvals.revert(OPERATOR, "alice", "deployed/0"))
    row = room.row(number)
    assert (row.kind, row.commit, row.reason) == (ApprovalKind.REVERT, main, "Back to deployed/0")
    await room.do(room.yes(number))
    room.lifecycle.end("alice")
    await room.rest()
    assert room.lifecycle.agents["alice"] == main
    assert f"take alice back to {main[:12]}" in room.broker.told["approval-2"]
    await room.check()


@pytest.mark.parametrize(
    ("tag", "error"),
    [
        ("deployed/7", NotFound),
        ("proposal/1", InvalidArgument),
        ("main", InvalidArgument),
        ("deployed/0\n", InvalidArgument),
        ("deployed/0", Conflict),
    ],
)
async def test_a_revert_goes_to_what_was_deployed_and_is_not_now(
    room: Room, tag: str, error: type[HiveError]
) -> None:
    await room.agent()
    with pytest.raises(error):
        await room.do(room.approvals.revert(OPERATOR, "alice", tag))
    assert room.store.find() == []


async def test_a_revert_to_what_is_deployed_meanwhile_is_superseded(room: Room) -> None:
    await room.agent()
    first = await deployed(room, "# 1\n")
    second = await apply(room, "# 2\n")
    await room.do(room.yes(second))
    number = await room.do(room.approvals.revert(OPERATOR, "alice", "deployed/0"))
    room.lifecycle.end("alice", "failed", "No.")
    await room.rest()
    assert room.state(number) is ApprovalState.PENDING
    repository = room.git.applied["alice"]
    repository.refs["main"] = room.row(number).commit
    with pytest.raises(Conflict, match="is already deployed"):
        await room.do(room.yes(number))
    assert room.state(first) is ApprovalState.DEPLOYED


async def test_the_requester_withdraws_its_request(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    await room.do(room.approvals.withdraw(MANAGER, number))
    assert room.row(number).note == "By the manager."
    assert room.broker.told == {}
    number = await apply(room)
    await room.do(room.approvals.withdraw(OPERATOR, number))
    assert "was withdrawn: By the operator." in room.broker.told["approval-2"]
    with pytest.raises(Conflict):
        await room.do(room.approvals.withdraw(OPERATOR, number))
    await room.check()


async def test_the_manager_takes_back_only_its_own(room: Room) -> None:
    await room.agent()
    await deployed(room)
    number = await room.do(room.approvals.revert(OPERATOR, "alice", "deployed/0"))
    with pytest.raises(AccessDenied, match="made by the operator"):
        await room.do(room.approvals.withdraw(MANAGER, number))
    assert room.state(number) is ApprovalState.PENDING


async def test_a_resolved_request_stays_resolved(room: Room) -> None:
    number = await spawn(room)
    await room.do(room.yes(number))
    for again in (
        room.yes(number),
        room.no(number, ""),
        room.approvals.withdraw(OPERATOR, number),
    ):
        with pytest.raises(Conflict, match="already building; `hivectl status bob`"):
            await room.do(again)
    assert len(room.lifecycle.orders) == 1


async def test_two_yeses_at_once_order_once(room: Room) -> None:
    number = await spawn(room)
    answers = await room.do(
        asyncio.gather(room.yes(number), room.yes(number), return_exceptions=True)
    )
    assert sorted(type(a).__name__ for a in answers) == ["Conflict", "str"]
    assert len(room.lifecycle.orders) == 1


@pytest.mark.parametrize("number", [0, 7, 2**63 - 1, 2**64 - 1])
async def test_an_unknown_id_is_not_found(room: Room, number: int) -> None:
    for asked in (
        room.yes(number),
        room.no(number, ""),
        room.approvals.withdraw(OPERATOR, number),
        room.comparisons.diff(number),
    ):
        with pytest.raises(NotFound):
            await room.do(asked)


@pytest.mark.parametrize("by", [MANAGER, OPERATOR])
async def test_only_a_commit_that_the_operator_submits_is_the_operators_own(
    room: Room, by: str
) -> None:
    """The operator may change the flake.nix of an agent."""
    await room.agent()
    commit = await room.propose("alice", "# an input\n")
    await room.do(room.approvals.request_apply(by, "alice", commit, "An input"))
    assert (commit in room.git.own) is (by == OPERATOR)
