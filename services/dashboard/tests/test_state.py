"""The tables and the event log: a mirror that joins at any moment is exact."""

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.state.event_log import EventLog
from services.dashboard.state.history import History
from services.dashboard.state.tables import Table, Tables
from services.dashboard.tests.conftest import TIME_LIMIT
from wire.records.lifecycle import Usage

KEYS = st.sampled_from(["1", "2", "3"])
CHANGES = st.lists(
    st.tuples(
        st.booleans(),
        st.dictionaries(KEYS, st.builds(lambda n: {"n": n}, st.integers(0, 3))),
        st.sets(KEYS),
    ),
    max_size=12,
)


def change(tables: Tables, step: tuple[bool, dict[str, Any], set[str]]) -> None:
    replace, put, remove = step
    if replace:
        tables.replace(Table.AGENTS, put)
    else:
        tables.update(Table.AGENTS, put=put, remove=remove - put.keys())


@given(before=CHANGES, between=CHANGES, after=CHANGES)
def test_a_page_that_subscribes_first_neither_misses_nor_repeats(
    before: list[Any], between: list[Any], after: list[Any]
) -> None:
    log = EventLog("e")
    tables = Tables(log)
    for step in before:
        change(tables, step)
    subscribed = log.seq
    for step in between:
        change(tables, step)
    snapshot = copy.deepcopy(tables.snapshot())
    for step in after:
        change(tables, step)
    rows = dict(snapshot["tables"][Table.AGENTS])
    applied = []
    for entry in log.entries_after(subscribed) or []:
        event = json.loads(entry.data.decode().partition("data: ")[2])
        if event["seq"] > snapshot["seq"]:  # as static/mirror.js does
            applied.append(event["seq"])
            for key in event["remove"]:
                del rows[key]
            rows.update(event["put"])
    assert rows == tables.rows(Table.AGENTS)
    assert applied == list(range(snapshot["seq"] + 1, log.seq + 1))


def test_an_update_without_a_difference_is_not_an_event() -> None:
    log = EventLog("e")
    tables = Tables(log)
    tables.update(Table.AGENTS, put={"a": {"n": 1}})
    tables.update(Table.AGENTS, put={"a": {"n": 1}}, remove={"b"})
    tables.replace(Table.AGENTS, {"a": {"n": 1}})
    assert log.seq == 1


def test_a_reader_that_falls_behind_the_log_is_told() -> None:
    log = EventLog("e", max_bytes=100)
    for n in range(20):
        log.append({"n": n})
    assert log.entries_after(0) is None
    assert [entry.seq for entry in log.entries_after(18) or []] == [19, 20]
    assert log.entries_after(20) == []
    assert log.entries_after(21) is None


def test_event_ids_of_another_log_are_not_accepted() -> None:
    log = EventLog("now")
    assert log.seq_of(log.event_id(7)) == 7
    for strange in ("", "before-7", "now-", "now-x", "7", "now-٣"):
        assert log.seq_of(strange) is None


async def test_readers_are_woken_by_changes_and_by_the_end() -> None:
    log = EventLog("e")
    async with asyncio.timeout(TIME_LIMIT), asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(log.wait_after(0)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(reader.done() for reader in readers)
        log.append({})
    async with asyncio.timeout(TIME_LIMIT), asyncio.TaskGroup() as tasks:
        tasks.create_task(log.wait_after(1))
        await asyncio.sleep(0)
        log.close()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_entries_are_in_order(count: int) -> None:
    log = EventLog("e")
    for _ in range(count):
        log.append({})
    assert [entry.seq for entry in log.entries_after(0) or []] == list(range(1, count + 1))


def test_the_load_is_the_average_between_two_samples() -> None:
    clock = iter([0, 10_000_000, 30_000_000, 40_000_000])
    history = History(lambda: next(clock))
    for cpu, memory in ((1_000_000, 5), (6_000_000, 7), (16_000_000, None), (2_000_000, 9)):
        history.add("alice", Usage(cpu=cpu, memory=memory))
    row = history.row("alice")
    # The first is not known, and the last is that of another run of the container.
    assert row["load"] == [0, 50, 50, 0]
    assert row["memory"] == [5, 7, 9], "a host that does not count memory shows none"
    assert (row["since"], row["at"]) == (30_000_000, 40_000_000)
