"""/etc/hyperhive/hyperhive.toml: one section a room, checked; what is not there has a default.

    config = Config.load()
    config.broker.max_body_bytes

Each room adds the fields it needs to its section's class here. A field has a default, bounds
(`Field(ge=1)`) and a docstring-like comment; the file may leave out everything. HYPERHIVE_CONFIG in
the environment names another file.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PATH: Final = Path("/etc/hyperhive/hyperhive.toml")
ENVIRONMENT: Final = "HYPERHIVE_CONFIG"


class ConfigError(Exception):
    """The configuration cannot be used; the one sentence says file, key and what is allowed."""


class Section(BaseModel):
    """What all sections have in common: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerConfig(Section):
    """[broker]"""

    max_body_bytes: int = Field(default=1024 * 1024, ge=1, le=8 * 1024 * 1024)


class LifecycleConfig(Section):
    """[lifecycle]"""


class ApprovalsConfig(Section):
    """[approvals]"""


class DashboardConfig(Section):
    """[dashboard]"""


class AgentConfig(Section):
    """[agent]: the endpoints of the agent sockets."""


class HarnessConfig(Section):
    """[harness]: what runs inside the containers."""

    scripted_model_url: str | None = None


class Config(Section):
    """The whole file."""

    broker: BrokerConfig = BrokerConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    approvals: ApprovalsConfig = ApprovalsConfig()
    dashboard: DashboardConfig = DashboardConfig()
    agent: AgentConfig = AgentConfig()
    harness: HarnessConfig = HarnessConfig()

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The configuration in `path`, else in $HYPERHIVE_CONFIG, else in PATH.

        A missing file is the default configuration, unless it was named. Raises ConfigError.
        """
        named = path or os.environ.get(ENVIRONMENT)
        file = Path(named or PATH)
        try:
            text = file.read_text()
        except FileNotFoundError:
            if named:
                raise ConfigError(f"{file} does not exist.") from None
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} cannot be read: {error}.") from error
        return cls._parse(file, text)

    @classmethod
    def _parse(cls, file: Path, text: str) -> Self:
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file} is no valid TOML: {error}.") from error
        except ValidationError as error:
            raise ConfigError(f"{file}: {_sentence(cls, error)}") from error


def _sentence(model: type[BaseModel], error: ValidationError) -> str:
    """The first thing that is wrong, as one sentence."""
    first: Any = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{key} is unknown; known are: {_known(model, first['loc'][:-1])}."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{key} = {first['input']!r} does not fit: {message}."


def _known(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    for part in path:
        inner = model.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return "nothing"
        model = inner
    return ", ".join(model.model_fields) or "nothing"
