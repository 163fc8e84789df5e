"""dbus-next's MessageBus without the parts that lose messages, hang or leak.

Only wire.bus uses `Connection`. These parts differ from dbus-next:

- Writing: all messages of one turn of the loop leave together and in order, and wait while the
  socket is full. dbus-next drops the connection on EAGAIN.
- Reading: a message is cut out by its length first, so that a message that cannot be parsed is
  skipped and the connection stays. One event reads once, so that a flood cannot starve the loop.
  A message that is too large or unwanted is dropped before it is collected or decoded.
- Authentication: EXTERNAL without a uid, which also works from another user namespace. The
  authentication ends when the daemon hangs up.
- Closing: everything is sent, then the stream and the socket are closed.

File descriptors are never negotiated, so that nobody can leak one into this process.
"""

import asyncio
import io
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from dbus_next._private.address import get_system_bus_address
from dbus_next.aio import MessageBus
from dbus_next.auth import Authenticator

from wire import errors
from wire.decoding import TooManyValuesError, decode_body, decode_header
from wire.encoding import encode
from wire.message import Kind, Message, refusal

log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""The largest message that is sent, in bytes; the system bus disconnects a sender above 32 MiB."""

MAX_RECEIVED: Final = 9 * 1024 * 1024
"""The largest call or signal that is received, in bytes: a text of 8 MiB, the upper bound of the
setting max_body_bytes, and its options. An answer that is awaited may be larger."""

_SMALL: Final = 4096
"""The bytes up to which decoding a message costs no more than asking whether it is expected."""
_MAX_HEADER: Final = 64 * 1024
"""The bytes of a header; a message with a larger one is dropped without an answer."""
_READ_SIZE: Final = 64 * 1024
"""The bytes of one read. From 128 KiB on, malloc asks the kernel for memory each time."""
_FIXED_HEADER: Final = 16


class BareExternal(Authenticator):
    """AUTH EXTERNAL without a uid: the daemon takes the uid that the kernel reports."""

    def _authentication_start(self, negotiate_unix_fd: bool = False) -> str:
        return "AUTH EXTERNAL"

    def _receive_line(self, line: str) -> str:
        if line.startswith("DATA"):
            return "DATA"
        if line.startswith("OK"):
            return "BEGIN"
        raise errors.AccessDenied(f"The bus refused the connection: {line}.")


class PatientWriter:
    """A writer that sends as much as the socket takes, and the rest when there is room again."""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        failed: Callable[[OSError], object],
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._failed = failed
        self._written: list[bytes] = []
        self._waiting: deque[memoryview] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._broken = False

    def schedule_write(self) -> None:
        """Do nothing: dbus-next calls this when Hello is answered, and nothing waits then."""

    def write(self, data: bytes) -> None:
        """Send `data` after everything that was written before. Never block, never raise.

        All data of one turn of the loop leaves together at the end of the turn: that takes one
        system call, and wakes the daemon once.
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
        """Wait until the kernel has everything, or the connection is broken."""
        self._flush()
        if self._waiting and not self._broken:
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)

    def abandon(self) -> None:
        """Drop the data that waits; the connection is gone."""
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
            # Later: the code that writes now must not see the connection end in the middle.
            self._loop.call_soon(self._failed, error)
            return data[:0]

    def _wake_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None


class Connection(MessageBus):
    """One connection to a bus daemon; the module lists the differences from dbus-next."""

    _sock: socket.socket
    _stream: io.BufferedRWPair
    _writer: PatientWriter  # type: ignore[assignment]

    def __init__(
        self,
        address: str | None,
        on_message: Callable[[Message], None],
        is_wanted: Callable[[Message], bool] = lambda _signal: True,
    ) -> None:
        """Connect the socket.

        Args:
            address: the address of the bus; by default the system bus.
            on_message: takes each call, and each wanted signal.
            is_wanted: returns whether somebody waits for a signal, whose body is not decoded yet;
                by default always.

        Raises:
            Unavailable: nobody listens at `address`.
        """
        super().__init__(bus_address=address or get_system_bus_address(), auth=BareExternal())
        self._writer = PatientWriter(self._sock, self._loop, self._finalize)
        self._received = bytearray()
        self._to_skip = 0
        self._on_incoming = on_message
        self._is_wanted = is_wanted
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self.closed: asyncio.Future[Exception | None] = self._loop.create_future()

    @property
    def waiting(self) -> int:
        """The number of calls that wait for an answer."""
        return len(self._pending)

    def post(self, message: Message) -> int:
        """Send `message` at once and return its serial.

        Raises:
            MisfitError: the message cannot be encoded; see wire.encoding.
            LimitExceeded: the message is larger than MAX_MESSAGE.
            Unavailable: the connection is gone.
        """
        if not self.connected:
            raise errors.Unavailable("The connection to the bus is closed.")
        message.serial = message.serial or self.next_serial()
        data = encode(message)
        if len(data) > MAX_MESSAGE:
            raise errors.LimitExceeded(
                f"A message of {len(data)} bytes is too large; the limit is {MAX_MESSAGE} bytes."
            )
        self._writer.write(data)
        return message.serial

    async def ask(self, message: Message, timeout: float) -> Message:
        """Send a call and return its reply, which may be an ERROR.

        Raises:
            Timeout: no reply came within `timeout` seconds.
            Unavailable: the connection was lost.
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
        """Send a call; call `answered` with the reply when one comes."""

        def take(reply: asyncio.Future[Message]) -> None:
            self._pending.pop(message.serial, None)
            if not reply.cancelled() and reply.exception() is None:
                answered(reply.result())

        serial = self.post(message)
        self._pending[serial] = self._loop.create_future()
        self._pending[serial].add_done_callback(take)

    async def drain(self) -> None:
        """Wait until the kernel has everything that was posted."""
        await self._writer.drain()

    def close(self) -> None:
        """Close the socket; pending calls raise Unavailable. Closing twice does nothing."""
        self._user_disconnect = True
        self._finalize(None)

    def _setup_socket(self) -> None:
        failure, path = "it is not the address of a unix socket", "that address"
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
        if self._to_skip:
            skipped = min(self._to_skip, len(part))
            self._to_skip -= skipped
            part = part[skipped:]
        self._received += part
        self._take_messages()

    def _take_messages(self) -> None:
        start = 0
        while (size := frame_size(self._received, start)) is not None:
            missing = size - (len(self._received) - start)
            if missing <= 0:
                self._take(bytes(memoryview(self._received)[start : start + size]))
                start += size
            elif size > MAX_RECEIVED and self._is_too_large(start, size):
                self._to_skip = missing
                start = len(self._received)
            else:
                break
        del self._received[:start]

    def _is_too_large(self, start: int, size: int) -> bool:
        """Return whether a large message is not an awaited answer, and refuse it then.

        Without the whole header that is not known yet, and the result is False.
        """
        header = header_size(self._received, start)
        if header <= _MAX_HEADER:
            if len(self._received) < start + header:
                return False
            try:
                message, _ = decode_header(
                    bytes(memoryview(self._received)[start : start + header])
                )
            except Exception:
                log.warning("skipped a message of %d bytes that cannot be parsed", size)
                return True
            if self._is_expected(message):
                if message.kind in (Kind.RETURN, Kind.ERROR):
                    return False
                self._refuse(message, f"it has {size} bytes; at most {MAX_RECEIVED} are accepted")
        else:
            log.warning("skipped a message with a header of %d bytes", header)
        return True

    def _is_expected(self, message: Message) -> bool:
        """Return whether somebody waits for a message, of which only the header is decoded."""
        if message.kind in (Kind.RETURN, Kind.ERROR):
            awaited = message.reply_serial
            return awaited in self._pending or awaited in self._method_return_handlers
        return message.kind is Kind.CALL or self._is_wanted(message)

    def _take(self, frame: bytes) -> None:
        try:
            message, body = decode_header(frame)
            if len(frame) > _SMALL and not self._is_expected(message):
                return
            decode_body(message, frame, body)
        except TooManyValuesError as error:
            self._refuse(error.message, str(error))
            return
        except Exception:
            log.warning("skipped a message of %d bytes that cannot be parsed", len(frame))
            return
        if message.kind in (Kind.RETURN, Kind.ERROR):
            self._take_reply(message)
            return
        try:
            self._on_incoming(message)
        except Exception:
            log.exception("a received message was not handled: %s", message.member)

    def _refuse(self, message: Message, reason: str) -> None:
        """Answer a message that was not decoded, if it is a call that expects a reply."""
        log.warning("skipped a message of %s: %s", message.sender, reason)
        if message.kind is Kind.CALL and not message.no_reply and self.connected:
            text = f"This call is too large: {reason}."
            self.post(refusal(message, errors.LimitExceeded.name, text))

    def _take_reply(self, message: Message) -> None:
        reply = self._pending.get(message.reply_serial)
        if reply is not None:
            if not reply.done():
                reply.set_result(message)
        elif message.reply_serial in self._method_return_handlers:  # Hello, by dbus-next
            refused = None
            if message.kind is Kind.ERROR:
                text = message.body[0] if message.signature.startswith("s") else message.error_name
                refused = errors.Unavailable(f"The bus refused the connection: {text}")
            self._method_return_handlers.pop(message.reply_serial)(message, refused)

    def _finalize(self, err: Exception | None = None) -> None:
        if self._disconnected:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        super()._finalize(err)  # type: ignore[no-untyped-call]
        # `closed` has the reason. Nobody awaits dbus-next's own future, which would warn about
        # that.
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
    """Return the bytes of the message that begins at `start`, or None while that is not known."""
    if len(data) - start < _FIXED_HEADER:
        return None
    return header_size(data, start) + _number(data, start, 4)


def header_size(data: bytearray, start: int) -> int:
    """Return the bytes of the header of the message that begins at `start`, padding included."""
    fields = _number(data, start, 12)
    return _FIXED_HEADER + fields + (-fields % 8)


def _number(data: bytearray, start: int, at: int) -> int:
    order: Literal["little", "big"] = "little" if data[start] == ord("l") else "big"
    return int.from_bytes(data[start + at : start + at + 4], order)


async def connect(
    address: str | None,
    on_message: Callable[[Message], None],
    is_wanted: Callable[[Message], bool] = lambda _signal: True,
) -> Connection:
    """Connect, authenticate and say Hello, within 25 seconds; see Connection for the arguments.

    Raises:
        AccessDenied: the daemon rejects the authentication.
        Unavailable: the daemon does not answer.
    """
    connection = Connection(address, on_message, is_wanted)
    try:
        async with asyncio.timeout(25):
            await connection.connect()
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError | OSError | EOFError):
            reason = "no answer within 25 s" if isinstance(error, TimeoutError) else error
            raise errors.Unavailable(f"The bus refused the connection: {reason}.") from error
        raise
    return connection
