"""Settings become keys with their descriptions, types, bounds and defaults."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from man.settings import settings
from services.agentfile import AgentFile
from services.config import Config


class Inner(BaseModel):
    """The inner
    section."""

    size: int | None = Field(default=None, ge=1, le=9)
    """The size,
    in bytes."""


class Outer(BaseModel):
    """The file."""

    kind: Literal["a", "b"] = "a"
    """The kind."""
    one: Inner = Inner(size=3)
    """One."""
    many: dict[str, Inner] = {}
    """Many."""
    rows: tuple[Inner, ...] = ()
    """Rows."""


def test_sections_keys_and_defaults() -> None:
    assert settings(Outer).splitlines() == [
        *("## Top level", "", "**kind**", ":   The kind.", ""),
        *('    One of `"a"`, `"b"`; default: `"a"`.', ""),
        *("## [one]", "", "The inner section.", "", "**size**", ":   The size, in bytes.", ""),
        *("    An integer from 1 to 9; default: `3`.", ""),
        *("## [many.NAME]", "", "The keys are those of `[one]`.", ""),
        *("## [[rows]]", "", "The keys are those of `[one]`."),
    ]


@pytest.mark.parametrize("model", [Config, AgentFile])
def test_every_key_of_a_file_is_described(model: type[BaseModel]) -> None:
    found = settings(model).splitlines()
    for name, field in model.model_fields.items():
        assert f"**{name}**" in found or any(f"[{name}" in line for line in found), field


def test_bounds_are_those_of_the_field() -> None:
    found = settings(Config)
    assert "    An integer from 1 to 3600; default: `60`.\n" in found
    assert "    An integer from 64 to 4000000; default: `4096`.\n" in found
