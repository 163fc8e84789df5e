"""Check that no code polls or drops errors in silence: each pause is explained where it stands."""

import ast
import re
from pathlib import Path

REPO = Path(__file__).parents[1]
TOP = ("wire", "services", "harness", "hivectl", "installer", "man", "sandbox", "bench")
MODULES = [
    path.relative_to(REPO)
    for top in TOP
    for path in sorted((REPO / top).rglob("*.py"))
    if "tests" not in path.relative_to(REPO).parts
]
SLEEP = re.compile(r"\b(?:asyncio|time|self)\._?sleep\(")


def handled(node: ast.Try) -> list[ast.ExceptHandler]:
    """Return the handlers of all errors that do nothing."""
    return [
        handler
        for handler in node.handlers
        if (handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException"))
        and all(isinstance(line, ast.Pass | ast.Continue) for line in handler.body)
    ]


def suppresses_all(node: ast.Call) -> bool:
    """Return whether a call is `suppress(Exception)`."""
    names = {ast.unparse(argument) for argument in node.args}
    return ast.unparse(node.func).endswith("suppress") and bool(
        names & {"Exception", "BaseException"}
    )


def test_each_pause_says_why_it_is_not_an_event() -> None:
    """The comment stands directly above the pause, or behind it."""
    unexplained = []
    for module in MODULES:
        lines = (REPO / module).read_text().splitlines()
        for number, line in enumerate(lines):
            above = lines[number - 1].strip()
            if SLEEP.search(line) and not (above.startswith("#") or "  # " in line):
                unexplained.append(f"{module}:{number + 1}: {line.strip()}")
    assert not unexplained


def test_no_error_is_dropped_unseen() -> None:
    dropped = []
    for module in MODULES:
        for node in ast.walk(ast.parse((REPO / module).read_text())):
            if isinstance(node, ast.Try):
                dropped += [f"{module}:{handler.lineno}" for handler in handled(node)]
            elif isinstance(node, ast.Call) and suppresses_all(node):
                dropped.append(f"{module}:{node.lineno}")
    assert not dropped
