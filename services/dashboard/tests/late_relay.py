"""A way to the dashboard on which the answers of some paths are late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class LateRelay:
    """A relay to the dashboard, which holds back the answers of some paths for a while."""

    def __init__(self, port: int, state: float, events: float) -> None:
        self._port = port
        self._late = {b"GET /api/state": state, b"GET /api/events": events}
        self._tasks: set[asyncio.Task[None]] = set()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        dashboard, request = await asyncio.open_connection("127.0.0.1", self._port)
        late = 0.0
        answers: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def ask() -> None:
            nonlocal late
            while data := await reader.read(65536):
                line = data.partition(b"\r\n")[0]
                late = next((s for path, s in self._late.items() if line.startswith(path)), 0.0)
                request.write(data)

        async def collect() -> None:
            while data := await dashboard.read(65536):
                answers.put_nowait((loop.time() + late, data))
            answers.put_nowait((loop.time(), b""))

        async def answer() -> None:
            while True:
                due, data = await answers.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    return
                writer.write(data)

        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.wait(
                [asyncio.create_task(one()) for one in (ask, collect, answer)],
                return_when=asyncio.FIRST_COMPLETED,
            )
        request.close()
        writer.close()
        self._tasks.discard(task)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def late(port: int, state: float = 0.0, events: float = 0.0) -> AsyncIterator[str]:
    """Relay to the dashboard at `port`; answers are so many seconds late. Yield the URL."""
    relay = LateRelay(port, state, events)
    server = await asyncio.start_server(relay.relay, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await relay.close()
