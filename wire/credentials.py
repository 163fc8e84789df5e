"""The places of credentials, and the command that helps an agent whose credentials are missing."""

import json
import re
from enum import StrEnum
from typing import Final, NamedTuple, Self

KEY_FILE = "/etc/hyperhive/credentials/anthropic_api_key"
"""The file in which earlier versions kept the operator's API key; gateways still read it."""

GATEWAY_DIRECTORY = "/etc/hyperhive/credentials/gateway"
"""The directory of the credentials that the gateways use: `default`, and `agents/NAME`."""

ASSISTANT_DIRECTORY = "/etc/hyperhive/credentials/assistant"
"""The directory of the tokens of assistants: a file for each client, with the hash of its token."""


PROJECT_DIRECTORY: Final = "/etc/hyperhive/credentials/projects"
"""The directory of the credentials of projects: CREDENTIAL for an upstream, PROJECT.webhook for the
secret of a webhook. Those in PROJECT_DIRECTORY with `.cred` are encrypted."""
ENCRYPTED: Final = ".cred"
"""The end of the name of an encrypted file, or of a directory of them."""
WEBHOOK: Final = ".webhook"
"""The end of the name of a file with the secret of a webhook: no credential for upstream has it."""
SIGNING_TOKEN: Final = "whsec_"
"""The beginning of a secret of the Standard Webhooks, which new versions of GitLab make."""
MIN_WEBHOOK_SECRET: Final = 16
"""The characters of the secret of a webhook, at least: anybody may try to guess it."""
PROJECT_CREDENTIAL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""The shape of the name of a credential for an upstream."""


class GithubApp(NamedTuple):
    """A GitHub App, as a credential of projects has it."""

    id: str
    """Its client id, or its number."""
    key: str
    """Its private key, in PEM."""

    def text(self) -> str:
        """Return the content of the credential."""
        return json.dumps({"github_app": self.id, "key": self.key})

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the app of a credential.

        Raises:
            ValueError: it is not one of an app.
        """
        found = json.loads(text)
        if not isinstance(found, dict) or found.keys() != {"github_app", "key"}:
            raise ValueError("it is not a GitHub App")
        return cls(str(found["github_app"]), str(found["key"]))


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
    return (
        f"log it in on its page, or with `hivectl login {name}`; or give all agents an API key or "
        "a token with `hivectl credentials set`"
    )
