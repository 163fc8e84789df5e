"""The units and the manual name all that exists, and nothing else."""

import re
from pathlib import Path

import pytest

from services.config import Config, Section

REPO = Path(__file__).parents[1]
INSTALLED = "file:///usr/lib/hyperhive/share/doc/hyperhive/"
UNITS = [
    path
    for room in ("services", "harness", "sandbox")
    for path in (REPO / room).rglob("*")
    if path.suffix in (".service", ".socket", ".target", ".slice", ".timer")
    and "tests" not in path.relative_to(REPO).parts
    and "\n[Unit]\n" in f"\n{path.read_text()}"
]


def settings() -> dict[str, object]:
    """Return the default of each setting by its full name."""
    found = {}
    for name, room in Config.model_fields.items():
        section = room.annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        for key, field in section.model_fields.items():
            found[f"{name}.{key}"] = field.get_default(call_default_factory=True)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_documentation_a_unit_names_is_installed(unit: Path) -> None:
    for line in re.findall(r"^Documentation=(.*)$", unit.read_text(), re.MULTILINE):
        for address in line.split():
            if address.startswith("file:"):
                assert address.startswith(INSTALLED)
                assert (REPO / "docs" / address.removeprefix(INSTALLED)).is_file()


@pytest.mark.parametrize(
    "unit",
    [unit for unit in UNITS if "sandbox" not in unit.relative_to(REPO).parts],
    ids=lambda path: path.name,
)
def test_each_unit_names_a_manual_page_that_exists(unit: Path) -> None:
    pages = re.findall(r"\bman:([a-z.]+)\((\d)\)", unit.read_text())
    assert pages
    for name, section in pages:
        assert (REPO / "man" / f"{name}.{section}").is_file()


def test_the_manual_lists_every_setting_and_no_other() -> None:
    manual = (REPO / "docs/operations.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| (.*?) \|", manual, re.MULTILINE))
    assert set(rows) == set(settings())
    for name, default in settings().items():
        if isinstance(default, int):
            assert rows[name] == f"`{str(default).lower()}`", name


def test_each_section_has_services_to_restart() -> None:
    manual = (REPO / "docs/operations.md").read_text()
    table = manual.partition("| section | restart |\n")[2].partition("\n\n")[0]
    page = (REPO / "man/hyperhive.toml.5.md").read_text()
    sections = sorted(f"`[{name}]`" for name in Config.model_fields)
    for listed in (
        re.findall(r"^\| (`\[.*?) \|", table, re.MULTILINE),
        re.findall(r"^(`\[.*)\n:", page, re.MULTILINE),
    ):
        assert sorted(", ".join(listed).split(", ")) == sections


def test_the_help_lists_the_directories_that_destroy_keeps() -> None:
    from hivectl.commands.agents import destroy
    from services.lifecycle.backends.data import CLAUDE, WRITABLE

    kept, _, rest = (destroy.help or "").partition("\n")
    deleted = rest.partition("(")[2].partition(")")[0]
    for part in WRITABLE:
        name = "its login" if part.path == CLAUDE else part.path
        assert name in (kept if part.survives else deleted), name


def test_the_manual_and_the_help_give_the_same_exit_codes() -> None:
    from hivectl.exit_codes import MEANING

    manual = (REPO / "docs/operations.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", manual, re.MULTILINE)
    assert {int(code): text for code, text in rows} == {
        code.value: meaning for code, meaning in MEANING.items()
    }
