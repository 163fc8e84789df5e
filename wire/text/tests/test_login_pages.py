"""The addresses that a container may name to the operator: Anthropic's login pages alone."""

import pytest

from wire.text.login_pages import UnknownPageError, known_page, without_addresses


@pytest.mark.parametrize(
    "address",
    [
        "https://claude.com/cai/oauth/authorize?code=true&scope=org%3Acreate_api_key+user%3Aprofile",
        "https://platform.claude.com/oauth/authorize?state=a-B_c",
        "https://claude.ai/oauth/authorize",
        "https://console.anthropic.com/oauth/authorize?x=y",
    ],
)
def test_pages_of_anthropic(address: str) -> None:
    assert str(known_page(address)) == address


@pytest.mark.parametrize(
    "address",
    [
        r"https://evil.example\@claude.ai/oauth/authorize",
        "https://evil.example;@claude.ai/oauth/authorize",
        "https://evil.example%5c@claude.ai/oauth/authorize",
        "https://evil.example%2f@claude.ai/oauth/authorize",
        "https://claude.ai@evil.example/oauth/authorize",
        "https://claude.ai:443@evil.example/oauth/authorize",
        "https://claude.ai:443/oauth/authorize",
        "https://evil.example/oauth/authorize",
        "https://claude.ai.evil.example/oauth/authorize",
        "https://notclaude.ai/oauth/authorize",
        "https://docs.claude.com/oauth/authorize",
        "https://claude.ai/public/artifacts/1",
        "https://claude.ai/oauth/authorize/../../public/artifacts/1",
        "https://claude.ai//evil.example",
        "https://claude.ai/oauth/authorize#evil",
        "https://cl\u0430ude.ai/oauth/authorize",
        "https:claude.ai/oauth/authorize",
        "javascript:alert(1)",
        "",
        "https://claude.ai/oauth/authorize?a=\x1b]8;;https://evil.example\x07",
        "https://claude.ai/oauth/authorize\n",
        f"https://claude.ai/oauth/authorize?a={'x' * 4096}",
    ],
)
def test_any_other_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UnknownPageError, match="not a login page of Anthropic") as refused:
        known_page(address)
    assert "://" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_a_text_of_a_login_shows_no_address() -> None:
    text = "Log in at http://evil.example/x or http:/\\evil.example\nnow"
    assert without_addresses(text) == "Log in at [address] or [address] now"
