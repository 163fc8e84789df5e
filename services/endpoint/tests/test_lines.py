import asyncio

import pytest

from services.endpoint.mcp.lines import Budget, LineReader, OverloadError, TooLongError


def reader(data: bytes, *, limit: int = 10, budget: Budget | None = None) -> LineReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return LineReader(stream, budget or Budget(1 << 20), limit=limit)


async def test_lines_come_one_by_one_and_the_last_needs_no_newline() -> None:
    lines = reader(b"one\n\ntwo\nhal")
    assert [await lines.line() for _ in range(5)] == [b"one", b"", b"two", b"hal", None]


async def test_too_long_a_line_is_announced_once_and_skipped() -> None:
    lines = reader(b"short\n" + b"x" * 300_000 + b"\nafter\n", limit=1000)
    assert await lines.line() == b"short"
    with pytest.raises(TooLongError):
        await lines.line()
    assert await lines.line() == b"after"
    assert await lines.line() is None


async def test_a_line_just_over_the_limit_is_too_long_although_its_end_is_there() -> None:
    lines = reader(b"0123456789\n0123456789a\nb\n")
    assert await lines.line() == b"0123456789"
    with pytest.raises(TooLongError):
        await lines.line()
    assert await lines.line() == b"b"


async def test_the_budget_is_charged_for_held_lines_and_given_back() -> None:
    budget = Budget(1 << 20)
    stream = asyncio.StreamReader()
    stream.feed_data(b"one\ntwo\nhalf")
    lines = LineReader(stream, budget)
    assert await lines.line() == b"one"
    assert await lines.line() == b"two"
    assert budget.held == len("onetwohalf")
    lines.close()
    assert budget.held == len("onetwo")


async def test_thrown_away_lines_cost_nothing() -> None:
    budget = Budget(1 << 20)
    lines = reader(b"x" * 500_000 + b"\n", limit=1000, budget=budget)
    with pytest.raises(TooLongError):
        await lines.line()
    assert await lines.line() is None
    assert budget.held == 0


async def test_over_the_budget_is_refused() -> None:
    lines = reader(b"x" * 200, limit=1000, budget=Budget(100))
    with pytest.raises(OverloadError):
        await lines.line()


async def test_a_line_that_is_too_long_is_announced_as_soon_as_its_id_is_known() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b'{"id":7,"x":"' + b"y" * 2000)
    lines = LineReader(stream, Budget(1 << 20), limit=1000)
    with pytest.raises(TooLongError) as caught:
        await lines.line()
    assert caught.value.head.startswith(b'{"id":7')
    stream.feed_data(b'"}\nnext\n')
    assert await lines.line() == b"next"


async def test_the_end_of_a_line_that_is_too_long_is_kept() -> None:
    line = b'{"x":"' + b"y" * 200_000 + b'","id":7}\n'
    lines = reader(line, limit=1000)
    with pytest.raises(TooLongError) as caught:
        await lines.line()
    assert caught.value.tail is not None
    assert caught.value.tail.endswith(b'","id":7}')


async def test_each_line_over_the_budget_is_refused() -> None:
    lines = reader(b"a\n\nb\nc", limit=1000, budget=Budget(2))
    heads = []
    for _ in range(3):
        with pytest.raises(OverloadError) as caught:
            await lines.line()
        heads.append(caught.value.head)
    assert heads == [b"a", b"b", b"c"]
    assert await lines.line() is None
