"""The options of the NixOS modules are those of the settings."""

import pytest

from man import nix_options, nix_page


def test_the_file_is_not_stale() -> None:
    assert nix_options.FILE.read_text() == nix_options.nix_options(), "run `make man`"


def test_each_kind_of_key_has_its_type() -> None:
    """As the shipped file shows: one line for each kind."""
    text = nix_options.nix_options()
    for line in (
        'max_redeliveries = setting (types.ints.between 0 1000) "',
        'hive_messages_per_hour = setting (atLeast 1) "',
        "memory_max = setting (size 16777216) ",
        'network = setting (types.enum [ "gateway" "host" "none" ]) ',
        "users = setting (types.attrsOf (types.enum [ ",
        "webhooks = setting (types.listOf (withOptions webhook)) ",
        "agents = sections agentSettings ",
        "resources = section resourceLimits ",
        "input = required (between 0 10000) ",
        "day = setting (above 0 10000000) ",
        'name = required (types.strMatching "[a-z0-9-]{1,32}") ',
    ):
        assert f"    {line}" in text


@pytest.mark.skipif(not nix_page.is_possible(), reason="nix is not installed")
def test_the_page_is_not_stale() -> None:
    assert nix_page.FILE.read_text() == nix_page.page(), "run `make man`"
