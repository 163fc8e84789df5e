"""Clients of event streams, in a process of their own.

`python -m bench.dashboard.readers PORT SESSION COUNT` opens COUNT streams and prints `ready` when
all of them have begun. At the end of the standard input, it prints the times in seconds, as JSON:
from each mark, which is a time in an event, until a client has read it.
"""

import asyncio
import json
import re
import sys
from time import monotonic_ns

MARK = re.compile(rb"mark:(\d+):")


class Reader(asyncio.Protocol):
    """One client."""

    def __init__(self, request: bytes, times: list[float], begun: "asyncio.Queue[None]") -> None:
        self._request = request
        self._times = times
        self._begun = begun
        self._has_begun = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note the times of the marks."""
        now = monotonic_ns()
        data = self._rest + data
        end = 0
        for found in MARK.finditer(data):
            self._times.append((now - int(found[1])) / 1e9)
            end = found.end()
        self._rest = data[max(end, len(data) - 40) :]
        if not self._has_begun and b"event: reset" in data:
            self._has_begun = True
            self._begun.put_nowait(None)


async def main(port: int, session: str, count: int) -> None:
    """Read until the standard input ends."""
    times: list[float] = []
    begun: asyncio.Queue[None] = asyncio.Queue()
    lines = ("GET /api/events HTTP/1.1", "Host: 127.0.0.1", f"Hyperhive-Session: {session}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Reader(request, times, begun), "127.0.0.1", port)
        for _ in range(count)
    ]
    for _ in range(count):
        await begun.get()
    print("ready", flush=True)
    end = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(end), sys.stdin)
    await end.read()
    for transport, _ in made:
        transport.abort()
    print(json.dumps(times), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
