"""Any input is a search for texts, and never syntax."""

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.broker.queries.search import MAX_LENGTH, MAX_TERMS, query
from wire.errors import InvalidArgument

BODIES = {
    1: "The quick brown fox jumps over the lazy dog",
    2: "Häuser und HÄFEN, so weit man sieht",
    3: 'she said "brown and quick" AND NOT near',
    4: "a path: /var/lib/hyperhive/broker (see foo_bar-baz)",
    5: "7 ants, 77 bees",
}


@pytest.fixture(scope="module")
def index() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute(
        "CREATE VIRTUAL TABLE found USING fts5(text, tokenize='unicode61 remove_diacritics 2')"
    )
    db.executemany("INSERT INTO found (rowid, text) VALUES (?, ?)", BODIES.items())
    yield db
    db.close()


def matches(db: sqlite3.Connection, text: str) -> list[int]:
    rows = db.execute("SELECT rowid FROM found WHERE found MATCH ? ORDER BY 1", (query(text),))
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("quick brown", [1, 3]),
        ("brown quick", [1, 3]),
        ('"quick brown"', [1]),
        ('"QUICK brown" dog', [1]),
        ("hafen", [2]),
        ("häus*", [2]),
        ("haus", []),
        ('"lazy do"*', [1]),
        ('"so weit', [2]),  # its end is missing
        ("AND NOT", [3]),
        ("fox OR dog", []),
        ("foo_bar-baz", [4]),
        ("/var/lib/hyper*", [4]),
        ("text:fox", []),
        ("- fox", [1]),
        ("7", [5]),
        ("7*", [5]),
        ("fox \N{PILE OF POO}", [1]),
    ],
)
def test_searches_find_texts(index: sqlite3.Connection, text: str, found: list[int]) -> None:
    assert matches(index, text) == found


@pytest.mark.parametrize("text", ["", " ", "*", '""', '"*"', "--", "\0", "\N{PILE OF POO}"])
def test_nothing_to_search_for_is_said(text: str) -> None:
    with pytest.raises(InvalidArgument, match="nothing to search for: give a word"):
        query(text)


def test_searches_are_bounded() -> None:
    query("x" * MAX_LENGTH)
    with pytest.raises(InvalidArgument, match="has 257 characters; at most 256"):
        query("x" * (MAX_LENGTH + 1))
    query("x " * MAX_TERMS)
    with pytest.raises(InvalidArgument, match=r'17 words and phrases .* "one phrase"'):
        query("x " * (MAX_TERMS + 1))


SYNTAX = st.sampled_from(
    [*"\"'*^+-:(){}[],.\\%_;\0\n\ud800", "AND", "OR", "NOT", "NEAR", "NEAR(", "text", "fox"]
)


@given(st.one_of(st.text(max_size=MAX_LENGTH), st.lists(SYNTAX, max_size=20).map("".join)))
def test_no_text_is_an_error_of_the_index(index: sqlite3.Connection, text: str) -> None:
    try:
        asked = query(text)
    except InvalidArgument:
        return
    index.execute("SELECT rowid FROM found WHERE found MATCH ?", (asked,)).fetchall()


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_texts_are_both_there(index: sqlite3.Connection, one: str, other: str) -> None:
    """No text changes the meaning of another one beside it."""
    one, other = one.replace('"', ""), other.replace('"', "")
    try:
        each = set(matches(index, one)) & set(matches(index, other))
        assert set(matches(index, f"{one} {other}")) == each
    except InvalidArgument:
        return
