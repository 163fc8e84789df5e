"""Options from the bus, checked against their record."""

import pytest
from pydantic import Field

from services.options import Options
from wire.errors import InvalidArgument
from wire.records.broker import AskOptions, MessageFilter, MessageState
from wire.records.ledger import Turn, UsageFilter

FILTER = Options(MessageFilter, "filter of ListMessages", before=Field(ge=0, le=5))
ASK = Options(AskOptions, "option of Ask", choices=Field(max_length=2), ttl_s=Field(ge=1, le=9))


def test_options_become_their_record() -> None:
    found = FILTER.parse({"from": "alice", "state": "dead", "before": 5})
    assert found == MessageFilter(sender="alice", state=MessageState.DEAD, before=5)
    assert isinstance(found.state, MessageState)


def test_options_that_are_left_out_have_their_default() -> None:
    assert ASK.parse({}) == AskOptions()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sender": "alice"}, "'sender' is not a valid filter of ListMessages. Use one of: to, "),
        ({"x" * 100: 1}, f"'{'x' * 64}' is not a valid filter"),
        ({"before": 6}, "'before' is not valid: Input should be less than or equal to 5."),
        ({"before": "3"}, "'before' is not valid: Input should be a valid integer."),
        ({"before": True}, "'before' is not valid: Input should be a valid integer."),
        ({"from": 3}, "The filter of ListMessages 'from' is not valid: "),
        ({"state": "lost"}, "'state' is not valid: Input should be 'queued', 'leased', "),
    ],
)
def test_options_that_are_not_valid_are_named(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        FILTER.parse(values)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("values", [{"choices": ["a", "b", "c"]}, {"choices": [1]}, {"ttl_s": 0}])
def test_bounds_hold_for_lists_and_optional_values(values: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        ASK.parse(values)


def test_a_field_without_a_default_is_required() -> None:
    with pytest.raises(InvalidArgument, match=r"^The key of RecordTurn 'started' is missing\.$"):
        Options(Turn, "key of RecordTurn").parse({"turn": 1, "ended": 2, "outcome": "done"})


@pytest.mark.parametrize("key", ["turn", "cost", "input_tokens"])
def test_a_field_of_an_unsigned_type_is_not_negative(key: str) -> None:
    turn = {"turn": 1, "started": 1, "ended": 2, "outcome": "done"}
    with pytest.raises(InvalidArgument, match=f"'{key}' is not valid"):
        Options(Turn, "key of RecordTurn", cost=Field(le=10)).parse({**turn, key: -1})
    assert Options(Turn, "key of RecordTurn").parse({**turn, "ended": -1}).ended == -1


@pytest.mark.parametrize("since", [2**63, -(2**63) - 1])
def test_a_field_of_a_signed_type_fits_in_64_bits(since: int) -> None:
    with pytest.raises(InvalidArgument, match="'since' is not valid"):
        Options(UsageFilter, "filter of ListUsage").parse({"since": since})
    assert Options(UsageFilter, "filter of ListUsage").parse({"since": -1}).since == -1
