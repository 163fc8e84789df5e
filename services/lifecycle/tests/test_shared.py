"""Shared resources: the operator is told before they are used up."""

import time
from pathlib import Path

import pytest

from services.lifecycle.host import shared
from services.lifecycle.host.shared import EPHEMERAL_PORTS, Shortage, shortages
from services.lifecycle.notices.notice import Notice
from services.lifecycle.tests.room import Room
from services.lifecycle.watch.shared_limits import SharedLimits

SOCKSTAT = """\
sockets: used 999
TCP: inuse 18 orphan 0 tw 64 alloc {tcp} mem 69
UDP: inuse {udp} mem 0
"""


@pytest.fixture
def sockstat(tmp_path: Path) -> Path:
    return tmp_path / "sockstat"


def test_sockets_that_take_nearly_all_ports(tmp_path: Path, sockstat: Path) -> None:
    assert not list(shortages(tmp_path, sockstat))
    sockstat.write_text(SOCKSTAT.format(tcp=100, udp=10))
    assert not list(shortages(tmp_path, sockstat))
    sockstat.write_text(SOCKSTAT.format(tcp=100, udp=EPHEMERAL_PORTS - 1))
    [short] = shortages(tmp_path, sockstat)
    assert short.sentence.startswith("The host has 28231 UDP sockets, and 28232 ports")


def test_processes_of_all_agents(tmp_path: Path, sockstat: Path) -> None:
    group = tmp_path / shared.AGENTS
    group.mkdir(parents=True)
    (group / "pids.current").write_text("90\n")
    (group / "pids.max").write_text("max\n")
    assert not list(shortages(tmp_path, sockstat))
    (group / "pids.max").write_text("100\n")
    [short] = shortages(tmp_path, sockstat)
    assert "have 90 processes and threads, and may have 100" in short.sentence


def test_the_disk(tmp_path: Path, sockstat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "var/lib/hyperhive").mkdir(parents=True)
    monkeypatch.setattr(shared, "DISK_NEAR", 0.0)
    [short] = shortages(tmp_path, sockstat)
    assert "the disk space at" in short.sentence


def test_the_operator_is_told_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Notice] = []
    watch = SharedLimits(lambda: [Shortage("ports", "Look.")], told.append)
    watch.check()
    watch.check()
    assert [(n.kind, n.recipient, n.body) for n in told] == [("shared-limit", "operator", "Look.")]
    again = SharedLimits(lambda: [Shortage("ports", "Look.")], told.append)
    again.check()
    assert len({notice.dedupe_key for notice in told}) == 1, "the broker drops the second"
    monkeypatch.setattr(time, "time", lambda: 2**33)
    watch.check()
    assert len(told) == 3


async def test_each_measurement_of_an_agent_looks_at_them(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.backend.short = [Shortage("ports", "Look.")]
    await room.open()
    await room.spawn("alice")
    assert "shared-limit" in await room.told(2)
    await room.close()
