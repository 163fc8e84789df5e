"""The addresses that a container may name to the operator: Anthropic's login pages alone."""

import pytest

from wire.text.login_pages import UnknownPageError, known_page, without_addresses
from wire.text.tests.login_addresses import REFUSED


@pytest.mark.parametrize(
    "address",
    [
        "https://claude.com/cai/oauth/authorize?code=true&scope=org%3Acreate_api_key+user%3Aprofile",
        "https://platform.claude.com/oauth/authorize?state=a-B_c",
        "https://claude.ai/oauth/authorize",
        "https://console.anthropic.com/oauth/authorize?x=y",
        "https://claude.com/cai/oauth/authorize?code=true&client_id=9d1c250a-e61b-44d9-88ed"
        "&redirect_uri=https%3A%2F%2Fplatform.claude.com%2Foauth%2Fcode%2Fcallback&state=s",
    ],
)
def test_pages_of_anthropic(address: str) -> None:
    assert str(known_page(address)) == address


@pytest.mark.parametrize(
    "address", [*REFUSED, "javascript:alert(1)", "", "https://claude.ai/oauth/authorize\n"]
)
def test_any_other_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UnknownPageError, match="not a login page of Anthropic") as refused:
        known_page(address)
    assert "://" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_a_text_of_a_login_shows_no_address() -> None:
    text = "Log in at http://evil.example/x or http:/\\evil.example\nnow"
    assert without_addresses(text) == "Log in at [address] or [address] now"
    text = "Open evil.example (or www.evil\u3002example): error 4.2, stop. HTTP 400..."
    assert without_addresses(text) == "Open [address] (or [address] error 4.2, stop. HTTP 400..."
