"""A bare proxy: the same library as the gateway's, with nothing between both of its sides.

`python -m bench.gateway.proxy SOCKET PORT` passes requests from a Unix socket to a port of this
host, and prints `ready`. It reads a request whole, because the gateway must.
"""

import asyncio
import sys

import aiohttp
from aiohttp import web


async def main(path: str, port: int) -> None:
    """Serve until the process is ended."""
    session = aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    )

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        url = f"http://127.0.0.1:{port}{request.raw_path}"
        async with session.post(url, data=await request.read()) as answer:
            client = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
            await client.prepare(request)
            while piece := await answer.content.readany():
                await client.write(piece)
            return client

    await asyncio.get_running_loop().create_unix_server(web.Server(handle), path)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
