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


async def serve(request: "web.Request") -> "web.Response":
    """Answer over HTTP; the word comes in a header."""
    from aiohttp import web  # not above: on standard input and output it would only cost time

    if request.method != "POST":
        return web.Response(status=405)
    reply = answer(await request.json(), request.headers.get("X-Word", "?"))
    return web.Response(status=202) if reply is None else web.json_response(reply)


if __name__ == "__main__":
    for line in sys.stdin:
        if reply := answer(json.loads(line), os.environ.get("WORD", "?")):
            print(json.dumps(reply), flush=True)
