"""pytest fixtures on a real private bus; the repository's conftest.py loads them.

async def test_send(connect: Connect, principals: FixedPrincipals) -> None:
    server, client = await connect(), await connect()
    principals.known[client.unique_name] = agent("alice")   # else: principals.default
    server.export(...)
    await server.own(names.BROKER)
    await client.call(...)
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest

from wire import jitter
from wire.bus import Bus
from wire.testing import FixedPrincipals, private_bus

Connect: TypeAlias = Callable[[], Awaitable[Bus]]
"""A function that makes one more connection to the test's bus; the fixture closes them all."""


@pytest.fixture(autouse=True)
def slow_files() -> Iterator[None]:
    """Delay file operations if HIVE_TEST_JITTER is set; see wire.jitter."""
    with jitter.slow_files():
        yield


@pytest.fixture
async def bus_address() -> AsyncIterator[str]:
    """Return the address of a private bus that lives as long as the test."""
    async with private_bus() as address:
        yield address


@pytest.fixture
def principals() -> FixedPrincipals:
    """Return the table of principals; every connection that is not in it is the operator."""
    return FixedPrincipals()


@pytest.fixture
async def connect(bus_address: str, principals: FixedPrincipals) -> AsyncIterator[Connect]:
    """Return a factory of connections to `bus_address`."""
    async with AsyncExitStack() as stack:

        async def make() -> Bus:
            bus = await Bus.connect(bus_address, principals)
            stack.push_async_callback(bus.close)
            return bus

        yield make
