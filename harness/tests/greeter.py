"""An MCP server with one tool, on standard input and output or over HTTP."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

TOOL = {
    "name": "greet",
    "description": "Greet somebody.",
    "inputSchema": {"type": "object", "properties": {"who": {"type": "string"}}},
}


def answer(request: dict[str, Any], word: str) -> dict[str, Any] | None:
    """Return the answer to a message; None for a notification."""
    match request.get("method"):
        case "initialize":
            result = {
                "protocolVersion": request["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "greeter", "version": "1"},
            }
        case "tools/list":
            result = {"tools": [TOOL]}
        case "tools/call":
            text = f"{word}, {request['params']['arguments']['who']}!"
            result = {"content": [{"type": "text", "text": text}]}
        case _:
            result = {}
    if "id" not in request:
        return None
    return {"jsonrpc": "2.0", "id": request["id"], "result": result}


FORMS: dict[str, dict[str, Any]] = {
    "form": {
        "mode": "form",
        "message": "How do I greet?",
        "requestedSchema": {
            "type": "object",
            "properties": {
                "word": {"type": "string", "enum": ["Hello", "Good day"]},
                "times": {"type": "integer", "minimum": 1},
            },
            "required": ["word"],
        },
    },
    "address": {"mode": "url", "message": "Log in.", "url": "http://x/", "elicitationId": "1"},
}
"""The requests of this server to its client (elicitation), by the name that is to be greeted."""


def converse(request: dict[str, Any], word: str, calls: dict[str, int]) -> dict[str, Any] | None:
    """Return the message after `request`; a form is asked for before some names are greeted."""
    who = request.get("params", {}).get("arguments", {}).get("who")
    if request.get("method") == "tools/call" and who in FORMS:
        calls["form"] = request["id"]
        return {
            "jsonrpc": "2.0",
            "id": "form",
            "method": "elicitation/create",
            "params": FORMS[who],
        }
    if request.get("id") == "form":
        text = json.dumps(request.get("result") or request.get("error"))
        result = {"content": [{"type": "text", "text": text}]}
        return {"jsonrpc": "2.0", "id": calls["form"], "result": result}
    return answer(request, word)


async def serve(request: "web.Request") -> "web.Response":
    """Answer over HTTP; the word comes in a header."""
    from aiohttp import web  # not above: on standard input and output it would only cost time

    if request.method != "POST":
        return web.Response(status=405)
    reply = answer(await request.json(), request.headers.get("X-Word", "?"))
    return web.Response(status=202) if reply is None else web.json_response(reply)


if __name__ == "__main__":
    calls: dict[str, int] = {}
    for line in sys.stdin:
        if reply := converse(json.loads(line), os.environ.get("WORD", "?"), calls):
            print(json.dumps(reply), flush=True)
