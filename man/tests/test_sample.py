"""The sample of hyperhive.toml: it is not stale, changes nothing, and shows the real defaults."""

import re
import tomllib

from man.sample import FILE, sample
from services.config import Config


def test_it_is_not_stale() -> None:
    assert FILE.read_text() == sample(), "run `make man`"


def test_it_changes_nothing() -> None:
    assert tomllib.loads(FILE.read_text()) == {}


def test_without_its_comments_it_is_the_default_configuration() -> None:
    text = re.sub(r"^#(?! |$)", "", FILE.read_text(), flags=re.MULTILINE)
    assert len(tomllib.loads(text)) > 5
    assert Config.model_validate(tomllib.loads(text)) == Config()
