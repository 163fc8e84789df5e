"""The use that an answer tells, read from a copy of the bytes that pass, without delaying them."""

import json
from dataclasses import dataclass
from typing import Final

from wire.names import MODEL_NAME

MAX_NUMBER: Final = 10_000_000
"""The greatest number of tokens that is believed: no model reads or writes as many."""
MAX_LINE: Final = 1024 * 1024
"""The longest line of a stream that is read; longer ones pass, too."""

_MARKS: Final = (b"message_start", b"message_delta")
_DELTA: Final = b"content_block_delta"
_FRAME: Final = 80
"""The bytes of an event around its text."""
_BYTES_OF_TOKEN: Final = 3
"""Fewer bytes than a token of text has on average, so that an estimate is rather too high."""
_WORDS: Final = bytes(c for c in range(128) if chr(c).isalpha() or chr(c).isspace())
"""The bytes of the input that are rarely tokens of their own, as all others may be."""
_US_PERCENT: Final = 10
"""The surcharge for inference in the US alone, which a workspace may have as its default."""
_TOKENS_OF_SECOND: Final = 100
"""The tokens that a model generates in a second, also those that it does not show."""


@dataclass(slots=True)
class Usage:
    """The use of one request, as far as the answer has told it."""

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0
    web_searches: int = 0
    surcharge: int = 0
    """The percents by which the tokens cost more than the model's price."""
    begun: bool = False
    """Whether the use of the input is known."""
    complete: bool = False
    """Whether all use is known."""
    generated: int = 0
    """An estimate of the output tokens that have passed, from their bytes."""

    def take(self, usage: object) -> None:
        """Take the object `usage` of the API; a later one replaces the numbers that it has."""
        if not isinstance(usage, dict):
            return
        self.input_tokens = _number(usage, "input_tokens", self.input_tokens)
        self.output_tokens = _number(usage, "output_tokens", self.output_tokens)
        self.cache_read_tokens = _number(usage, "cache_read_input_tokens", self.cache_read_tokens)
        self.cache_write_tokens = _number(
            usage, "cache_creation_input_tokens", self.cache_write_tokens
        )
        written, tools = usage.get("cache_creation"), usage.get("server_tool_use")
        if isinstance(written, dict):
            self.cache_write_hour_tokens = _number(
                written, "ephemeral_1h_input_tokens", self.cache_write_hour_tokens
            )
        if usage.get("inference_geo") == "us":
            self.surcharge = _US_PERCENT
        if isinstance(tools, dict):
            self.web_searches = _number(tools, "web_search_requests", self.web_searches)

    def message(self, message: object) -> bool:
        """Take a whole message, or the beginning of one; return whether it has a use."""
        if not isinstance(message, dict) or not isinstance(message.get("usage"), dict):
            return False
        model = message.get("model")
        self.model = model if isinstance(model, str) and MODEL_NAME.fullmatch(model) else ""
        self.take(message["usage"])
        self.begun = True
        return True

    def estimate(self, seconds: float, body: bytes, input_most: int, output_most: int) -> None:
        """Fill in the use of an answer that was cut off, rather too much than too little.

        Args:
            seconds: the time since the request was sent.
            body: the request; empty once the head of an answer has come.
            input_most: the tokens of the input that were reserved, more than it has.
            output_most: the most that the request allowed.
        """
        if not self.begun:
            words = 1 - len(body.translate(None, _WORDS)) / len(body) if body else 1
            self.input_tokens = round(input_most * (1 - words / 2))
        unseen = int(seconds * _TOKENS_OF_SECOND)
        self.output_tokens = min(
            max(self.output_tokens, self.generated, unseen), max(self.output_tokens, output_most)
        )


def _number(values: dict[str, object], key: str, otherwise: int) -> int:
    value = values.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return min(value, MAX_NUMBER)
    return otherwise


class StreamReader:
    """The reader of a stream of server-sent events, in any pieces."""

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self._rest = b""
        self._skipping = False
        self._empty = True

    @property
    def between_events(self) -> bool:
        """Whether the stream so far ends with a whole event."""
        return self._empty and not self._rest and not self._skipping

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        *lines, rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = self._empty = False
            else:
                self._line(line)
        self._skipping = self._skipping or len(rest) > MAX_LINE
        self._rest = b"" if self._skipping else rest

    def _line(self, line: bytes) -> None:
        self._empty = line in (b"", b"\r")
        if not line.startswith(b"data:"):
            return
        # Only events that may tell the use are parsed. The order matters: a client chooses the stop
        # sequence that the last event repeats.
        if any(mark in line for mark in _MARKS):
            self._event(line[5:])
        elif _DELTA in line:
            self._delta(len(line))

    def _delta(self, length: int) -> None:
        self.usage.generated += max(1, (length - _FRAME) // _BYTES_OF_TOKEN)

    def _event(self, data: bytes) -> None:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        match event.get("type"):
            case "message_start":
                self.usage.message(event.get("message"))
            case "message_delta":
                self.usage.take(event.get("usage"))
                self.usage.complete = self.usage.begun and isinstance(event.get("usage"), dict)
            case "content_block_delta":
                self._delta(len(data))


def of_message(body: bytes, usage: Usage) -> bool:
    """Take the use of a whole answer; return whether the body is a message with its use."""
    try:
        usage.complete = usage.message(json.loads(body))
    except (ValueError, RecursionError):
        return False
    return usage.complete
