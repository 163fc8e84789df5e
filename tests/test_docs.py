"""The pages hang together: links lead somewhere, the index is whole, tables have one form."""

import ast
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.syntax import statements

REPO = Path(__file__).parents[1]
DOCS = REPO / "docs"
DECISIONS = DOCS / "decisions"
PAGES = sorted(
    path
    for path in (*REPO.glob("*.md"), *REPO.glob("[a-z]*/**/*.md"))
    if "/prompts/" not in str(path) and ".venv" not in path.parts
)
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
MODULES = [
    str(path.relative_to(REPO))
    for pattern in ("[a-z]*.*", "[a-z]*/**/*.py", "nix/**/*.nix")
    for path in REPO.glob(pattern)
]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))


def prose(page: Path) -> str:
    """The text of a page without its blocks of code, and as many lines."""
    lines, fenced, previous = [], False, ""
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            line = ""
        indented = line.startswith("    ") and not previous.lstrip().startswith(("-", "*"))
        lines.append("" if fenced or indented else line)
        previous = line or previous
    return "\n".join(lines)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The page or file that each relative link leads to, and the anchor in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            name, _, anchor = target.partition("#")
            yield (page.parent / name if name else page).resolve(), anchor


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


@EVERY_PAGE
def test_tables_are_whole(page: Path) -> None:
    """A table is a header, a rule and rows, all with as many cells; a blank line would end it."""
    rows: list[str] = []
    for number, line in enumerate([*prose(page).splitlines(), ""], 1):
        if line.startswith("|"):
            rows.append(line)
            continue
        if rows:
            where = f"{page.name}, the table that ends before line {number}"
            assert len(rows) > 2, f"{where}: it is only part of one"
            assert re.fullmatch(r"\|( ?:?-+:? ?\|)+", rows[1]), (
                f"{where}: its second row is no rule"
            )
            cells = {len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in rows}
            assert len(cells) == 1, f"{where}: its rows have different numbers of cells"
        rows = []


@EVERY_PAGE
def test_modules_that_are_named_exist(page: Path) -> None:
    """A name may leave out the folders before it: `backends/nspawn.py`, `store.py`."""
    if page.name == "CHANGELOG.md":
        return  # tells what was
    for name in re.findall(r"`([\w/-]+\.(?:py|nix))`", prose(page)):
        # agent.nix is in the repository of an agent.
        known = (
            "NAME" in name
            or name == "agent.nix"
            or any(f"/{module}".endswith(f"/{name}") for module in MODULES)
        )
        assert known, name


def maps(readme: Path) -> Iterator[tuple[list[Path], str]]:
    """Yield each row of a room's tables of files: the files or folders, and what it says of them.

    A file is named from the room, from the folder of the first file of its row, or from the folder
    that the sentence above the table names.
    """
    folders, is_map = [readme.parent], False
    for line in prose(readme).splitlines():
        if not line.startswith("|"):
            is_map = False
            if line:
                folders = [readme.parent]
                folders += [readme.parent / name for name in re.findall(r"`([\w/]+/)`", line)]
            continue
        first, _, rest = line.strip("| ").partition(" | ")
        if first in ("module", "file", "where", "folder or module", "folder or file"):
            is_map = True
        elif is_map and (names := re.findall(r"`([^` ]+)`", first)):
            near = dict.fromkeys([*folders, (readme.parent / names[0]).parent])
            found = [[path for folder in near for path in folder.glob(name)] for name in names]
            for name, paths in zip(names, found, strict=True):
                assert paths, f"{readme.relative_to(REPO)}: there is no {name}"
            yield [path for paths in found for path in paths], rest


ROOMS = [
    *sorted((REPO / "services").glob("*/README.md")),
    *(REPO / name / "README.md" for name in ("harness", "hivectl", "installer", "sandbox", "wire")),
]
EVERY_ROOM = pytest.mark.parametrize("room", ROOMS, ids=lambda p: p.parent.name)


@EVERY_ROOM
def test_the_files_in_the_table_of_a_room_exist(room: Path) -> None:
    """Also those that the row of a folder names; see `maps`."""
    rows = list(maps(room))
    assert rows, (
        f"{room.relative_to(REPO)} has no table with the header `module`, `file` or `where`"
    )
    for paths, rest in rows:
        if len(paths) == 1 and paths[0].is_dir():
            for name in re.findall(r"`([\w./]+\.(?:py|js))`", rest):
                assert (paths[0] / name).exists(), f"{paths[0].relative_to(REPO)} has no {name}"


@EVERY_ROOM
def test_the_table_of_a_room_names_every_module(room: Path) -> None:
    """A row of a folder names all of its modules, or none, or says that each has its subject."""
    known: set[Path] = set()
    for paths, rest in maps(room):
        known |= {*paths}
        for folder in (path for path in paths if path.is_dir()):
            modules = {path for path in folder.rglob("*") if path.suffix in (".py", ".js")}
            named = {path for path in modules if f"`{path.name}`" in rest}
            known |= named if named and "one module" not in rest else modules
    modules = {path for path in room.parent.rglob("*") if path.suffix in (".py", ".js")}
    rooms = {path.parent for path in room.parent.rglob("*/README.md")}
    missing = [
        str(path.relative_to(room.parent))
        for path in sorted(modules - known)
        if path.name != "__init__.py"
        and not {"tests", "vendor"} & {*path.parts}
        and not rooms & {*path.parents}
    ]
    assert not missing, f"Add these to the table of {room.relative_to(REPO)}"


def test_every_type_of_event_is_described() -> None:
    records = (REPO / "wire/agent_web/records.py").read_text()
    types = re.findall(r'^    type = "([a-z-]+)"$', records, re.MULTILINE)
    assert len(types) > 10
    rows = re.findall(r"^\| (`[a-z`, -]+`) \|", (DOCS / "persistence.md").read_text(), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert not {*types} - described


def test_every_page_of_docs_is_in_the_index() -> None:
    indexed = {target for target, _ in links(DOCS / "README.md")}
    assert indexed >= {page.resolve() for page in DOCS.glob("*.md")} - {DOCS / "README.md"}
    assert indexed >= {page.resolve() for page in REPO.glob("*.md")}
    assert indexed >= {page.resolve() for page in (REPO / "services").glob("*/README.md")}


def test_the_map_names_every_room_and_every_shared_module() -> None:
    text = (REPO / "ARCHITECTURE.md").read_text()
    rooms = {path.parent for path in REPO.glob("[a-z]*/README.md")}
    rooms |= {path.parent for path in (REPO / "services").glob("*/README.md")}
    for room in rooms:
        assert f"[`{room.relative_to(REPO)}/`]" in text
    for module in (REPO / "services").glob("[a-z]*.py"):
        assert f"`services/{module.name}`" in text


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(record.name.split("-")[0]) for record in RECORDS]
    assert numbers == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda p: p.stem)
def test_a_decision_has_number_status_date_and_parts(record: Path) -> None:
    title, _, status, *_ = record.read_text().splitlines()
    number = int(record.name.split("-")[0])
    assert title.startswith(f"# {number}. ")
    found = re.fullmatch(
        r"Status: (accepted|superseded by \[\d+\]\(.*\))\. Date: ([\d-]+)\.", status
    )
    assert found, status
    date.fromisoformat(found[2])
    headings = re.findall(r"^## (.*)$", record.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences"]
    word = found[1].partition(" [")[0]
    row = f"| [{number}]({record.name}) | {title.partition('. ')[2]} | {word} | {found[2]} |"
    assert row in (DECISIONS / "README.md").read_text()


def test_pre_commit_checks_what_make_lint_checks() -> None:
    """Both run the programs of .venv, so a commit that passes one passes the other."""
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert lint
    checks = set(re.findall(r"^\t@\$\(BIN\)/(.*?)(?: \.)?$", lint[1], re.MULTILINE))
    hooks = (REPO / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"^ +entry: \.venv/bin/(.*?)(?: \.)?$", hooks, re.MULTILINE)) == checks


def docstrings(module: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of a module, also those of constants and fields, with their lines."""
    tree = ast.parse(module.read_text())
    for node in (tree, *statements(tree)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value.strip()


def test_docstrings_begin_with_a_subject_or_a_verb() -> None:
    """HACKING.md, Plain English: a clause with "what" or "who" tells nobody what a thing is."""
    headless = re.compile(r"(What|Who|Whose|Whom|Whatever|Whoever|Which)\b")
    assert not [
        f"{module}:{line}: {text.splitlines()[0]}"
        for module in MODULES
        if module.endswith(".py")
        for line, text in docstrings(REPO / module)
        if headless.match(text)
    ]
