"""The command that helps an agent whose credentials are missing or refused."""

KEY_FILE = "/etc/hyperhive/credentials/anthropic_api_key"
"""The file of the operator's API key, which takes precedence over an agent's login."""


def remedy(name: str, credential: str) -> str:
    """Return the remedy for missing or refused credentials, for the operator.

    Args:
        name: the agent.
        credential: the kind of credentials that its harness uses: `key`, `login`, `scripted` or
            `none`; empty if that is not known.
    """
    if credential == "key":
        return (
            f"the API key is refused: put a valid one into {KEY_FILE}, then `hivectl restart "
            f"{name}`"
        )
    if credential == "scripted":
        return (
            "the scripted model refuses the requests: see its log, and `scripted_model_url` in "
            "hyperhive.toml"
        )
    return f"log it in on its page, or with `hivectl login {name}`"
