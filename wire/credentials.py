"""The places of credentials, and the command that helps an agent whose credentials are missing."""

from enum import StrEnum

KEY_FILE = "/etc/hyperhive/credentials/anthropic_api_key"
"""The file in which earlier versions kept the operator's API key; gateways still read it."""

GATEWAY_DIRECTORY = "/etc/hyperhive/credentials/gateway"
"""The directory of the credentials that the gateways use: `default`, and `agents/NAME`."""

ASSISTANT_DIRECTORY = "/etc/hyperhive/credentials/assistant"
"""The directory of the tokens of assistants: a file for each client, with the hash of its token."""


class AssistantRight(StrEnum):
    """A right of an assistant's token, in addition to that to read."""

    SEND = "send"
    """Send messages in the operator's name."""
    ANSWER = "answer"
    """Answer questions in the operator's name."""
    APPROVE = "approve"
    """Approve and deny requests."""


def remedy(name: str, credential: str) -> str:
    """Return the remedy for missing or refused credentials, for the operator.

    Args:
        name: the agent.
        credential: the kind of credentials that its harness uses: `key`, `login`, `scripted` or
            `none`; empty if that is not known.
    """
    if credential == "key":
        return (
            "its API key is refused: give a valid one with `hivectl credentials set` for all "
            f"agents, or with `hivectl credentials set {name}`"
        )
    if credential == "scripted":
        return (
            "the scripted model refuses the requests: see its log, and `scripted_model_url` in "
            "hyperhive.toml"
        )
    return f"log it in on its page, or with `hivectl login {name}`"
