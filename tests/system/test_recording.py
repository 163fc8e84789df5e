"""The recording in README.md shows what the commands print today."""

from collections.abc import Iterator

import pytest

from sandbox import lifecycle, recording
from sandbox.instance import Instance

pytestmark = [pytest.mark.system, pytest.mark.long]


@pytest.fixture
def instance() -> Iterator[Instance]:
    """Return a sandbox with the hive that is recorded; remove it in the end."""
    instance = Instance("test-recording")
    try:
        recording.start(instance)
        yield instance
    finally:
        lifecycle.down(instance)


def test_it_is_what_the_commands_print(instance: Instance) -> None:
    shown = recording.recorded(recording.README.read_text())
    assert recording.without_moments(shown) == recording.without_moments(recording.record(instance))
