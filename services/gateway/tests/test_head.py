"""The heads of HTTP/1, with any bytes."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.proxy.head import (
    MAX_HEAD,
    Ended,
    HeadError,
    Request,
    read_answer,
    read_request,
    render,
)
from services.gateway.proxy.target import of_connect, of_http


def reader(data: bytes) -> asyncio.StreamReader:
    """Return a reader of `data`."""
    made = asyncio.StreamReader(limit=MAX_HEAD)
    made.feed_data(data)
    made.feed_eof()
    return made


async def parsed(data: bytes) -> Request:
    return await read_request(reader(data))


LINES = st.text(st.characters(max_codepoint=255), max_size=60) | st.sampled_from(
    [
        "Host: x",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Connection: x, close",
        "X: \tspaced \t",
        " folded",
        "No-Value:",
    ]
)


@given(st.text(st.characters(max_codepoint=255), max_size=80), st.lists(LINES, max_size=6))
async def test_a_head_is_understood_in_one_way_or_refused(first: str, lines: list[str]) -> None:
    data = "\r\n".join([first, *lines]).encode("latin-1") + b"\r\n\r\n"
    try:
        request = await parsed(data)
    except (HeadError, Ended):
        return
    again = await parsed(
        render(
            f"{request.method} {request.target} HTTP/1.{request.minor}", list(request.fields.pairs)
        )
    )
    assert again == request
    for pairs in (request.fields.pairs, tuple(request.fields.forwarded("host"))):
        assert not any(c in key + value for key, value in pairs for c in "\r\n\0")
    gone = {key.lower() for key, _ in request.fields.forwarded("host")}
    assert not gone & {"host", "connection", "transfer-encoding", "proxy-authorization"}


@given(st.binary(max_size=200))
async def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    for begin in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 "):
        with contextlib.suppress(HeadError, Ended):
            await read_answer(reader(begin + data + b"\r\n\r\n"))


@given(st.text(max_size=60))
def test_any_target_is_a_host_and_a_port_or_refused(text: str) -> None:
    for target in (text, f"example.org{text}:443", f"http://{text}/"):
        with contextlib.suppress(HeadError):
            assert 0 < of_connect(target).port < 65536
        with contextlib.suppress(HeadError):
            found, path = of_http(target)
            assert path.startswith("/")
            assert 0 < found.port < 65536


@pytest.mark.parametrize(
    ("target", "place", "path"),
    [
        ("http://Example.org", "example.org:80", "/"),
        ("HTTP://example.org:8080/a?b", "example.org:8080", "/a?b"),
        ("http://example.org?b", "example.org:80", "/?b"),
        ("http://[fd00:0::1]:81/", "[fd00::1]:81", "/"),
        ("http://10.1.2.3/", "10.1.2.3:80", "/"),
    ],
)
def test_targets_of_plain_http(target: str, place: str, path: str) -> None:
    found, rest = of_http(target)
    assert (str(found), rest) == (place, path)
