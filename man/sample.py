"""The sample of hyperhive.toml: every setting with its default, each as a comment.

A line of text begins with `# `, and a setting with `#` alone, as in the files of systemd.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from man.settings import docstrings, models
from services.config import Config

FILE: Final = Path(__file__).with_name("hyperhive.toml")
WIDTH: Final = 100
HEAD: Final = """
The settings of Hyperhive; hyperhive.toml(5) describes them, with their types and bounds. Each line
below is a comment that shows a default. To change a setting, remove the # before it and the #
before the name of its section, then restart the service of the section. This command checks the
file: /usr/lib/hyperhive/bin/python -P -m services.config"""


def sample() -> str:
    """Return the file."""
    return "\n".join([*_prose(HEAD), *_section(Config(), "")]) + "\n"


def _section(section: BaseModel, path: str) -> Iterator[str]:
    model = type(section)
    below = models(model)
    texts = docstrings(model)
    values = section.model_dump(mode="json")
    for name in model.model_fields:
        if name in below:
            continue
        yield ""
        yield from _prose(texts[name])
        if values[name] is None:
            yield f"# {name} is not set."
        else:
            yield f"#{name} = {_value(values[name])}"
    for name in below:
        place, value = f"{path}{name}", getattr(section, name)
        yield ""
        if isinstance(value, BaseModel):
            yield f"#[{place}]"
            yield from _prose(type(value).__doc__ or "")
            yield from _section(value, f"{place}.")
        else:
            title = f"[[{place}]]" if isinstance(value, tuple) else f"[{place}.NAME]"
            yield from _prose(f"There may be sections {title}; see hyperhive.toml(5).")


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return json.dumps(value)


def _prose(text: str) -> list[str]:
    plain = " ".join(text.split()).replace("`", "")
    return [f"# {line}" for line in textwrap.wrap(plain, WIDTH - 2, break_on_hyphens=False)]
