"""The floor: a server that does nothing but write.

`python -m bench.dashboard.bare FILE` prints its port. `GET /state` answers with the content of
FILE; `GET /api/events` opens a stream; each line on the standard input goes to all streams at once.
"""

import asyncio
import sys
from pathlib import Path

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n"


async def main(state: bytes) -> None:
    """Serve until the process is ended."""
    streams: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                writer.close()
                return
            if head.startswith(b"GET /state"):
                length = f"Content-Length: {len(state)}\r\n\r\n"
                writer.write((HEAD.format("application/json") + length).encode() + state)
                await writer.drain()
                continue
            writer.write((HEAD.format("text/event-stream") + "\r\n").encode())
            writer.write(b"event: reset\nid: bare-0\ndata: {}\n\n")
            streams.add(writer)
            await reader.read()  # until the client closes
            streams.discard(writer)
            writer.close()
            return

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := await lines.readline():
        event = b"data: " + line + b"\n"
        for stream in streams:
            stream.write(event)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes()))
