import pytest

from services.endpoint.mcp.rescue import TAIL, rescue


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"id":1,"x":"\\ud800"}', b"1"),
        (b'{"x":"\xff","id":-2}', b"-2"),
        (b'{ "x" : {"id":3} , "id" : "a" }', b'"a"'),
        (b'{"x":[{"id":3}],"id":4', b"4"),
        (b'{"id":"with \\"quotes\\" and \\\\","x":NaN}', b'"with \\"quotes\\" and \\\\"'),
        (b'{"x":"text with \\"id\\":5","id":6', b"6"),
        (b'{"id":1.5e3,"x"', b"1.5e3"),
        (b'{"id":1,"id":2,"x":NaN}', b"2"),
        (b'\xef\xbb\xbf{"id":1}', b"1"),
        (b'half a text","jsonrpc":"2.0","id":9}', b"9"),
        (b'half a text"}},"id":9,"method":"tools/call","jsonrpc":"2.0"}', b"9"),
        (b'{"x":{"id":3}}', None),
        (b'{"x":{"id":3', None),
        (b'{"id":true}', None),
        (b'{"id":01}', None),
        (b'{"id":"\xff"}', None),
        (b'{"id":"\x01"}', None),
        (b'{"id":"\\x"}', None),
        (b'{"id":}', None),
        (b'{"id"', None),
        (b'["id",1]', None),
        (b'"id":1', None),
        (b"", None),
    ],
)
def test_ids(line: bytes, id: bytes | None) -> None:
    assert rescue(line).id == id


def test_the_method() -> None:
    assert rescue(b'{"method":"tools/call","id":1').method == b"tools/call"
    assert rescue(b'{"params":{"method":"x"},"method":7}').method == b""
    assert rescue(b'x","method":"tools/call","id":1}').method == b"tools/call"


def test_the_end_of_a_long_line() -> None:
    head = b'{"method":"tools/call","params":{"x":"' + b"y" * 5000
    found = rescue(head, b'yyy"},"jsonrpc":"2.0","id":9}')
    assert (found.id, found.method) == (b"9", b"tools/call")
    assert rescue(head, b'"id":9}' + b" " * TAIL).id is None


@pytest.mark.parametrize("part", [b'"', b'\\"', b"[", b'{"id":1,', b'"id":', b',"a":1', b" "])
def test_a_line_that_is_made_to_take_long_does_not(part: bytes) -> None:
    rescue(part * (2**21 // len(part)))
