import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.endpoint.mcp import jsonrpc
from services.endpoint.mcp.jsonrpc import BatchError, Code, Notification, Request, RpcError


def fault(line: bytes) -> RpcError:
    with pytest.raises(RpcError) as caught:
        jsonrpc.parse(line)
    return caught.value


def test_a_request_and_a_notification() -> None:
    assert jsonrpc.parse(b'{"jsonrpc":"2.0","id":"a","method":"ping"}') == Request("a", "ping", {})
    assert jsonrpc.parse(b'{"jsonrpc":"2.0","method":"n","params":{"x":1}}') == Notification(
        "n", {"x": 1}
    )


def test_a_response_is_nothing_to_act_on() -> None:
    assert jsonrpc.parse(b'{"jsonrpc":"2.0","id":1,"result":{}}') is None
    assert jsonrpc.parse(b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}') is None


@pytest.mark.parametrize(
    "line",
    [b"{", b"hello", b'{"a":NaN}', b'{"a":"\xff\xfe"}', b'{"a":"\\ud800"}', b"9" * 5000, b'"\0"'],
)
def test_what_is_not_json_is_a_parse_error(line: bytes) -> None:
    assert fault(line).code is Code.PARSE_ERROR


def test_batches_are_refused_with_a_sentence() -> None:
    with pytest.raises(BatchError) as caught:
        jsonrpc.parse(b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"id":[],"method":"x"},{}]')
    faults = caught.value.faults
    assert [fault.id for fault in faults] == [1, None]
    assert faults[0].code is Code.INVALID_REQUEST
    assert "one message per line" in str(faults[0])
    assert "one message per line" in str(fault(b"[1]"))


@pytest.mark.parametrize("id", ["null", "true", "[]", "{}"])
def test_ids_of_other_types_are_refused(id: str) -> None:
    error = fault(f'{{"jsonrpc":"2.0","id":{id},"method":"ping"}}'.encode())
    assert error.code is Code.INVALID_REQUEST
    assert error.id is None


@pytest.mark.parametrize("id", ["1.5", "1e999", str(2**63), '"' + "x" * 257 + '"'])
def test_numbers_and_strings_that_are_no_ids_come_back(id: str) -> None:
    error = fault(f'{{"jsonrpc":"2.0","id":{id},"method":"ping"}}'.encode())
    assert error.code is Code.INVALID_REQUEST
    assert error.id == id.encode()
    assert f'"id":{id},' in jsonrpc.error(error).decode()


def test_a_known_id_is_answered_even_when_the_rest_is_wrong() -> None:
    assert fault(b'{"jsonrpc":"1.0","id":7,"method":"ping"}').id == 7
    assert fault(b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}').id == 7
    assert fault(b'{"jsonrpc":"2.0","id":7,"method":7}').id == 7


def test_deep_nesting_is_refused_before_it_is_parsed() -> None:
    assert "nested" in str(fault(b"[" * 40))
    deep = b'{"jsonrpc":"2.0","method":"n","params":{"a":' + b"[" * 29 + b"]" * 29 + b"}}"
    assert isinstance(jsonrpc.parse(deep), Notification)


def test_nesting_inside_a_text_is_no_nesting() -> None:
    body = json.dumps({"jsonrpc": "2.0", "method": "n", "params": {"a": '["\\"' + "[" * 100}})
    assert isinstance(jsonrpc.parse(body.encode()), Notification)


def test_what_grows_when_it_is_parsed_is_refused() -> None:
    assert "outside its strings" in str(fault(b"[" + b"[]," * 30000 + b"[]]"))
    assert "strings" in str(fault(b"[" + b'"",' * 20000 + b'""]'))


def test_answers_are_one_line_each() -> None:
    line = jsonrpc.result(1, {"text": "a\nb\u2028"})
    assert b"\n" not in line
    assert json.loads(line)["result"]["text"] == "a\nb\u2028"


@settings(max_examples=1500)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_line_raises_anything_else(line: bytes) -> None:
    try:
        jsonrpc.parse(line)
    except BatchError:
        pass
    except RpcError as error:
        json.loads(jsonrpc.error(error))


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


_object = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | _json,
        "id": _json,
        "method": st.sampled_from(["ping", "initialize", "tools/call"]) | _json,
        "params": _json,
        "result": _json,
        "error": _json,
    },
)


@settings(max_examples=300)
@given(_object)
def test_no_object_raises_anything_else(message: dict[str, object]) -> None:
    raises_nothing_else(message)


@pytest.mark.long
@settings(max_examples=1500)
@given(_object)
def test_none_of_many_objects_raises_anything_else(message: dict[str, object]) -> None:
    raises_nothing_else(message)


def raises_nothing_else(message: dict[str, object]) -> None:
    try:
        jsonrpc.parse(json.dumps(message).encode())
    except RpcError as error:
        json.loads(jsonrpc.error(error))
