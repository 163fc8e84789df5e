"""The body of a request: read up to a bound, and searched for the most that it may use."""

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from services.gateway.api.errors import ApiError
from services.gateway.api.priced import Priced
from wire.names import MODEL_NAME, MODEL_RULE

READ_SECONDS: Final = 60.0
"""Seconds within which a whole body must arrive: the client is on this host."""

MAX_VALUES: Final = 2_000_000
"""Values in a body, by its brackets and commas. A million tokens of text have far fewer; more of
them would only use up the gateway's memory."""

MAX_INPUT_TOKENS: Final = 1_000_000
"""Tokens that a model reads at once."""

_READ: Final = frozenset(
    {
        "model",
        "max_tokens",
        "speed",
        "inference_geo",
        "compaction",
        "container",
        "fallbacks",
        "mcp_servers",
        "context_management",
        "tools",
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of a request that decide what it may use."""

    model: str
    input_tokens: int
    """An upper bound."""
    output_tokens: int
    """An upper bound: its `max_tokens`; 0 for a request that generates nothing."""
    web_searches: int = 0
    """An upper bound of the searches that the provider makes."""


async def read(request: web.BaseRequest, limit: int) -> bytes:
    """Return the body of `request`.

    Raises:
        ApiError: it is too long, encoded or comes too slowly.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiError(415, "a request must not be compressed, because its size is counted.")
    too_long = ApiError(413, f"a request may have at most {limit} bytes (gateway.max_body).")
    if (request.content_length or 0) > limit:
        raise too_long
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            while part := await request.content.readany():
                length += len(part)
                if length > limit:
                    raise too_long
                parts.append(part)
    except TimeoutError:
        raise ApiError(408, f"the request did not arrive within {READ_SECONDS:.0f} s.") from None
    return b"".join(parts)


def message(body: bytes) -> Asked:
    """Return the bounds of the use that a request for a message asks for.

    The upstream must understand the same, so everything that parsers may understand differently is
    refused: keys that occur twice, other encodings, and keys that differ in case alone.

    Raises:
        ApiError: it is not valid.
    """
    priced = Priced()
    values = _object(body, priced)
    priced.check(values)
    tokens = priced.tokens(len(body), MAX_INPUT_TOKENS)
    return Asked(_model(values), tokens, _max_tokens(values), priced.searches)


def count(body: bytes) -> Asked:
    """Return the bounds of a request to count tokens, which generates none.

    Raises:
        ApiError: it is not valid.
    """
    return Asked(_model(_object(body, Priced())), 0, 0)


def _object(body: bytes, priced: Priced) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("a key occurs twice")
        if "type" in values:
            priced.look(values)
        return values

    # A value has a byte at least. To count in a usual body would take longer than to parse it.
    if len(body) > MAX_VALUES and sum(body.count(mark) for mark in (b"{", b"[", b",")) > MAX_VALUES:
        raise ApiError(413, f"a request may have at most {MAX_VALUES} values.")
    try:
        # Not the bytes: json would guess another encoding than the upstream.
        values = json.loads(body.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not valid JSON with each key once.") from None
    if not isinstance(values, dict):
        raise ApiError(400, "the body is not a JSON object.")
    for key in values:
        if key not in _READ and key.casefold() in _READ:
            raise ApiError(400, f"the key {key!r} must be written in lower case.")
    return values


def _max_tokens(values: dict[str, object]) -> int:
    value = values.get("max_tokens")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        raise ApiError(400, "max_tokens must be a positive number.")
    return value


def _model(values: dict[str, object]) -> str:
    model = values.get("model")
    if not isinstance(model, str) or not MODEL_NAME.fullmatch(model):
        raise ApiError(400, f"model must be the name of a model: {MODEL_RULE}.")
    return model
