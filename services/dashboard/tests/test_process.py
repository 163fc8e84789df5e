"""The real process on an inherited socket: start, stop, restart and refusals."""

import asyncio
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from services.dashboard.http.sessions import Sessions
from services.dashboard.tests.browser import TIME_LIMIT
from services.dashboard.tests.process import Process


@pytest.mark.long
async def test_a_restart_ends_the_streams_and_logs_nobody_out(
    bus_address: str, tmp_path: Path
) -> None:
    token = Sessions(tmp_path / "logins.json").create_token()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = Process(listener, bus_address, tmp_path)
        first = await process.start()
        await process.until_told(b"READY=1")
        async with aiohttp.ClientSession(url) as http:
            async with http.post(
                "/login", json={"token": token}, headers={"Origin": url}
            ) as response:
                http.headers["Hyperhive-Session"] = (await response.json())["session"]
            async with http.get("/api/events") as stream:
                last_id = (await stream.content.readuntil(b"\n\n")).decode().split()[3]
                first.send_signal(signal.SIGTERM)
                async with asyncio.timeout(TIME_LIMIT):
                    await stream.content.read()
                    assert await first.wait() == 0
            second = await process.start()
            headers = {"Last-Event-ID": last_id}
            async with asyncio.timeout(TIME_LIMIT):
                # Until the process accepts it, the connection waits in the backlog.
                async with http.get("/api/events", headers=headers) as stream:
                    assert (await stream.content.readuntil(b"\n\n")).startswith(b"event: reset")
                second.send_signal(signal.SIGTERM)
                assert await second.wait() == 0
        process.close()


@pytest.mark.parametrize("fault", ["address", "store"])
async def test_it_refuses_with_one_sentence(bus_address: str, tmp_path: Path, fault: str) -> None:
    host = "0.0.0.0" if fault == "address" else "127.0.0.1"
    if fault == "store":
        (tmp_path / "logins.json").write_text("{")
    with socket.create_server((host, 0)) as listener:
        process = Process(listener, bus_address, tmp_path)
        running = await process.start()
        async with asyncio.timeout(TIME_LIMIT):
            _, errors = await running.communicate()
        process.close()
    assert running.returncode == 78
    sentence = "refuses to listen on 0.0.0.0" if fault == "address" else "Move it away"
    assert sentence in errors.decode()
    assert "Traceback" not in errors.decode()
