"""Records: their signatures, and the way to the bus and back."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import message
from wire.decoding import decode as decode_frame
from wire.encoding import MisfitError, encode
from wire.errors import Conflict
from wire.records import decode, decode_all, dictionary, keys, signature, struct, to_dict, updated
from wire.records.broker import Message, MessageState, SendOptions, Thread
from wire.records.lifecycle import (
    AgentProperties,
    AgentState,
    JobProperties,
    JobRemoved,
    JobState,
    JobVerb,
    ManagedObjects,
    Network,
    ProjectAccess,
    ResourceChanges,
    Resources,
    TurnState,
)
from wire.types import Str, Typed, UInt64

MESSAGE = Message(
    id=2**63, sender="alice", recipient="bob", kind="message", body="hello", queued=5,
    redeliveries=1, urgent=True, in_reply_to=0, state=MessageState.LEASED, invocation="ab",
    earlier_life=False,
)  # fmt: skip
AGENT = AgentProperties(
    name="alice", machine="h-alice", unit="systemd-nspawn@h-alice.service", uid_base=65536,
    enabled=True, state=AgentState.RUNNING, since=1, invocation_id="ab",
    turn_state=TurnState.IDLE, turn_since=2, model="", context_tokens=2**40, logged_in=True,
    resources=Resources(memory_max=2**40), network=Network(["any"], ["1.1.1.1"], [], True),
    image="", stale=False, port=7100, port_shared_with=[], deployed_commit="",
)  # fmt: skip
JOB = JobProperties(id=1, agent="alice", verb=JobVerb.START, state=JobState.RUNNING)


def over_the_bus(kind: str, value: object) -> object:
    """`value`, encoded as one argument of signature `kind` and decoded again."""
    sent = message.signal("/a", "org.example.A", "B", kind, [value])
    sent.serial = 1
    return decode_frame(encode(sent)).body[0]


def test_a_struct_comes_back_as_it_was() -> None:
    assert signature(Message) == "(tssssxubtssbbss)"
    assert decode(Message, over_the_bus(signature(Message), MESSAGE)) == MESSAGE


def test_a_list_of_structs_comes_back_as_it_was() -> None:
    rows = over_the_bus("a" + signature(Message), [MESSAGE, MESSAGE._replace(id=1)])
    assert [one.id for one in decode_all(Message, rows)] == [2**63, 1]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.booleans())
def test_options_come_back_as_they_were(key: str, urgent: bool) -> None:
    options = SendOptions(dedupe_key=key, urgent=urgent, in_reply_to=2**64 - 1)
    assert decode(SendOptions, over_the_bus("a{sv}", options)) == options


def test_records_within_records_come_back_as_they_were() -> None:
    assert decode(AgentProperties, over_the_bus("a{sv}", AGENT)) == AGENT


def test_a_record_travels_as_a_variant() -> None:
    assert over_the_bus("v", Network([], [], [], False)) == {
        "deny": [],
        "allow": [],
        "name_servers": [],
        "filtered": False,
    }
    assert over_the_bus("v", MESSAGE) == list(MESSAGE)


def test_enumerations_come_back_as_their_members() -> None:
    assert type(decode(Message, over_the_bus(signature(Message), MESSAGE)).state) is MessageState


def test_values_have_the_types_of_their_fields() -> None:
    assert to_dict(SendOptions(in_reply_to=3)) == {"in_reply_to": Typed("t", 3)}


def test_a_field_of_two_types_has_that_of_its_value() -> None:
    changes = ResourceChanges(memory_max="max", tasks_max=64)
    assert to_dict(changes) == {"memory_max": Typed("s", "max"), "tasks_max": Typed("t", 64)}


def test_defaults_are_left_out_and_come_back() -> None:
    thread = Thread("message", id=3, sender="alice")
    assert over_the_bus("a{sv}", thread) == {"kind": "message", "id": 3, "from": "alice"}
    assert decode(Thread, {"kind": "message", "id": 3, "from": "alice"}) == thread


def test_properties_are_named_as_on_the_bus() -> None:
    assert keys(AgentProperties)["port_shared_with"] == "PortSharedWith"


def test_changed_properties_replace_their_fields_only() -> None:
    changed = updated(AGENT, {"State": "failed", "Resources": {"tasks_max": 9}, "New": 1})
    assert changed == AGENT._replace(state=AgentState.FAILED, resources=Resources(tasks_max=9))


def test_unknown_keys_are_ignored() -> None:
    assert decode(SendOptions, {"urgent": True, "new": 1}) == SendOptions(urgent=True)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: decode(Message, [1, "alice"]), "Message .* has 2 values instead of 15"),
        (
            lambda: decode(Message, [*MESSAGE[:9], "lost", "", 0, 0, "", ""]),
            "unknown value of state",
        ),
        (lambda: decode(JobProperties, {"Id": 1, "Agent": "a"}), "JobProperties .* has no Verb"),
        (lambda: updated(JOB, {"State": "odd"}), "JobProperties .* an unknown value of State"),
    ],
)  # fmt: skip
def test_another_version_is_named(wrong: object, sentence: str) -> None:
    assert callable(wrong)
    with pytest.raises(Conflict, match=sentence + ".*different versions"):
        wrong()


def test_managed_objects_are_told_apart() -> None:
    objects = {
        "/a": {"org.hyperhive.Agent1": over_the_bus("a{sv}", AGENT)},
        "/j": {"org.hyperhive.Job1": over_the_bus("a{sv}", JOB), "org.example.Other": {}},
    }
    assert ManagedObjects.decode(objects) == ManagedObjects({"/a": AGENT}, {"/j": JOB})


def test_an_annotation_that_is_not_of_the_bus_is_refused() -> None:
    @struct
    class Odd(NamedTuple):
        plain: int

    with pytest.raises(TypeError, match=r"Odd\.plain has an annotation that is not of wire\.types"):
        signature(Odd)


def test_a_struct_does_not_travel_as_a_dictionary() -> None:
    @struct
    class Pair(NamedTuple):
        name: Str
        size: UInt64

    @dictionary()
    class Named(NamedTuple):
        name: Str = ""

    with pytest.raises(MisfitError):
        over_the_bus("a{sv}", Pair("a", 1))
    with pytest.raises(MisfitError):
        over_the_bus("(st)", Named("a"))


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        MESSAGE.body = "other"  # type: ignore[misc]


@pytest.mark.parametrize("values", [None, 1, "x", "x" * 6, b"x", {}, {"id": 1}, [], [[1]], [1] * 6])
@pytest.mark.parametrize("record", [JobRemoved, AgentProperties, Network])
def test_values_of_another_kind_are_of_another_version(
    record: type[tuple[Any, ...]], values: object
) -> None:
    with pytest.raises(Conflict, match="different versions"):
        decode(record, values)


@pytest.mark.parametrize("rows", [None, 1, "", "x", {"a": 1}, [1]])
def test_rows_of_another_kind_are_of_another_version(rows: object) -> None:
    with pytest.raises(Conflict, match="different versions"):
        decode_all(Message, rows)


@pytest.mark.parametrize("value", [None, 1, "x", [], [1]])
def test_a_record_within_a_record_may_be_of_another_version(value: Any) -> None:
    with pytest.raises(Conflict, match="different versions"):
        updated(AGENT, {"Resources": value})


@pytest.mark.parametrize(
    ("access", "branch", "reason"),
    [
        (ProjectAccess("web", readonly=False, branches=[]), "main", ""),
        (ProjectAccess("web", readonly=False, branches=["next", "hive/*"]), "hive/a/b", ""),
        (ProjectAccess("web", readonly=False, branches=["hive/*"]), "main", "hive/*, and not into"),
        (ProjectAccess("web", readonly=False, branches=["main"]), "main2", "not into main2"),
        (ProjectAccess("web", readonly=False, branches=["main"]), "Main", "not into Main"),
        (ProjectAccess("web", readonly=True, branches=[]), "main", "hand back no changes"),
    ],
)
def test_an_agent_may_change_some_branches_of_a_project(
    access: ProjectAccess, branch: str, reason: str
) -> None:
    assert reason in access.refusal(branch)
    assert bool(access.refusal(branch)) is bool(reason)
