"""A decision is about what the operator was shown, and about nothing else."""

import pytest

from services.approvals.tests.room import MANAGER, OPERATOR, Room, apply, deployed, spawn
from wire.errors import Conflict, InvalidArgument
from wire.records.approvals import ApprovalFilter, ApprovalState

OTHER = "0123456789abcdef0123456789abcdef01234567"


async def test_a_decision_about_another_commit_is_refused(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    commit = room.row(number).commit
    words = f"Request {number} for alice is about commit {commit}, not {OTHER}: look at it again"
    for decision in (
        room.approvals.approve(number, OTHER),
        room.approvals.approve(number, OTHER, now=True),
        room.approvals.deny(number, OTHER, "no"),
    ):
        with pytest.raises(Conflict, match=words):
            await room.do(decision)
    assert room.state(number) is ApprovalState.PENDING
    assert room.lifecycle.orders == []
    await room.do(room.approvals.approve(number, commit))
    with pytest.raises(Conflict, match="is about commit"):
        await room.do(room.approvals.approve(number, OTHER, now=True))
    assert room.lifecycle.now == [False]


@pytest.mark.parametrize("commit", ["", "0123456", OTHER[:39], OTHER.upper(), f"{OTHER}\n", "main"])
async def test_a_decision_needs_the_whole_name_of_the_commit(room: Room, commit: str) -> None:
    number = await spawn(room)
    for decision in (
        room.approvals.approve(number, commit),
        room.approvals.approve(number, commit, now=True),
        room.approvals.deny(number, commit, ""),
    ):
        with pytest.raises(InvalidArgument, match="not the whole name of a commit"):
            await room.do(decision)
    assert room.state(number) is ApprovalState.PENDING


async def test_a_request_that_is_replaced_while_it_is_read_cannot_be_decided(room: Room) -> None:
    await room.agent()
    read = room.row(await apply(room, "# harmless\n"))
    newer = await apply(room, "# harmful\n")
    words = f"already superseded: Request {newer} replaced it. .* `hivectl diff {newer}` shows it"
    for decision in (
        room.approvals.approve(read.id, read.commit),
        room.approvals.approve(read.id, read.commit, now=True),
        room.approvals.deny(read.id, read.commit, ""),
    ):
        with pytest.raises(Conflict, match=words):
            await room.do(decision)
    for decision in (
        room.approvals.approve(newer, read.commit),
        room.approvals.deny(newer, read.commit, ""),
    ):
        with pytest.raises(Conflict, match=f"not {read.commit}"):
            await room.do(decision)
    assert room.state(newer) is ApprovalState.PENDING
    assert room.lifecycle.orders == []


async def test_a_change_that_was_shown_against_another_base_is_refused(room: Room) -> None:
    """A revert brings lines back that the change which was read does not show."""
    first = await room.agent()
    await deployed(room, "# 1\n")
    waiting = await apply(room, "# 2\n")
    await room.do(room.yes(waiting))
    number = await room.do(room.approvals.revert(OPERATOR, "alice", "deployed/0"))
    read = await room.comparisons.diff(number)
    assert read.base == room.git.applied["alice"].refs["main"]
    room.lifecycle.end("alice")
    await room.rest()
    now = room.row(waiting).commit
    with pytest.raises(Conflict, match=f"shown against {read.base}, but alice has {now} deployed"):
        await room.do(room.approvals.approve(number, first, read.base))
    assert room.state(number) is ApprovalState.PENDING
    again = await room.comparisons.diff(number)
    assert again.base == now
    await room.do(room.approvals.approve(number, first, again.base))
    with pytest.raises(Conflict, match="shown against nothing, but"):
        await room.do(room.approvals.approve(number, first, "", now=True))
    await room.do(room.approvals.approve(number, first, again.base, now=True))
    assert room.lifecycle.orders[-1] == ("deploy", "alice", first)


async def test_a_new_agent_has_no_base(room: Room) -> None:
    number = await spawn(room)
    assert (await room.comparisons.diff(number)).base == ""
    await room.do(room.approvals.approve(number, room.row(number).commit, ""))
    assert room.lifecycle.orders == [("spawn", "bob", room.row(number).commit)]


async def test_one_request_is_found_by_its_number(room: Room) -> None:
    await room.agent()
    first = await apply(room, "# 1\n")
    second = await apply(room, "# 2\n")
    found = room.approvals.find(ApprovalFilter(id=first))
    assert [(row.id, row.state) for row in found] == [(first, ApprovalState.SUPERSEDED)]
    assert [row.id for row in room.approvals.find(ApprovalFilter())] == [first, second]
    for unknown in (7, 2**63, 2**64 - 1):
        assert room.approvals.find(ApprovalFilter(id=unknown)) == []


async def test_the_requester_of_the_newer_request_does_not_matter(room: Room) -> None:
    await room.agent()
    read = room.row(await apply(room))
    commit = room.git.propose("alice", "# by hand\n", room.git.applied["alice"].refs["main"])
    newer = await room.do(room.approvals.request_apply(OPERATOR, "alice", commit, "By hand"))
    await room.do(room.approvals.withdraw(OPERATOR, newer))
    with pytest.raises(Conflict, match=rf"superseded: Request {newer} replaced it\.$"):
        await room.do(room.approvals.approve(read.id, read.commit))
    assert read.requested_by == MANAGER
