"""Reloads of systemd: each reads all unit files of the host, so a crowd shares them."""

import asyncio

import pytest

from services.lifecycle.backends import systemd
from services.lifecycle.tests.fake_systemd import Manager
from wire.fixtures import Connect

Host = tuple[systemd.Systemd, Manager]


@pytest.fixture
async def host(connect: Connect) -> Host:
    server, client = await connect(), await connect()
    manager = Manager(server)
    server.export(systemd.SYSTEMD_PATH, manager)
    await server.own(systemd.SYSTEMD)
    return systemd.Systemd(client), manager


async def test_who_asks_while_one_runs_gets_one_that_begins_later(host: Host) -> None:
    client, manager = host
    await asyncio.gather(*[client.reload() for _ in range(20)])
    assert manager.calls == [("Reload",)] * 2


async def test_who_asks_after_one_has_ended_gets_another(host: Host) -> None:
    client, manager = host
    for _ in range(3):
        await client.reload()
    assert manager.calls == [("Reload",)] * 3


async def test_one_who_does_not_wait_for_it_takes_it_from_nobody(host: Host) -> None:
    client, manager = host
    asked = [asyncio.create_task(client.reload()) for _ in range(3)]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.wait(asked)
    assert [task.cancelled() for task in asked] == [True, False, False]
    assert manager.calls[-1] == ("Reload",)
