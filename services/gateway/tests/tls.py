"""First messages of TLS, as OpenSSL writes them, and changed."""

import contextlib
import ssl
import struct


def client_hello(name: str | None) -> bytes:
    """Return the first message of a client that asks for `name`; one record."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def record(data: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    """Return a record."""
    return struct.pack(">BHH", kind, version, len(data)) + data


def records(hello: bytes, size: int) -> bytes:
    """Return the message of the one record `hello` in records of `size` bytes."""
    message = hello[5:]
    return b"".join(record(message[at : at + size]) for at in range(0, len(message), size))


def server_name(*names: bytes, kind: int = 0) -> bytes:
    """Return the extension of server names."""
    entries = b"".join(struct.pack(">BH", kind, len(name)) + name for name in names)
    content = struct.pack(">H", len(entries)) + entries
    return struct.pack(">HH", 0, len(content)) + content


def hello_with(*extensions: bytes, more: bytes = b"") -> bytes:
    """Return a first message with these extensions alone, and `more` after them."""
    joined = b"".join(extensions)
    body = (
        b"\x03\x03"
        + bytes(32)
        + b"\x00"
        + b"\x00\x02\x13\x01"
        + b"\x01\x00"
        + struct.pack(">H", len(joined))
        + joined
        + more
    )
    return record(b"\x01" + len(body).to_bytes(3, "big") + body)
