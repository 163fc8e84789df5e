"""The server name of TLS, in whatever pieces it comes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.proxy.clienthello import MAX_HELLO, HelloError, server_name
from services.gateway.tests import tls

HELLO = tls.client_hello("github.com")


def test_the_name_of_a_real_client() -> None:
    assert server_name(HELLO) == "github.com"
    assert server_name(tls.client_hello("API.GitHub.com")) == "api.github.com"
    assert server_name(tls.client_hello(None)) == ""
    assert server_name(tls.hello_with()) == ""
    assert server_name(tls.hello_with(tls.server_name(b"GitHub.com."))) == "github.com"


def test_what_follows_in_other_records_does_not_matter() -> None:
    assert server_name(HELLO + tls.record(b"\x01", kind=20) + b"early data") == "github.com"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 100, 200])
def test_a_message_in_several_records(size: int) -> None:
    assert server_name(tls.records(HELLO, size)) == "github.com"


def test_each_beginning_is_incomplete_and_never_another_name() -> None:
    for data in (HELLO, tls.records(HELLO, 7)):
        for length in range(len(data)):
            assert server_name(data[:length]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\x01\x03\x01" + bytes(50),  # of SSL 2
        tls.record(b"\x01\x00\x00\x04abcd", version=0x0201),
        tls.record(b""),
        tls.record(HELLO[5:8]) + tls.record(b"") + tls.record(HELLO[8:]),
        tls.record(HELLO[5:8]) + tls.record(b"\x01", kind=21) + tls.record(HELLO[8:]),
        tls.record(b"\x02" + HELLO[6:]),
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        tls.record(b"\x01\x00\x00\x00"),
        tls.record(HELLO[5:] + HELLO[5:]),  # two messages in one record
        tls.record(HELLO[5:] + HELLO[5:])[: len(HELLO)],  # the second one comes later
        tls.hello_with(tls.server_name(b"github.com", b"evil.example")),
        tls.hello_with(tls.server_name(b"github.com"), tls.server_name(b"evil.example")),
        tls.hello_with(tls.server_name(b"github.com", kind=1)),
        tls.hello_with(tls.server_name("gïthub.com".encode())),
        tls.hello_with(tls.server_name(b"github.com")[:-3]),
        tls.hello_with(tls.server_name(b"github.com"), more=b"x"),
        tls.hello_with(b"\x00\x00\x00\x02\x00\x00"),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused(data: bytes) -> None:
    with pytest.raises(HelloError):
        server_name(data)


def test_a_message_without_an_end_is_refused() -> None:
    endless = tls.record(b"\x01\xff\xff\xff" + bytes(16_000)) + tls.record(bytes(16_000)) * 4
    assert len(endless) > MAX_HELLO
    with pytest.raises(HelloError, match="too long"):
        server_name(endless)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_name_or_refused_or_incomplete(data: bytes) -> None:
    for begin in (b"", HELLO[:60], b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03"):
        try:
            name = server_name(begin + data)
        except HelloError:
            continue
        assert name is None or name.isascii()


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_a_changed_byte_is_no_fault(at: int, value: int) -> None:
    data = HELLO[:at] + bytes([value]) + HELLO[at + 1 :]
    with contextlib.suppress(HelloError):
        server_name(data)
