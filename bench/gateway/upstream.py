"""A Messages API that streams, in a process of its own; each event tells when it was sent.

`python -m bench.gateway.upstream PACE` prints its port. PACE is the seconds between two tokens; a
stream has as many of them as its request allows. The clock is the machine's own monotonic one,
which all processes share.
"""

import asyncio
import json
import sys
from time import monotonic_ns
from typing import Final

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
MOST: Final = b'"max_tokens": '
STAMP: Final = b'"sent":'


def event(kind: str, **values: object) -> bytes:
    """Return a chunk with an event, with the time at its end."""
    values = {"type": kind, **values, "sent": monotonic_ns()}
    data = f"event: {kind}\ndata: {json.dumps(values, separators=(',', ':'))}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: float) -> None:
    """Answer each request with a stream."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            body = await reader.readexactly(length)
            await answer(writer, int(body.split(MOST, 1)[1].split(b",", 1)[0]), pace)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def answer(writer: asyncio.StreamWriter, tokens: int, pace: float) -> None:
    """Send one stream."""
    usage = {"input_tokens": 100, "output_tokens": 1}
    message = {"id": "m", "model": "claude-bench", "role": "assistant", "usage": usage}
    writer.write(HEAD + event("message_start", message=message))
    for _ in range(tokens):
        await asyncio.sleep(pace)  # the pace of the model
        delta = {"type": "text_delta", "text": " word"}
        writer.write(event("content_block_delta", index=0, delta=delta))
    writer.write(event("message_delta", delta={}, usage={"output_tokens": tokens + 1}))
    writer.write(event("message_stop") + b"0\r\n\r\n")
    await writer.drain()


async def main(pace: float) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, pace), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
