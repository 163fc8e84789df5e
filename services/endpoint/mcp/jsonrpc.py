"""JSON-RPC 2.0, one message on each line: parsing of requests, and writing of answers."""

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pydantic_core import from_json

from services.endpoint.jsonvalues import Json, JsonObject
from services.endpoint.mcp.rescue import RawId, rescue

MAX_DEPTH: Final = 32
"""Levels of nesting. The deepest message of the protocol has five."""

MAX_STRINGS: Final = 8192
"""Strings in one message, including keys."""

MAX_STRUCTURE: Final = 64 * 1024
"""Bytes of a message outside its strings. A call with a thousand ids needs a third of them.

Together with MAX_STRINGS this limits the memory of a parsed line: `[[],[],...` grows 24 times when
it is parsed.
"""

MAX_ID: Final = 256
"""Characters of a request's id, if the id is a string."""


class Code(IntEnum):
    """The error codes of JSON-RPC and of MCP."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    BUSY = -32000
    UNSUPPORTED_VERSION = -32022


RequestId = int | str


@dataclass(frozen=True, slots=True)
class Request:
    """A message that is answered."""

    id: RequestId
    method: str
    params: JsonObject


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that is not answered."""

    method: str
    params: JsonObject


class RpcError(Exception):
    """A protocol error, which the client gets as the answer.

    Attributes:
        id: The id of the request, or None if it is unknown.
        tool_call: The request is a call of a tool that could not be read. Its answer is a tool's
            result, so that the model can correct the call.
    """

    def __init__(
        self,
        code: Code,
        text: str,
        *,
        id: RequestId | RawId | None = None,
        data: Json = None,
        tool_call: bool = False,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.id = id
        self.data = data
        self.tool_call = tool_call


class BatchError(Exception):
    """The line has several messages.

    Attributes:
        faults: the answers, one for each request in it.
    """

    def __init__(self, faults: list[RpcError]) -> None:
        super().__init__("Batches are not supported")
        self.faults = faults


def parse(line: bytes) -> Request | Notification | None:
    """Parse a line. Return None for a response: the endpoint sends no requests.

    Raises:
        RpcError: the line is not a JSON-RPC 2.0 message; it has the id of the request if the line
            has one anywhere.
        BatchError: the line has several messages.
    """
    try:
        return _parse(line)
    except RpcError as fault:
        if fault.id is None:
            raise refusal(fault.code, str(fault), line) from None
        raise


def refusal(code: Code, text: str, line: bytes, tail: bytes | None = None) -> RpcError:
    """Return the error for a line that is not a valid message, with the id of its request.

    Args:
        code: the code of the error.
        text: the sentence for the client.
        line: the line, or the beginning of a line that is too long.
        tail: the end of that line, if `line` is only its beginning.
    """
    found = rescue(line, tail)
    return RpcError(code, text, id=found.id, tool_call=found.method == b"tools/call")


def result(id: RequestId | RawId, value: JsonObject) -> bytes:
    """Return the line that answers the request `id`.

    Raises:
        ValueError: JSON cannot carry `value`.
    """
    return _line(id, "result", value)


def error(fault: RpcError) -> bytes:
    """Return the line that answers with an error; its id is null if the request's id is unknown."""
    body: JsonObject = {"code": int(fault.code), "message": str(fault)}
    if fault.data is not None:
        body["data"] = fault.data
    return _line(fault.id, "error", body)


def notification(method: str, params: JsonObject) -> bytes:
    """Return the line of a notification to the client."""
    return _json({"jsonrpc": "2.0", "method": method, "params": params})


def _line(id: RequestId | RawId | None, key: str, value: Json) -> bytes:
    written = id if isinstance(id, RawId) else _json(id)
    return b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (written, key.encode(), _json(value))


def _json(value: Json) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # UTF-8 cannot carry half a surrogate pair: an answer with a question mark is an answer.
    return text.encode(errors="replace")


def _parse(line: bytes) -> Request | Notification | None:
    _check_structure(line)
    try:
        message = from_json(line, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise RpcError(Code.PARSE_ERROR, f"This line is not valid JSON: {_short(error)}.") from None
    if isinstance(message, list):
        raise _batch(message)
    if not isinstance(message, dict):
        raise RpcError(Code.INVALID_REQUEST, "A message must be a JSON object.")
    return _message(message)


def _batch(messages: list[Json]) -> RpcError | BatchError:
    """Return the error for a batch: each request in it is refused."""
    text = "Batches are not supported: send one message per line."
    faults = []
    for message in messages:
        if not isinstance(message, dict) or "id" not in message or "method" not in message:
            continue
        try:
            id = _id(message)
        except RpcError:
            id = None
        faults.append(RpcError(Code.INVALID_REQUEST, text, id=id))
    return BatchError(faults) if faults else RpcError(Code.INVALID_REQUEST, text)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


def _check_structure(line: bytes) -> None:
    """Refuse a line that would need much more memory than its length, before it is parsed."""
    plain = line.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 2 * MAX_STRINGS:
        raise RpcError(Code.INVALID_REQUEST, f"A message may have at most {MAX_STRINGS} strings.")
    structure = b"".join(plain.split(b'"')[::2])
    if len(structure) > MAX_STRUCTURE:
        raise RpcError(
            Code.INVALID_REQUEST,
            f"A message may have at most {MAX_STRUCTURE} bytes outside its strings.",
        )
    depth = 0
    for byte in structure:
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise RpcError(
                    Code.INVALID_REQUEST,
                    f"A message may have at most {MAX_DEPTH} nested levels.",
                )
        elif byte in b"]}":
            depth -= 1


def _message(message: JsonObject) -> Request | Notification | None:
    id = _id(message)
    if message.get("jsonrpc") != "2.0":
        raise RpcError(Code.INVALID_REQUEST, 'A message must have "jsonrpc": "2.0".', id=id)
    if "method" not in message and ("result" in message or "error" in message):
        return None
    method = message.get("method")
    if not isinstance(method, str):
        raise RpcError(
            Code.INVALID_REQUEST, "A message must have a method, which is a string.", id=id
        )
    params = message.get("params")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise RpcError(Code.INVALID_PARAMS, "params must be a JSON object.", id=id)
    return Notification(method, params) if id is None else Request(id, method, params)


def _id(message: JsonObject) -> RequestId | None:
    """Return the request's id, or None if it has none."""
    if "id" not in message:
        return None
    id = message["id"]
    if isinstance(id, int) and not isinstance(id, bool) and abs(id) < 2**63:
        return id
    if isinstance(id, str) and len(id) <= MAX_ID:
        return id
    if id is None and "error" in message:
        return None
    raise RpcError(
        Code.INVALID_REQUEST,
        f"An id must be an integer of 64 bits or a string of up to {MAX_ID} characters.",
    )
