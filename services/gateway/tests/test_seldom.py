"""The journal has few lines, however often an agent causes them."""

from pathlib import Path

import pytest

from services.gateway.tests.stage import stage
from wire.errors import Unavailable


async def test_refusals_do_not_fill_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with stage(tmp_path) as hive:
        hive.ledger.fail += [Unavailable("gone")] * 5
        for number in range(10):
            request = f"CONNECT {number}.example.org:443 HTTP/1.1\r\n\r\n".encode()
            assert (await hive.raw(request, proxy=True)).startswith(b"HTTP/1.1 403 ")
            assert (await hive.raw(b"garbage\r\n\r\n", proxy=True)).startswith(b"HTTP/1.1 400 ")
            assert b" 400 " in await hive.raw(b"garbage\r\n\r\n")
    assert [record.message for record in caplog.records] == ["Refusals cannot be recorded: gone"]
