"""The costs of a request besides the tokens of its text: in the reservation, or refused."""

import json
from typing import Any

import pytest

from services.gateway.api import body
from services.gateway.api.errors import ApiError
from services.gateway.api.priced import IMAGE_TOKENS, OVERHEAD, SEARCH_TOKENS

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.org/large.png"}}
PDF = {"type": "document", "source": {"type": "base64", "data": "JVBERi0="}}


def encoded(**values: Any) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 9, "messages": [], **values}).encode()


def said(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


@pytest.mark.parametrize(
    "values",
    [
        {"speed": "fast"},
        {"speed": "faster"},
        {"inference_geo": "us"},
        {"fallbacks": "default"},
        {"fallbacks": [{"model": "dear"}]},
        {"mcp_servers": [{"type": "url", "url": "https://example.org"}]},
        {"container": "c_1"},
        {"compaction": {"type": "summary"}},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        {"context_management": {"edits": [{}]}},
        {"context_management": {"edits": {"type": "compact_20260112"}}},
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "dear"}]},
        {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 1}]},
        {"tools": [{"type": "of_tomorrow_20300101"}]},
        {"tools": [{"type": "bash_20250124;web_fetch"}]},
        {"tools": [{"type": ["custom"]}]},
        {"tools": {"type": "custom"}},
        {"tools": ["web_search_20250305"]},
        {"tools": [SEARCH]},
        {"tools": [SEARCH | {"max_uses": 21}]},
        {"tools": [SEARCH | {"max_uses": True}]},
        {"tools": [SEARCH | {"max_uses": 1.5}]},
        said({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": SEARCH}}),
        said({"type": "tool_addition", "tool": {"type": "tool_definition"}}),
        {"Speed": "fast"},
        {"MCP_servers": []},
    ],
)
def test_what_has_no_known_price_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        body.message(encoded(**values))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"speed": "standard", "inference_geo": "global", "fallbacks": [], "mcp_servers": []},
        {"speed": None, "context_management": None, "tools": None, "container": None},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"tools": [{"name": "Bash", "input_schema": {"type": "object"}}, {"type": "custom"}]},
        {"tools": [{"type": "bash_20250124"}, {"type": "tool_search_tool_regex_20251119"}]},
        said({"type": "tool_definition", "definition": {"name": "Bash"}}),
        said({"type": "document", "source": {"type": "text", "data": "words"}}),
    ],
)
def test_the_rest_costs_its_bytes_and_what_the_provider_adds(values: dict[str, Any]) -> None:
    data = encoded(**values)
    asked = body.message(data)
    assert asked == body.Asked("m", len(data) + OVERHEAD, 9)


def test_images_have_more_tokens_than_bytes() -> None:
    data = encoded(**said(IMAGE, {"type": "tool_result", "content": [IMAGE]}))
    assert body.message(data).input_tokens == len(data) + OVERHEAD + 2 * IMAGE_TOKENS


@pytest.mark.parametrize("source", [PDF["source"], {"type": "file", "file_id": "f"}, None, "x"])
def test_the_pages_of_a_document_are_not_known(source: object) -> None:
    data = encoded(**said({"type": "document", "source": source}))
    assert body.message(data).input_tokens == body.MAX_INPUT_TOKENS


def test_after_each_search_all_is_read_again() -> None:
    once = {"type": "tool_definition", "definition": SEARCH | {"max_uses": 1}}
    data = encoded(tools=[SEARCH | {"max_uses": 2}], **said(once))
    asked = body.message(data)
    prompt = len(data) + OVERHEAD
    assert asked.web_searches == 3
    assert asked.input_tokens == 4 * prompt + 6 * SEARCH_TOKENS
    many = body.message(encoded(tools=[SEARCH | {"max_uses": 8}], **said(PDF)))
    assert many.input_tokens == 9 * body.MAX_INPUT_TOKENS, "no model reads more at once"


def test_to_count_tokens_costs_nothing() -> None:
    assert body.count(encoded(speed="fast", **said(PDF))) == body.Asked("m", 0, 0)
