"""An MCP server with one tool, on standard input and output or behind a URL."""

import json
import os
import sys
from typing import Any

from aiohttp import web

TOOL = {
    "name": "greet",
    "description": "Greet somebody.",
    "inputSchema": {"type": "object", "properties": {"who": {"type": "string"}}},
}


def answer(request: dict[str, Any], word: str) -> dict[str, Any] | None:
    """The answer to one request; None for what wants none."""
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


async def serve(request: web.Request) -> web.Response:
    """The same over HTTP; the word comes in a header."""
    if request.method != "POST":
        return web.Response(status=405)
    reply = answer(await request.json(), request.headers.get("X-Word", "?"))
    return web.Response(status=202) if reply is None else web.json_response(reply)


if __name__ == "__main__":
    for line in sys.stdin:
        if reply := answer(json.loads(line), os.environ.get("WORD", "?")):
            print(json.dumps(reply), flush=True)
