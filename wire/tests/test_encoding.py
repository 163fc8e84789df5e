"""Encoding and decoding, held against dbus-next's own."""

import io
import struct
from functools import partial
from typing import Any

import pytest
from dbus_next import Message as TheirMessage
from dbus_next import MessageType, Variant
from dbus_next._private.unmarshaller import Unmarshaller
from hypothesis import given
from hypothesis import strategies as st

from wire import message
from wire.decoding import MAX_VALUES, TooManyValuesError, decode
from wire.encoding import MAX_DEPTH, MisfitError, encode, encode_body
from wire.message import Kind, Message
from wire.types import U32, Typed

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
BOUNDS = {
    "y": (0, 2**8 - 1),
    "n": (-(2**15), 2**15 - 1),
    "q": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1),
    "t": (0, 2**64 - 1),
}
BASIC: dict[str, st.SearchStrategy[Any]] = {
    **{token: st.integers(*bounds) for token, bounds in BOUNDS.items()},
    "d": st.floats(allow_nan=False),
    "b": st.booleans(),
    "s": TEXT,
    "o": st.sampled_from(["/", "/a", "/org/hyperhive/Broker1"]),
    "g": st.sampled_from(["", "s", "a{sv}", "(tssssxubts)"]),
}
Pair = tuple[str, st.SearchStrategy[Any]]


def containers(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    keys = st.sampled_from([token for token in BASIC if token != "d"])
    return st.one_of(
        inner.map(lambda one: ("a" + one[0], st.lists(one[1], max_size=4) if one[0] != "y"
                               else st.binary(max_size=9))),
        st.lists(inner, min_size=1, max_size=4).map(
            lambda all: (f"({''.join(one[0] for one in all)})",
                         st.tuples(*(one[1] for one in all)).map(list))
        ),
        st.tuples(keys, inner).map(
            lambda both: (f"a{{{both[0]}{both[1][0]}}}",
                          st.dictionaries(BASIC[both[0]], both[1][1], max_size=4))
        ),
        inner.map(lambda one: ("v", one[1].map(partial(Typed, one[0])))),
    )  # fmt: skip


TYPES = st.recursive(st.sampled_from(sorted(BASIC.items())), containers, max_leaves=6)
BODIES = st.lists(TYPES, max_size=4).flatmap(
    lambda all: st.tuples(st.just("".join(one[0] for one in all)), *(one[1] for one in all))
)


def theirs(value: Any) -> Any:
    """Return a plain value as dbus-next expects it."""
    if isinstance(value, Typed):
        return Variant(value.signature, theirs(value.value))
    if isinstance(value, list):
        return [theirs(item) for item in value]
    if isinstance(value, dict):
        return {key: theirs(item) for key, item in value.items()}
    return value


def plain(value: Any) -> Any:
    """Return a value without the types of its variants."""
    if isinstance(value, Typed | Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def their_frame(signature: str, values: list[Any]) -> bytes:
    made = TheirMessage.new_signal("/a", "org.example.A", "B", signature, theirs(values))
    made.serial = 7
    return bytes(made._marshall())


@given(BODIES)
def test_the_bytes_are_those_of_dbus_next(drawn: tuple[Any, ...]) -> None:
    signature, *values = drawn
    ours = message.signal("/a", "org.example.A", "B", signature, values)
    ours.serial = 7
    assert body_of(encode(ours)) == body_of(their_frame(signature, values))
    read = Unmarshaller(io.BytesIO(encode(ours))).unmarshall()
    assert read.signature == signature
    assert [plain(value) for value in read.body] == plain(values)


@given(BODIES)
def test_what_dbus_next_writes_is_read(drawn: tuple[Any, ...]) -> None:
    signature, *values = drawn
    read = decode(their_frame(signature, values))
    assert (read.kind, read.path, read.interface, read.member, read.serial) == (
        Kind.SIGNAL, "/a", "org.example.A", "B", 7,
    )  # fmt: skip
    assert read.body == plain(values)


def body_of(frame: bytes) -> bytes:
    [size] = struct.unpack_from("<I", frame, 4)
    return frame[len(frame) - size :]


CALL = message.call("org.example.A", "/a", "org.example.A", "Dim", "ua{sv}", [1, {"k": U32(2)}])
CALL.serial, CALL.sender = 9, ":1.7"


@pytest.mark.parametrize(
    "made",
    [CALL, message.answer(CALL, "s", ["ä"]), message.refusal(CALL, "org.example.Bad", "no"),
     message.signal("/", "org.example.A", "B", "", [])],
    ids=lambda one: one.kind.name,
)  # fmt: skip
def test_headers_are_read_by_both(made: Message) -> None:
    made.serial = made.serial or 3
    read = Unmarshaller(io.BytesIO(encode(made))).unmarshall()
    assert read.message_type is MessageType(made.kind)
    ours = decode(encode(made))
    fields = ("path", "interface", "member", "error_name", "destination", "signature", "serial")
    for name in fields:
        assert getattr(ours, name) == getattr(made, name)
        assert (getattr(read, name) or "") == getattr(made, name)
    assert (read.reply_serial or 0) == ours.reply_serial == made.reply_serial
    assert ours.body == plain(made.body)


def test_a_call_that_wants_no_answer_says_so() -> None:
    call = message.call("org.example.A", "/a", "org.example.A", "Dim", "", [])
    call.serial, call.no_reply = 1, True
    assert decode(encode(call)).no_reply


def test_the_other_byte_order_is_read() -> None:
    fields = b"\x01\x01o\0" + struct.pack(">I", 2) + b"/a\0" + bytes(5)
    fields += b"\x08\x01g\0\x06ua{sv}\0"[:4] + b"\x06ua{sv}\0"
    body = struct.pack(">II", 5, 16) + struct.pack(">I", 1) + b"k\0" + b"\x01n\0" + bytes(1)
    body += struct.pack(">h", -2)
    body = body[:4] + struct.pack(">I", len(body) - 8) + body[8:]
    header = b"B\x04\x00\x01" + struct.pack(">III", len(body), 3, len(fields))
    read = decode(header + fields + bytes(-len(fields) % 8) + body)
    assert (read.path, read.body) == ("/a", [5, {"k": -2}])


@pytest.mark.parametrize(
    ("signature", "values"),
    [("s", [3]), ("b", [1]), ("d", ["x"]), ("y", [256]), ("n", [-(2**15) - 1]), ("t", [-1]),
     ("u", [2**32]), ("u", [1.0]), ("o", ["a"]), ("o", [3]), ("g", ["("]), ("g", [3]),
     ("ay", ["x"]), ("as", ["x"]), ("a{sv}", [[]]), ("a{sv}", [{1: "x"}]), ("(s)", ["x"]),
     ("(s)", [["x", "y"]]),
     ("v", [None]), ("v", [Typed("ss", "x")]), ("v", [Typed("", "x")]), ("s", []), ("(", [1]),
     ("h", [0]), ("s", ["a\0b"]), ("s", ["\ud800"]), ("s" * 256, ["x"] * 256)],
)  # fmt: skip
def test_what_does_not_fit_is_refused(signature: str, values: list[Any]) -> None:
    with pytest.raises(MisfitError):
        encode_body(signature, values)


def test_nesting_is_bounded_in_every_container() -> None:
    def nested(levels: int) -> tuple[str, Any]:
        signature, value = "s", "x"
        for _ in range(levels):
            signature, value = f"(a{signature})", [[value]]  # type: ignore[assignment]
        return signature, value

    encode_body(nested(MAX_DEPTH // 2)[0], [nested(MAX_DEPTH // 2)[1]])
    with pytest.raises(MisfitError, match="nested"):
        encode_body(nested(MAX_DEPTH)[0], [nested(MAX_DEPTH)[1]])


@given(st.data())
def test_what_is_no_message_raises_and_nothing_else(data: st.DataObject) -> None:
    frame = bytearray(encode(CALL))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode(bytes(frame[: data.draw(st.integers(1, len(frame)))]))
    except Exception:
        return  # left out, with a line in the journal
    assert isinstance(read.body, list)


def test_what_was_asked_for_may_have_any_number_of_values() -> None:
    texts = ["x"] * (2 * MAX_VALUES)
    answer = message.answer(CALL, "as", [texts])
    answer.serial = 1
    assert decode(encode(answer)).body == [texts]
    signal = message.signal("/", "org.example.A", "B", "as", [texts])
    signal.serial = 1
    with pytest.raises(TooManyValuesError):
        decode(encode(signal))
