"""dbus-next's MessageBus with the parts replaced that lose messages, hang or leak.

`Connection` is for wire.bus only. What it changes, and why:

- writing: all of a turn of the loop together, in order, and patiently when the socket is full (the
  original drops the connection on EAGAIN);
- reading: a message is cut out by its length first, so that one which cannot be parsed is left
  out instead of ending the connection; one read an event, so that a flood cannot starve the loop;
- authentication: EXTERNAL without a uid, which also works from another user namespace, and it
  ends when the daemon hangs up;
- closing: drains, and closes the stream and the socket.

File descriptors are never negotiated: nobody can leak one into us.
"""

import asyncio
import io
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from dbus_next._private.address import get_system_bus_address
from dbus_next.aio import MessageBus
from dbus_next.auth import Authenticator

from wire import errors
from wire.decoding import TooManyValuesError, decode
from wire.encoding import encode
from wire.message import Kind, Message, refusal

log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""What we send at most, in bytes; the system bus cuts off whoever sends more than 32 MiB."""

_READ_SIZE: Final = 64 * 1024
"""Bytes of one read. For 128 KiB and more, malloc asks the kernel for memory each time."""
_FIXED_HEADER: Final = 16


class BareExternal(Authenticator):
    """AUTH EXTERNAL without a uid: the daemon takes the one the kernel tells it."""

    def _authentication_start(self, negotiate_unix_fd: bool = False) -> str:
        return "AUTH EXTERNAL"

    def _receive_line(self, line: str) -> str:
        if line.startswith("DATA"):
            return "DATA"
        if line.startswith("OK"):
            return "BEGIN"
        raise errors.AccessDenied(f"The bus refused the connection: {line}.")


class PatientWriter:
    """Writes as much as the socket takes, and the rest when it is writable again."""

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, failed: Callable[[OSError], Any]
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._failed = failed
        self._written: list[bytes] = []
        self._waiting: deque[memoryview] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._broken = False

    def schedule_write(self) -> None:
        """dbus-next calls this when Hello is answered; nothing waits then."""

    def write(self, data: bytes) -> None:
        """Send `data` after everything that was written before. Never blocks, never raises.

        What is written in one turn of the loop leaves together, at the end of it: one system call
        for the lot, and the daemon is woken once.
        """
        if self._broken:
            return
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def _flush(self) -> None:
        written, self._written = self._written, []
        if self._broken or not written:
            return
        rest = memoryview(written[0] if len(written) == 1 else b"".join(written))
        if not self._waiting:
            rest = self._send(rest)
            if not rest or self._broken:
                return
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        self._waiting.append(rest)

    async def drain(self) -> None:
        """Return when everything is with the kernel, or the connection is broken."""
        self._flush()
        if self._waiting and not self._broken:
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)

    def abandon(self) -> None:
        """Forget what waits; the connection is gone."""
        self._broken = True
        self._written.clear()
        self._waiting.clear()
        self._wake_drain()

    def _on_writable(self) -> None:
        while self._waiting and not self._broken:
            rest = self._send(self._waiting[0])
            if rest:
                self._waiting[0] = rest
                return
            if not self._broken:
                self._waiting.popleft()
        if not self._broken:
            self._loop.remove_writer(self._sock.fileno())
        self._wake_drain()

    def _send(self, data: memoryview) -> memoryview:
        """Send what fits now and return what is left."""
        try:
            return data[self._sock.send(data) :]
        except (BlockingIOError, InterruptedError):
            return data
        except OSError as error:
            self.abandon()
            # Not at once: whoever is writing now should not see the bus fall apart under it.
            self._loop.call_soon(self._failed, error)
            return data[:0]

    def _wake_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None


class Connection(MessageBus):
    """One connection to a bus daemon; see the module for what differs from dbus-next."""

    _sock: socket.socket
    _stream: io.BufferedRWPair
    _writer: PatientWriter  # type: ignore[assignment]

    def __init__(self, address: str | None, on_message: Callable[[Message], None]) -> None:
        """Connect the socket; raises Unavailable when nobody listens at `address`."""
        super().__init__(bus_address=address or get_system_bus_address(), auth=BareExternal())
        self._writer = PatientWriter(self._sock, self._loop, self._finalize)
        self._received = bytearray()
        self._on_incoming = on_message
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self.closed: asyncio.Future[Exception | None] = self._loop.create_future()

    def post(self, message: Message) -> int:
        """Send `message` at once and return its serial.

        Raises MisfitError when it cannot travel (see wire.encoding), LimitExceeded when it is
        larger than MAX_MESSAGE, Unavailable when the connection is gone.
        """
        if not self.connected:
            raise errors.Unavailable("The connection to the bus is closed.")
        message.serial = message.serial or self.next_serial()
        data = encode(message)
        if len(data) > MAX_MESSAGE:
            raise errors.LimitExceeded(
                f"A message of {len(data)} bytes is larger than the {MAX_MESSAGE} that are allowed."
            )
        self._writer.write(data)
        return message.serial

    async def ask(self, message: Message, timeout: float) -> Message:
        """Send a call and return its reply (an ERROR, too).

        Raises Timeout after `timeout` seconds, Unavailable when the bus goes first.
        """
        serial = self.post(message)
        reply: asyncio.Future[Message] = self._loop.create_future()
        self._pending[serial] = reply
        try:
            async with asyncio.timeout(timeout):
                return await reply
        except TimeoutError as error:
            raise errors.Timeout(
                f"{message.destination} did not answer {message.member} within {timeout:g} s."
            ) from error
        finally:
            self._pending.pop(serial, None)

    def ask_later(self, message: Message, answered: Callable[[Message], None]) -> None:
        """Send a call and have `answered` called with its reply, if there ever is one."""

        def take(reply: asyncio.Future[Message]) -> None:
            self._pending.pop(message.serial, None)
            if not reply.cancelled() and reply.exception() is None:
                answered(reply.result())

        serial = self.post(message)
        self._pending[serial] = self._loop.create_future()
        self._pending[serial].add_done_callback(take)

    async def drain(self) -> None:
        """Return when everything that was posted is with the kernel."""
        await self._writer.drain()

    def close(self) -> None:
        """Close the socket; whatever waits for an answer gets Unavailable. Idempotent."""
        self._user_disconnect = True
        self._finalize(None)

    def _setup_socket(self) -> None:
        failure, path = "it names no unix socket", "that address"
        for transport, options in self._bus_address:
            path = options.get("path") or "\0" + options.get("abstract", "")
            if transport != "unix" or path == "\0":
                continue
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(path)
            except OSError as error:
                sock.close()
                failure = str(error)
                continue
            sock.setblocking(False)
            self._sock, self._fd = sock, sock.fileno()
            self._stream = sock.makefile("rwb")
            return
        raise errors.Unavailable(f"There is no bus at {path!s}: {failure}.")

    async def _auth_readline(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            part = await self._loop.sock_recv(self._sock, 1)
            if not part:
                raise errors.Unavailable("The bus hung up during authentication.")
            line += part
        return line[:-2].decode(errors="replace")

    def _message_reader(self) -> None:
        try:
            part = self._sock.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._finalize(error)
            return
        if not part:
            self._finalize(EOFError("The bus closed the connection."))
            return
        self._received += part
        self._take_messages()

    def _take_messages(self) -> None:
        start = 0
        while (size := frame_size(self._received, start)) is not None:
            if len(self._received) < start + size:
                break
            frame = bytes(memoryview(self._received)[start : start + size])
            start += size
            self._take(frame)
        del self._received[:start]

    def _take(self, frame: bytes) -> None:
        try:
            message = decode(frame)
        except TooManyValuesError as error:
            self._refuse(error)
            return
        except Exception:
            log.warning("left out a message of %d bytes that cannot be read", len(frame))
            return
        if message.kind in (Kind.RETURN, Kind.ERROR):
            self._take_reply(message)
            return
        try:
            self._on_incoming(message)
        except Exception:
            log.exception("a received message was not handled: %s", message.member)

    def _refuse(self, error: TooManyValuesError) -> None:
        """Answer what was not decoded, if it is a call that waits for it."""
        call = error.message
        log.warning("left out a message of %s: %s", call.sender, error)
        if call.kind is Kind.CALL and not call.no_reply and self.connected:
            text = f"This call is too large: {error}."
            self.post(refusal(call, errors.LimitExceeded.name, text))

    def _take_reply(self, message: Message) -> None:
        reply = self._pending.get(message.reply_serial)
        if reply is not None:
            if not reply.done():
                reply.set_result(message)
        elif message.reply_serial in self._method_return_handlers:  # Hello, by dbus-next
            refused = None
            if message.kind is Kind.ERROR:
                text = message.body[0] if message.signature.startswith("s") else message.error_name
                refused = errors.Unavailable(f"The bus did not let us in: {text}")
            self._method_return_handlers.pop(message.reply_serial)(message, refused)

    def _finalize(self, err: Exception | None = None) -> None:
        if self._disconnected:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        super()._finalize(err)  # type: ignore[no-untyped-call]
        # `closed` says why; nobody asks dbus-next's own future, which would complain about that.
        self._disconnect_future.add_done_callback(lambda ended: ended.exception())
        self._writer.abandon()
        for reply in self._pending.values():
            if not reply.done():
                reply.set_exception(errors.Unavailable("The connection to the bus was lost."))
        self._stream.close()
        self._sock.close()
        if not self.closed.done():
            self.closed.set_result(None if self._user_disconnect else err or EOFError())


def frame_size(data: bytearray, start: int) -> int | None:
    """The length in bytes of the message that begins at `start`; None while it is not known."""
    if len(data) - start < _FIXED_HEADER:
        return None
    order = "little" if data[start] == ord("l") else "big"
    body = int.from_bytes(data[start + 4 : start + 8], order)  # type: ignore[arg-type]
    fields = int.from_bytes(data[start + 12 : start + 16], order)  # type: ignore[arg-type]
    return _FIXED_HEADER + fields + (-fields % 8) + body


async def connect(address: str | None, on_message: Callable[[Message], None]) -> Connection:
    """Connect, authenticate and say Hello; at most 25 s. Raises Unavailable or AccessDenied."""
    connection = Connection(address, on_message)
    try:
        async with asyncio.timeout(25):
            await connection.connect()
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError | OSError | EOFError):
            reason = "no answer within 25 s" if isinstance(error, TimeoutError) else error
            raise errors.Unavailable(f"The bus did not let us in: {reason}.") from error
        raise
    return connection
