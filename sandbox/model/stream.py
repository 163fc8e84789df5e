"""An answer in the two forms of the Messages API: a message object, and its SSE events."""

import json
import uuid
from collections.abc import Iterator
from typing import Final

from sandbox.model.conversation import tokens
from sandbox.model.jsonvalues import JsonObject
from sandbox.model.script import Answer

CHUNK: Final = 24
"""Characters of a delta; so few that clients must join several."""

_DELTAS: Final = {
    "text": "text_delta",
    "thinking": "thinking_delta",
    "partial_json": "input_json_delta",
}

Event = JsonObject


def message(answer: Answer, model: str, input_tokens: int) -> JsonObject:
    """Return the answer as a whole message, for a request without `stream`."""
    blocks: list[JsonObject] = []
    if answer.thinking:
        blocks.append(
            {"type": "thinking", "thinking": answer.thinking, "signature": uuid.uuid4().hex}
        )
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for tool, args in answer.calls:
        blocks.append({"type": "tool_use", "id": _id("toolu"), "name": tool, "input": args})
    return {
        "id": _id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": answer.stop_reason or ("tool_use" if answer.calls else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": input_tokens,
            "output_tokens": tokens(blocks),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            **answer.usage,
        },
    }


def events(whole: JsonObject) -> Iterator[Event]:
    """Yield the events of a stream for a whole message, in their order."""
    usage = {**whole["usage"], "output_tokens": 1}
    head = {**whole, "content": [], "stop_reason": None, "usage": usage}
    yield {"type": "message_start", "message": head}
    for index, block in enumerate(whole["content"]):
        yield from _block(index, block)
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": whole["usage"]["output_tokens"]},
    }
    yield {"type": "message_stop"}


def encode(event: Event) -> bytes:
    """Return an event in the form in which it is sent."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _block(index: int, block: JsonObject) -> Iterator[Event]:
    match block["type"]:
        case "text":
            start, key, text = {**block, "text": ""}, "text", block["text"]
        case "thinking":
            start = {**block, "thinking": "", "signature": ""}
            key, text = "thinking", block["thinking"]
        case _:
            start, key, text = {**block, "input": {}}, "partial_json", json.dumps(block["input"])
    yield {"type": "content_block_start", "index": index, "content_block": start}
    for at in range(0, len(text), CHUNK):
        delta = {"type": _DELTAS[key], key: text[at : at + CHUNK]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    if "signature" in block:
        delta = {"type": "signature_delta", "signature": block["signature"]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"
