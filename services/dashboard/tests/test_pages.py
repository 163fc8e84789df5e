"""The files of the pages: each page is whole, and what pages share stands in one file."""

import re
from collections import Counter
from pathlib import Path

import pytest

from services.dashboard.http import pages

FILES = pages.load()
PAGES = sorted(name for name in FILES if name.endswith(".html"))


def test_all_pages_are_found() -> None:
    sections = [f"{name}.html" for name in pages.SECTIONS]
    others = ["agent", "change", "configuration", "error", "index", "login", "terminal", "turn"]
    assert sorted([*(f"{name}.html" for name in others), *sections]) == PAGES


@pytest.mark.parametrize("page", sorted({*PAGES} - {"error.html"}))
def test_a_page_is_whole(page: str) -> None:
    text = FILES[page].decode()
    assert "<!--" not in text
    for wanted in ('<meta charset="utf-8">', "<title>", "/static/base.css", "<noscript>", "<main"):
        assert text.count(wanted) == 1, wanted
    for file in text.split('="/static/')[1:]:
        assert file.partition('"')[0] in FILES


@pytest.mark.parametrize("page", sorted({*PAGES} - {"error.html", "login.html", "terminal.html"}))
def test_a_page_for_operators_has_the_parts_that_common_js_needs(page: str) -> None:
    text = FILES[page].decode()
    for wanted in ("link", "reconnect", "logout", "notices"):
        assert text.count(f'id="{wanted}"') == 1, wanted


@pytest.mark.parametrize("page", sorted({*PAGES} - {"error.html", "login.html"}))
def test_a_page_names_the_version_of_the_scripts(page: str, tmp_path: Path) -> None:
    [version] = re.findall(
        r'<meta name="hyperhive-version" content="([0-9a-f]{16})">', FILES[page].decode()
    )
    for name, text in {"page.html": 'content="VERSION"', "a.js": "1", "b.js": "2"}.items():
        (tmp_path / name).write_text(text)
    first = pages.load(tmp_path)["page.html"]
    (tmp_path / "b.js").write_text("3")
    assert len({f'content="{version}"'.encode(), first, pages.load(tmp_path)["page.html"]}) == 3


def test_what_pages_share_stands_in_one_file() -> None:
    """No five lines in a row are at the top of two pages."""
    runs: Counter[tuple[str, ...]] = Counter()
    for page in sorted({*PAGES} - {"error.html", "login.html"}):
        lines = (pages.STATIC / page).read_text().partition("    <main")[0].splitlines()
        runs.update({tuple(lines[at : at + 5]) for at in range(len(lines) - 4)})
    assert [run for run, count in runs.items() if count > 1] == []


def test_a_part_may_have_parts(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<!-- shared_a.html -->\n<main>\n")
    (tmp_path / "shared_a.html").write_text("<!-- shared_b.html -->\na\n")
    (tmp_path / "shared_b.html").write_text("b\n")
    assert pages.load(tmp_path)["page.html"] == b"b\na\n<main>\n"


def test_a_shared_part_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<head>\n  <!-- shared_none.html -->\n</head>\n")
    with pytest.raises(KeyError):
        pages.load(tmp_path)
