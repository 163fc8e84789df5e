"""Addresses that a login may print, and that are not login pages of Anthropic."""

from typing import Final

REFUSED: Final = (
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
    r"https:\\claude.ai/oauth/authorize",
    "https://claude.ai/oauth/authorize?a=\x1b]8;;https://evil.example\x07",
    f"https://claude.ai/oauth/authorize?a={'x' * 4096}",
    "https://claude.ai/oauth/authorize?client_id=x&redirect_uri=https%3A%2F%2Fevil.example%2Fcb",
    "https://claude.ai/oauth/authorize?redirect_uri=http%3A%2F%2Flocalhost%3A7000%2Fcallback",
    "https://claude.ai/oauth/authorize?redirect%5furi=https%3A%2F%2Fevil.example",
    "https://claude.ai/oauth/authorize?client_id=another",
    "https://claude.ai/oauth/authorize?client_id=x"
    "&redirect_uri=https%3A%2F%2Fplatform.claude.com%2Foauth%2Fcode%2Fcallback"
    "&redirect_uri=https%3A%2F%2Fevil.example",
    "https://claude.ai/oauth/authorize?client_id=x"
    "&redirect_uri=https%3A%2F%2Fplatform.claude.com%2Foauth%2Fcode%2Fcallback%3Fa",
)
"""Addresses without white space that begin with `https:`, so that they are looked for."""
