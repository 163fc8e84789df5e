"""The grammar of URLs: what programs read differently is not in it."""

# ruff: noqa: RUF001 - the letter that looks like another is meant

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.text.urls import Url, parse


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://claude.ai", Url("claude.ai", "", "")),
        ("https://claude.ai/", Url("claude.ai", "/", "")),
        ("https://a-b.c.example/d/e_f~g-1.h", Url("a-b.c.example", "/d/e_f~g-1.h", "")),
        ("https://a.example?b=c%3A%2F+d&e=", Url("a.example", "", "b=c%3A%2F+d&e=")),
    ],
)
def test_urls_of_the_grammar(text: str, url: Url) -> None:
    assert parse(text) == url
    assert str(url) == text


@pytest.mark.parametrize(
    "text",
    [
        r"https://evil.example\@claude.ai/",
        r"https://evil.example\.claude.ai/",
        "https://evil.example;@claude.ai/",
        "https://evil.example%5c@claude.ai/",
        "https://evil.example%2f@claude.ai/",
        "https://evil.example%00.claude.ai/",
        "https://evil.example#@claude.ai/",
        "https://evil.example?@claude.ai/",
        "https://evil.example/@claude.ai/",
        "https://claude.ai@evil.example/",
        "https://claude.ai:443/",
        "https://claude.ai:x@evil.example/",
        "https://claude.ai./",
        "https://CLAUDE.ai/",
        "HTTPS://claude.ai/",
        "http://claude.ai/",
        "https:claude.ai/",
        "https:/claude.ai/",
        "https:///claude.ai/",
        r"https:\\claude.ai/",
        "https://claude.ai/\\evil",
        "https://claude.ai//evil.example",
        "https://claude.ai/a/../b",
        "https://claude.ai/./b",
        "https://claude.ai/%2e%2e/b",
        "https://claude.ai/;a",
        "https://claude.ai/#a",
        "https://claude.ai/?a=%zz",
        "https://claude.ai/?a=b#c",
        "https://claude.ai/?a=<b>",
        "https://claude.ai/ ",
        "https://claude.ai/\n",
        "https://claude.ai/\x1b]8;;https://evil.example\x07",
        "https://clаude.ai/",
        "https://xn--/",
        "https://-a.example/",
        "https://localhost/",
        "https://[::1]/",
        "https://a..b/",
        "https://" + "a." * 130 + "example/",
        "https://a.example/" + "a" * 5000,
        "https://claude.ai\u3002evil.example/",
        "https://claude.ai\uff0fevil.example/",
    ],
)
def test_everything_else_is_not_a_url(text: str) -> None:
    assert parse(text) is None


@given(st.text(st.sampled_from("ab.:/@\\?#%;5c2f-_ \n")))
def test_a_url_is_printed_from_its_parts(rest: str) -> None:
    if url := parse("https://" + rest):
        assert parse(str(url)) == url
        assert not set("\\@#; \n") & set(str(url))
        assert url.host == url.host.strip(".-")
