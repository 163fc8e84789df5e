"""Hostile lines: real frames of every tool, some unchanged, most of them spoiled.

grammar = Grammar(random.Random(7))
line = grammar.line()          # without its end; up to 2 MiB of any bytes but a newline
"""

import json
import random
from collections.abc import Callable
from typing import Final

from services.endpoint.jsonvalues import Json, JsonObject
from services.endpoint.mcp.lines import MAX_LINE
from services.endpoint.mcp.session import (
    CLIENT_KEY,
    ENVELOPE_VERSIONS,
    HANDSHAKE_VERSIONS,
    VERSION_KEY,
)
from services.endpoint.tools.table import TOOLS
from services.endpoint.tools.tool import HARNESS_CLIENT

_METHODS: Final = (
    *("initialize", "ping", "tools/list", "tools/call", "server/discover", "shutdown", ""),
    *("notifications/cancelled", "notifications/initialized", "resources/list", "rpc.\0"),
)
_WORDS: Final = (
    *("alice", "bob", "manager", "operator", "*", "nobody", "a" * 10, "A", "-", "../x", "", "\0"),
    *("idle", "thinking", "é", "\u2028", "\U0001f600", "x" * 5000, "/state/x", "null", "1"),
)
_NUMBERS: Final = (
    *(0, 1, -1, 2, 31, 32, 33, 180, 181, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64),
    *(-(2**63), 10**40, 10**400, 0.0, -0.0, 1.5, 1e308, 5e-324),
)
_LITERALS: Final = (
    *(b"1e999", b"-1e999", b"NaN", b"Infinity", b"-", b"01", b"1.", b".5", b"0x1", b"9" * 4400),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\x"', b'"\x01"', b'"\xed\xa0\x80"'),
    *(
        b'"\xff"',
        b"'a'",
        b"tru",
        b"null",
        b"{}",
        b"[]",
        b"{,}",
        b'{"a":1,}',
        b"//",
        b"\xef\xbb\xbf",
    ),
)
_BIG: Final = 0.0001
"""The share of lines of about a megabyte or two."""


class Grammar:
    """Makes lines, one after the other, from `chance`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._schemas = {tool.name: tool.describe()["inputSchema"] for tool in TOOLS}
        kinds: dict[Callable[[], bytes], int] = {
            self._call: 14,
            self._wrong_call: 22,
            self._plain: 12,
            self._structure: 10,
            self._spoiled: 24,
            self._notice: 8,
            self._odd: 6,
            self._noise: 4,
        }
        self._kinds, self._weights = list(kinds), list(kinds.values())

    def line(self) -> bytes:
        """Return one line."""
        if self._chance.random() < _BIG:
            return self._big()
        [kind] = self._chance.choices(self._kinds, self._weights)
        return kind().replace(b"\n", b" ")

    def hello(self) -> bytes:
        """Return the handshake of a client: a model's or the harness's."""
        name = self._chance.choice(["claude-code", HARNESS_CLIENT])
        version = self._chance.choice(HANDSHAKE_VERSIONS)
        params = {"protocolVersion": version, "clientInfo": {"name": name}}
        return self._frame("initialize", params)

    # Kinds of lines

    def _call(self) -> bytes:
        """Return a call with valid arguments."""
        name, schema = self._chance.choice(list(self._schemas.items()))
        return self._frame("tools/call", {"name": name, "arguments": self._fitting(schema)})

    def _wrong_call(self) -> bytes:
        """Return a call with one fault: a value, one argument too many or too few, or all of it."""
        name, schema = self._chance.choice(list(self._schemas.items()))
        arguments: Json = self._fitting(schema)
        keys = [*schema["properties"], "surprise"]
        match self._chance.randrange(5):
            case 0 | 1:
                arguments[self._chance.choice(keys)] = self._value(3)
            case 2:
                arguments.pop(self._chance.choice(keys), None)
            case 3:
                arguments = self._value(3)
            case 4:
                name = self._chance.choice([*_WORDS, *self._schemas, name.upper()])
        return self._frame("tools/call", {"name": name, "arguments": arguments})

    def _plain(self) -> bytes:
        """Return a request that is not a call, in the form of one version or another."""
        params: Json = self._chance.choice([{}, None, {"cursor": self._value(1)}, self._value(2)])
        if self._chance.random() < 0.4:
            version = self._chance.choice([*ENVELOPE_VERSIONS, "1999-01-01", self._value(1)])
            params = {"_meta": {VERSION_KEY: version, CLIENT_KEY: self._value(2)}}
        elif self._chance.random() < 0.2:
            return self.hello()
        return self._frame(self._chance.choice(_METHODS), params)

    def _structure(self) -> bytes:
        """Return a message whose own fields have any value."""
        fields = {
            "jsonrpc": self._chance.choice(["2.0", "2.0", "2.0", "1.0", self._value(1)]),
            "id": self._id(),
            "method": self._chance.choice([*_METHODS, self._value(1)]),
            "params": self._value(4),
            "result": self._value(2),
            "error": self._value(2),
        }
        kept = [name for name in fields if self._chance.random() < 0.75]
        self._chance.shuffle(kept)
        return _dump({name: fields[name] for name in kept})

    def _notice(self) -> bytes:
        """Return a cancellation, mostly of a recent request, or another notification."""
        method = self._chance.choice(["notifications/cancelled"] * 3 + list(_METHODS))
        message = {"jsonrpc": "2.0", "method": method, "params": {"requestId": self._id()}}
        return _dump(message)

    def _spoiled(self) -> bytes:
        """Return a valid line with some of its bytes changed."""
        good = self._chance.choice([self._call, self._wrong_call, self._plain, self._notice])
        line = bytearray(good())
        for _ in range(self._chance.choice([1, 1, 1, 2, 3, 8])):
            self._spoil(line)
        return bytes(line)

    def _odd(self) -> bytes:
        """Return a line that is small and costly, or a literal on the edge of JSON."""
        depth = self._chance.choice([5, 31, 32, 33, 33, 200, 200, 20_000])
        match self._chance.randrange(6):
            case 0:
                return b"[" * depth + b"]" * self._chance.choice([0, depth])
            case 1:
                return b'{"a":' * depth + b"1" + b"}" * depth
            case 2:
                return b"[" + b'"",' * self._chance.choice([100, 8191, 9000]) + b"1]"
            case 3:
                return b"[" + b"0," * self._chance.choice([100, 33_000]) + b"0]"
            case 4:
                return self._chance.choice([b"", b" ", b"\r", b"\t \r", b'"' * 17_000])
        frame = self._frame("tools/call", {"name": "send", "arguments": {"to": "HERE"}})
        return frame.replace(b'"HERE"', self._chance.choice(_LITERALS))

    def _noise(self) -> bytes:
        return self._chance.randbytes(self._chance.choice([1, 3, 20, 300]))

    def _big(self) -> bytes:
        """Return a line near the limits of a body or of a line."""
        size = self._chance.choice([2**20 - 1, 2**20, 2**20 + 1, MAX_LINE - 90, MAX_LINE + 10])
        filling = self._chance.choice(["x", "é", "\\", '"', "\0", "\U0001f600"])
        body = filling * (size // len(json.dumps(filling, ensure_ascii=False).encode()[1:-1]))
        arguments = {"to": "bob", "body": body}
        return self._frame("tools/call", {"name": "send", "arguments": arguments})

    # The parts of lines

    def _frame(self, method: str, params: Json) -> bytes:
        message = {"jsonrpc": "2.0", "id": self._id(), "method": method, "params": params}
        return _dump(message, ascii=self._chance.random() < 0.5)

    def _id(self) -> Json:
        if self._chance.random() < 0.9:
            return self._chance.randrange(40)
        return self._chance.choice([*_WORDS, *_NUMBERS, None, True, [], {}, "x" * 256, "x" * 257])

    def _value(self, depth: int) -> Json:
        """Return any JSON value."""
        match self._chance.randrange(8 if depth else 5):
            case 0 | 1:
                return self._chance.choice(_WORDS)
            case 2 | 3:
                return self._chance.choice(_NUMBERS)
            case 4:
                return self._chance.choice([None, True, False])
            case 5:
                return [self._value(depth - 1) for _ in range(self._chance.randrange(4))]
        names = [*_WORDS, "name", "arguments", "_meta", "to", "body", "ids", VERSION_KEY]
        return {
            self._chance.choice(names): self._value(depth - 1)
            for _ in range(self._chance.randrange(4))
        }

    def _fitting(self, schema: JsonObject) -> Json:
        """Return a small value that fits `schema`."""
        if "anyOf" in schema:
            return self._fitting(self._chance.choice(schema["anyOf"]))
        if "enum" in schema or "const" in schema:
            return self._chance.choice(schema.get("enum") or [schema["const"]])
        match schema.get("type"):
            case "object":
                needed = schema.get("required", [])
                return {
                    name: self._fitting(part)
                    for name, part in schema.get("properties", {}).items()
                    if name in needed or self._chance.random() < 0.3
                }
            case "array":
                count = self._chance.randrange(schema.get("minItems", 0), 5)
                return [self._fitting(schema["items"]) for _ in range(count)]
            case "integer" | "number":
                least = int(schema.get("minimum", 0))
                return self._chance.randint(least, int(min(schema.get("maximum", 40), least + 40)))
            case "boolean":
                return self._chance.random() < 0.5
            case "string":
                return self._chance.choice(["alice", "bob", "manager", "/state/x", "hello"])
        return None

    def _spoil(self, line: bytearray) -> None:
        at = self._chance.randrange(len(line) + 1)
        length = self._chance.choice([1, 1, 2, 5, 40])
        match self._chance.randrange(5):
            case 0:
                del line[at : at + length]
            case 1:
                line[at:at] = self._chance.randbytes(length)
            case 2:
                line[at : at + length] = self._chance.randbytes(length)
            case 3:
                line[at:at] = line[at : at + length] * self._chance.choice([1, 2, 50])
            case 4:
                line[at:at] = self._chance.choice(_LITERALS)


def _dump(message: Json, *, ascii: bool = True) -> bytes:
    return json.dumps(message, ensure_ascii=ascii, separators=(",", ":")).encode()
