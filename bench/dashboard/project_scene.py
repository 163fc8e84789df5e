"""Projects and changes of a busy hive, for pictures of the dashboard."""

from typing import Final

from bench.dashboard import scene
from services.dashboard.tests.fakes.changes import commit_of
from services.dashboard.tests.fakes.hive import FakeHive
from services.dashboard.tests.fakes.projects import TIP
from wire.records.changes import ChangeCommit, ChangedFile, ChangeState, Comment
from wire.records.lifecycle import ProjectAccess
from wire.records.projects import Branch, ProjectState

REVIEWED: Final = 3
"""The change whose page is looked at."""

OLD: Final = """def lines(stream: Iterable[bytes]) -> Iterator[str]:
    buffer = b""
    for chunk in stream:
        *whole, buffer = (buffer + chunk).split(b"\\n")
        yield from (line.decode() for line in whole)
"""
NEW: Final = (
    OLD.replace("whole)\n", 'whole if line != b"\\r")\n')
    + """    if buffer:
        yield buffer.decode()
"""
)
DIFF: Final = (
    scene.changed("src/parser.py", OLD, NEW)
    + "diff --git a/bin/run.sh b/bin/start.sh\nold mode 100644\nnew mode 100755\n"
    "similarity index 96%\nrename from bin/run.sh\nrename to bin/start.sh\n"
    "--- a/bin/run.sh\n+++ b/bin/start.sh\n@@ -1,4 +1,5 @@\n #!/bin/sh\n set -eu\n"
    "-exec python3 parser.py\r\n+# the\u200b parser\n+exec python3 -m parser\n \n"
    "diff --git a/logo.png b/logo.png\nindex 1..2 100644\n"
    "Binary files a/logo.png and b/logo.png differ\n"
)
FILES: Final = [
    ChangedFile("src/parser.py", "src/parser.py", "M", "100644", "100644", False, 3, 1, 900, 980),
    ChangedFile("bin/start.sh", "bin/run.sh", "R", "100644", "100755", False, 2, 1, 52, 71),
    ChangedFile("logo.png", "logo.png", "M", "100644", "100644", True, 0, 0, 20_000, 31_400),
]
DESCRIPTION: Final = """The parser drops the last line of a file without a newline.

- `lines()` yields what is left in the buffer
- a test for each kind of ending

| file | before | after |
|---|---|---|
| without a newline | 2 lines | 3 lines |
"""


def fill(hive: FakeHive, now: int) -> None:
    """Fill the fakes, before they are served; the agents are there already."""
    projects, changes = hive.projects, hive.changes
    projects.add("website", fetched=now - 4 * scene.MINUTE)
    projects.add(
        "parser",
        source="ssh://git@forge.example.org:2222/tools/parser.git",
        state=ProjectState.FETCHING,
        fetched=now - scene.DAY,
        size=734 * 2**20,
        notes=["Objects of LFS are not fetched: their pointers are kept as they are."],
    )
    projects.add(
        "docs",
        source="https://forge.example.org/docs.git",
        state=ProjectState.FAILED,
        message="forge.example.org asks for a login: name a credential with `--credential`.",
        fetched=0,
        branch="",
        commit="",
        size=0,
    )
    projects.add("notes", source="", fetched=0, size=40_000)
    projects.branches = [
        Branch("main", TIP, now - scene.HOUR, "Describe the upgrade"),
        Branch("hive/c1", commit_of(1, 2), now - scene.DAY, "Colours of the night"),
    ]
    grants = ProjectAccess("parser", readonly=False, branches=[])
    for name in (scene.ALICE, scene.BOB):
        both = (grants, grants._replace(project="website"))
        hive.agents[name].show(projects=both)
    ago = now - scene.HOUR
    changes.submit("Colours of the night", state=ChangeState.MERGED, changed=ago)
    changes.submit("Try a cache", state=ChangeState.DENIED, note="Measure it first.", changed=ago)
    number = changes.submit("Keep the last line of a file", description=DESCRIPTION, changed=ago)
    changes.update(number, "With a test for each ending.", ("bin/start.sh becomes executable.",))
    changes.submit("Faster search\u202egnp.exe", agent=scene.BOB, project="parser", changed=ago)
    changes.submit(
        "Describe the options", state=ChangeState.CHANGES_REQUESTED, agent=scene.BOB, changed=ago
    )
    push = "The push failed: forge.example.org refuses it, the credential may not write."
    changes.submit("A page for releases", state=ChangeState.APPROVED, note=push, changed=ago)
    changes.submit(
        "Rename the menu",
        state=ChangeState.CONFLICT,
        note="Conflicts in src/menu.py.",
        changed=ago,
    )
    changes.diff, changes.files = DIFF, FILES
    changes.commits = [
        ChangeCommit(commit_of(3, 1), "alice", ago, "Yield what is left in the buffer"),
        ChangeCommit(commit_of(3, 3), "alice", ago, "Test each kind of ending"),
    ]
    changes.comments = [
        Comment("operator", ago, 2, "src/parser.py", 3, "Is there a test for **this**?"),
        Comment(scene.BOB, ago, 3, "bin/start.sh", 4, "It needs `set -u`, too."),
        Comment(scene.ALICE, ago, 3, "", 0, "Done, see the second commit."),
    ]
