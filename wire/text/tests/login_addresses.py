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
)
"""Addresses without white space that begin with `https:`, so that they are looked for."""
