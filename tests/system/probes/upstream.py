"""Answer as a Messages API that is broken in the way of the path: `upstream.py PORT`.

An address such as `http://127.0.0.1:PORT/hang` is an upstream that never answers. `GET /seen` is
the list of the requests so far, with their headers.
"""

import asyncio
import json
import sys

USAGE = {"input_tokens": 10, "output_tokens": 1}
MESSAGE: dict[str, object] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
MIB = 2**20
LONG = 100 * MIB

Headers = dict[str, str]
seen: list[dict[str, object]] = []


def event(kind: str, **values: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n".encode()


BEGIN = event("message_start", message=MESSAGE) + event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)


def delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


END = (
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
    + event("message_stop")
)


PAGE = b"<html>a captive portal</html>"
ANSWERS = {
    "works": STREAM + BEGIN + delta("it works") + END,
    "close": b"",
    "garbage": b"\x00\xff not HTTP at all\r\n\r\n" * 100,
    "head": b"HTTP/1.1 200 OK\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /works\r\nContent-Length: 0\r\n\r\n",
    "page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
    % (len(PAGE), PAGE),
    "stall": STREAM + BEGIN + delta("it begins"),
    "cut": STREAM + BEGIN + delta("it begins") + b"event: content_blo",
    "noise": STREAM + BEGIN + b"data: {\xff\xfe\n\n" * 100,
    "flood": STREAM + BEGIN,
    "large": WHOLE + b"Content-Length: %d\r\n\r\n" % LONG,
}
THEN = {
    "head": b"X-Long: x\r\n" * (MIB // 11),
    "flood": delta("x" * 1000) * (MIB // 1100),
    "large": b" " * MIB,
}
"""A piece that follows the answer, a hundred times."""
WAIT = ("hang", "stall")


async def answer(mode: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWERS.get(mode, b""))
    for _ in range(LONG // MIB if mode in THEN else 0):
        writer.write(THEN[mode])
        await writer.drain()
    if mode in WAIT:
        await reader.read()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        path = first.split(" ")[1]
        if path == "/seen":
            text = json.dumps(seen).encode()
            writer.write(WHOLE + b"Content-Length: %d\r\n\r\n" % len(text) + text)
        else:
            await reader.readexactly(int(headers.get("content-length", "0")))
            seen.append({"path": path, "headers": headers})
            await answer(path.split("/")[1], reader, writer)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
