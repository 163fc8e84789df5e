"""The names that an agent may have."""

import pytest

from wire.errors import InvalidArgument
from wire.names import check_agent_name, check_model_name, is_agent_name


@pytest.mark.parametrize("name", ["a", "manager", "alice-2", "a-b-c-d-e", "a--b"])
def test_it_is_valid(name: str) -> None:
    check_agent_name(name)
    assert is_agent_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"),
        ("Alice", "it contains characters other than"),
        ("ålice", "it contains characters other than"),
        ("al ice", "it contains characters other than"),
        ("alice\n", "it contains characters other than"),
        ("alice-and-bob", "it has 13 characters"),
        ("2bob", "it does not begin with a letter"),
        ("-bob", "it does not begin with a letter"),
        ("bob-", "it ends with a hyphen"),
        ("a-", "it ends with a hyphen"),
        ("-", "it does not begin with a letter"),
        ("operator", "it is reserved. Choose another name."),
        ("system", "it is reserved. Choose another name."),
    ],
)
def test_it_is_refused_with_value_rule_and_remedy(name: str, reason: str) -> None:
    assert not is_agent_name(name)
    with pytest.raises(InvalidArgument) as refusal:
        check_agent_name(name)
    assert str(refusal.value).startswith(f"{name!r} is not a valid agent name: {reason}")
    assert "reserved" in reason or "Use 1 to 9 lower-case letters" in str(refusal.value)


def test_a_hostile_name_is_shown_short_and_harmless() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_agent_name("\x1b[31m" + "x" * 10_000)
    assert len(str(refusal.value)) < 250
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize(
    "name",
    [
        "claude-sonnet-4-5",
        "sonnet[1m]",
        "us.anthropic.claude-opus-4-1-20250805-v1:0",
        "claude-opus-4-1@20250805",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
        "x" * 128,
    ],
)
def test_a_models_name(name: str) -> None:
    check_model_name(name)


@pytest.mark.parametrize("name", ["", "-p", "a b", "a\n", "a,b", "cl\u0430ude", "x" * 129])
def test_another_models_name_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is not a valid name of a model\. Use 1 to 128 of"):
        check_model_name(name)
