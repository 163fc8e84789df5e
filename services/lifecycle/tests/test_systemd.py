"""Many requests to systemd at the same time."""

import asyncio

import pytest

from services.lifecycle.host import systemd
from services.lifecycle.tests.fake_systemd import Manager
from wire.clients import systemd as systemd_api
from wire.errors import Conflict
from wire.fixtures import Connect

Host = tuple[systemd.Systemd, Manager]


@pytest.fixture
async def host(connect: Connect) -> Host:
    server, client = await connect(), await connect()
    manager = Manager(server)
    server.export(systemd_api.SYSTEMD_PATH, manager)
    await server.own(systemd_api.SYSTEMD)
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


async def test_a_unit_is_frozen_and_thawed_in_turn(host: Host) -> None:
    client, manager = host
    await asyncio.gather(*[change("a.service") for change in (client.freeze, client.thaw) * 5])
    assert manager.calls == [("FreezeUnit", "a.service"), ("ThawUnit", "a.service")] * 5
    assert manager.most_at_once == 1


async def test_a_freeze_that_does_not_end_is_refused(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, manager = host
    manager.stuck = True
    with monkeypatch.context() as patch:
        patch.setattr(systemd, "FREEZE", 0.1)
        with pytest.raises(Conflict, match=r"did not freeze a\.service in time"):
            await client.freeze("a.service")
    manager.stuck = False
    await client.thaw("a.service")
