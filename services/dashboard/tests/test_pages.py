"""The files of the pages: each page is whole, and what pages share stands in one file."""

from pathlib import Path

import pytest

from services.dashboard.http import pages

FILES = pages.load()
PAGES = sorted(name for name in FILES if name.endswith(".html"))


def test_all_pages_are_found() -> None:
    sections = [f"{name}.html" for name in pages.SECTIONS]
    assert sorted(["agent.html", "index.html", "login.html", "turn.html", *sections]) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole(page: str) -> None:
    text = FILES[page].decode()
    assert "<!--" not in text
    for wanted in ('<meta charset="utf-8">', "<title>", "/static/base.css", "<noscript>", "<main"):
        assert text.count(wanted) == 1, wanted
    for file in text.split('="/static/')[1:]:
        assert file.partition('"')[0] in FILES


@pytest.mark.parametrize("page", sorted({*PAGES} - {"login.html"}))
def test_a_page_for_operators_has_the_parts_that_common_js_needs(page: str) -> None:
    text = FILES[page].decode()
    for wanted in ("link", "reconnect", "logout", "notices"):
        assert text.count(f'id="{wanted}"') == 1, wanted


def test_a_shared_part_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<head>\n  <!-- shared_none.html -->\n</head>\n")
    with pytest.raises(KeyError):
        pages.load(tmp_path)
