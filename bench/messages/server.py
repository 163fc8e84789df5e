"""Another project's server, running while it is measured."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

START_SECONDS = 10


@asynccontextmanager
async def running(ready: str, *command: str) -> AsyncIterator[None]:
    """Run `command` until the block ends; it begins when a line contains `ready`, in any case."""
    both = asyncio.subprocess.STDOUT
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=both
    )
    assert server.stdout is not None
    said = []
    try:
        async with asyncio.timeout(START_SECONDS):
            async for line in server.stdout:
                said.append(line.decode(errors="replace"))
                if ready in said[-1].lower():
                    break
            else:
                raise RuntimeError(f"{command[0]} did not start:\n{''.join(said)}")
        yield
    finally:
        if server.returncode is None:
            server.terminate()
        await server.communicate()
