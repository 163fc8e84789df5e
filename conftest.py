"""Hooks and fixtures of all tests."""

import gc
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["wire.fixtures"]

ASKED_BY = {"system": ("system", "long"), "long": ("long",)}
"""Markers of tests that boot a systemd, or take minutes, and the words in `-m` that ask for them.
HACKING.md describes them."""

# Examples may be slow, on a loaded machine, and some are large on purpose.
MEASURED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("hive", deadline=None, suppress_health_check=MEASURED)
settings.load_profile("hive")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores SIGINT for commands in the background, and the children of the tests would
    # inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # nohup ignores it, for the children as well.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect system tests and long tests, unless `-m` asks for them."""
    expression = config.option.markexpr
    unasked = [name for name, words in ASKED_BY.items() if not any(w in expression for w in words)]
    left_out = {item for item in items if any(item.get_closest_marker(name) for name in unasked)}
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))
        config.stash[_LEFT_OUT] = len(left_out)


def pytest_collection_finish() -> None:
    """Keep the collector from looking through thousands of tests again and again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print how to run the tests that were left out."""
    if left_out := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{left_out} tests were left out: `make test` and `make test-long` run them, or"
            f" `-m {'` and `-m '.join(ASKED_BY)}`."
        )


_LEFT_OUT = pytest.StashKey[int]()
