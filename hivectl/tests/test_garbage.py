"""hivectl looks for garbage while it works, and not while it starts."""

import gc
from collections.abc import Iterator
from contextlib import nullcontext

import click
import pytest

from hivectl import garbage
from hivectl.clients.hive import Hive
from hivectl.output.terminal import Output
from hivectl.session import hive_command


@pytest.fixture
def settled() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_a_command_that_runs_long_keeps_no_garbage(
    settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setattr(Hive, "connect", nullcontext)

    @click.command
    @hive_command
    async def follow(_hive: Hive, _output: Output) -> None:
        found.append((gc.isenabled(), gc.get_freeze_count() > 0))

    garbage.wait()
    assert not gc.isenabled()
    with pytest.raises(SystemExit):
        follow([])
    assert found == [(True, True)]
