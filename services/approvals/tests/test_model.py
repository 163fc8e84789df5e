"""The table of the states."""

import itertools

import pytest

from services.approvals.model import TRANSITIONS, history, tag
from services.approvals.tests.room import MANAGER, Room
from wire.errors import Conflict
from wire.records.approvals import ApprovalKind, ApprovalState


def test_every_state_has_its_row_and_is_reached_in_one_way() -> None:
    assert set(TRANSITIONS) == set(ApprovalState)
    reached = [state for targets in TRANSITIONS.values() for state in targets]
    assert sorted([*reached, ApprovalState.PENDING]) == sorted(ApprovalState)


def test_a_story_is_a_way_through_the_table() -> None:
    for state in ApprovalState:
        way = history(state)
        assert (way[0], way[-1]) == (ApprovalState.PENDING, state)
        assert all(new in TRANSITIONS[old] for old, new in itertools.pairwise(way))
    assert [tag(state, 3) for state in history(ApprovalState.FAILED)] == [
        "proposal/3", "approved/3", "building/3", "failed/3"
    ]  # fmt: skip


@pytest.mark.parametrize("old", ApprovalState)
async def test_no_row_moves_but_as_the_table_says(room: Room, old: ApprovalState) -> None:
    for at, new in enumerate(ApprovalState):
        number = room.store.add(ApprovalKind.APPLY, f"a{at}", "c" * 40, "x", MANAGER, 1)
        for before in history(old)[1:]:
            room.ledger.move(number, before)
        if new in TRANSITIONS[old]:
            assert room.ledger.move(number, new).state is new
        else:
            with pytest.raises(Conflict, match=f"is {old}; it cannot be {new}"):
                room.ledger.move(number, new)
