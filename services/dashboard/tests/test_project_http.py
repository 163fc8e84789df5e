"""Projects and changes: the tables, the paths, and the roles that may decide."""

import pytest

from services.dashboard.state.project_rows import BEGINNING
from services.dashboard.tests.conftest import Page
from services.dashboard.tests.fakes.changes import commit_of
from services.dashboard.tests.fakes.now import NOW
from services.dashboard.tests.fakes.projects import TIP
from wire.fixtures import Connect
from wire.records.changes import (
    ChangeCommit,
    ChangedFile,
    ChangeDiffOptions,
    ChangeFilter,
    ChangeState,
    Comment,
    CommentOptions,
    LineComment,
    PublishMode,
)
from wire.records.dashboard import Role
from wire.records.projects import Branch, ProjectState


async def test_the_tables_have_projects_and_the_changes_that_have_not_ended(page: Page) -> None:
    projects, changes = page.hive.projects, page.hive.changes
    await page.log_in()
    projects.add(message="a\u202eb", state=ProjectState.FAILED)
    number = changes.submit("c\u202ed")
    changes.submit("Old", state=ChangeState.MERGED)
    tables = await page.until(lambda tables: tables["projects"] and tables["changes"])
    assert tables["projects"]["website"]["message"][1]["shown"] == "U+202E"
    assert set(tables["changes"]) == {str(number)}
    assert tables["changes"]["1"]["title"][1]["shown"] == "U+202E"
    assert "description" not in tables["changes"]["1"]
    projects.add(state=ProjectState.FETCHING, message="")
    await page.until(lambda tables: tables["projects"]["website"]["state"] == "fetching")
    projects.FetchProgress("website", "Receiving objects", 3, 9)
    await page.until(
        lambda tables: (
            tables["projects"]["website"]["progress"]
            == {"phase": "Receiving objects", "done": 3, "total": 9}
        )
    )
    projects.add(state=ProjectState.READY)
    await page.until(lambda tables: tables["projects"]["website"]["progress"] is None)
    changes.become(number, state=ChangeState.DENIED)
    await page.until(lambda tables: not tables["changes"])
    projects.projects.clear()
    projects.ProjectRemoved("website")
    await page.until(lambda tables: not tables["projects"])


async def test_a_comment_alone_makes_another_row(page: Page) -> None:
    changes = page.hive.changes
    await page.log_in()
    number = str(changes.submit("A better page"))
    tables = await page.until(lambda tables: tables["changes"])
    before = tables["changes"][number]
    changes.ChangeChanged(1, "website", "alice", "open")
    tables = await page.until(lambda tables: tables["changes"][number] != before)
    assert tables["changes"][number] == before | {"heard": before["heard"] + 1}


async def test_a_service_that_comes_back_is_asked_again(page: Page, connect: Connect) -> None:
    await page.log_in()
    page.hive.changes.submit("Before")
    await page.until(lambda tables: tables["changes"])
    await page.buses["projects"].close()
    tables = await page.until(lambda tables: not tables["services"]["projects"]["available"])
    assert "Projects does not answer" in tables["services"]["projects"]["reason"]
    assert tables["changes"]
    page.hive.changes.changes.clear()
    await page.hive.serve_projects(await connect())
    await page.until(lambda tables: not tables["changes"])


async def test_a_project_is_shown_and_fetched(page: Page) -> None:
    projects = page.hive.projects
    projects.add()
    projects.branches = [Branch("main", TIP, NOW, "a\u202eb"), Branch("x\u202ey", TIP, NOW, "")]
    await page.log_in()
    _, answer = await page.get("/api/projects/website")
    assert answer["branch_count"] == 2
    assert answer["branches"][0]["subject"][1]["shown"] == "U+202E"
    assert answer["branches"][1]["name"] == "x<U+202E>y"
    assert await page.post("/api/projects/website/fetch") == (200, {})
    assert await page.post("/api/projects/website/cancel-fetch") == (200, {})
    assert projects.calls == [("fetch", "website"), ("cancel", "website")]
    status, answer = await page.post("/api/projects/Web..site/fetch")
    assert (status, answer["error"]) == (404, "There is no project of this name.")


async def test_changes_are_listed_newest_first(page: Page) -> None:
    changes = page.hive.changes
    for number in range(3):
        changes.submit(f"Change {number}", state=ChangeState.MERGED)
    await page.log_in()
    _, answer = await page.get("/api/changes?limit=2")
    assert ([one["id"] for one in answer["changes"]], answer["more"]) == ([3, 2], True)
    await page.get("/api/changes?project=website&agent=alice&state=merged&limit=3")
    wanted = ChangeFilter("website", "alice", ChangeState.MERGED, closed=True, limit=4)
    assert wanted in changes.asked
    for wrong in ("limit=0", "limit=1000", "state=lost", "project=..", "x=1"):
        assert (await page.get(f"/api/changes?{wrong}"))[0] == 400


async def test_a_change_comes_with_its_texts_as_they_are_shown(page: Page) -> None:
    changes = page.hive.changes
    number = changes.submit("One", description="a\u202eb")
    changes.update(number, "n\u202eo", ("f\u202ei",))
    changes.comments = [Comment("bob", NOW, 1, "p\u202ea", 3, "t\u202ee")]
    changes.files = [ChangedFile("p\u202ea", "o\u202el", "R", "1", "2", True, 0, 0, 1, 2)]
    changes.commits = [ChangeCommit(TIP, "a\u202eu", NOW, "s\u202eu")]
    changes.conflicts = ["c\u202eo"]
    changes.more_files = 4
    changes.diff = "+a\u202eb\n"
    await page.log_in()
    _, answer = await page.get(f"/api/changes/{number}")
    _, diff = await page.get(f"/api/changes/{number}/diff")
    assert diff["more_files"] == 4
    [comment], [file], [commit] = answer["comments"], diff["files"], diff["commits"]
    for text in (
        answer["change"]["description"],
        answer["revisions"][2]["note"],
        answer["revisions"][2]["findings"][0],
        *(comment["path"], comment["text"]),
        *(file["path"], file["old_path"]),
        *(commit["author"], commit["subject"]),
        diff["conflicts"][0],
        diff["diff"][0],
    ):
        assert text[1]["shown"] == "U+202E", text
    path = f"/api/changes/{number}/diff"
    await page.get(f"{path}?revision=2&since=1&commit={TIP}&path=a%2Fb&functions=1")
    assert ChangeDiffOptions(2, 1, TIP, "a/b", functions=True) in changes.asked
    for wrong in ("revision=0", "commit=main", "path=", "functions=yes"):
        assert (await page.get(f"{path}?{wrong}"))[0] == 400
    assert (await page.get("/api/changes/9"))[0] == 404


async def test_long_comments_are_cut_but_the_newest(page: Page) -> None:
    changes = page.hive.changes
    number = changes.submit("One")
    changes.comments = [
        Comment("alice", NOW, 1, "", 0, f"{one:02} " + "x" * 9_997) for one in range(30)
    ]
    await page.log_in()
    _, answer = await page.get(f"/api/changes/{number}")
    lengths = [len(comment["text"]) for comment in answer["comments"]]
    assert {comment["length"] for comment in answer["comments"]} == {10_000}
    assert (lengths[0], lengths[-1]) == (BEGINNING, 10_000)
    assert [comment["text"][:2] for comment in answer["comments"]][::29] == ["00", "29"]


async def test_decisions_name_what_was_shown_and_another_one_is_refused(page: Page) -> None:
    changes = page.hive.changes
    number = changes.submit("One")
    commit, path = commit_of(number, 2), f"/api/changes/{number}"
    await page.log_in(Role.REVIEWER)
    shown = {"commit": commit, "base": TIP}
    assert (await page.post(f"{path}/approve", {"commit": commit}))[0] == 400
    assert (await page.post(f"{path}/approve", shown | {"how": "force"}))[0] == 400
    assert changes.calls == []
    old = shown | {"commit": commit_of(number, 1)}
    status, answer = await page.post(f"{path}/approve", old)
    assert (status, "is at revision 2" in answer["error"]) == (409, True)
    assert (await page.post(f"{path}/approve", shown | {"base": "a" * 40}))[0] == 409
    wanted = {"commit": commit, "note": "Nearly.", "comments": [{"text": "Why?", "path": "a b"}]}
    assert await page.post(f"{path}/request-changes", wanted) == (200, {})
    asked = ("request", number, commit, "Nearly.", [LineComment("a b", 0, "Why?")])
    assert changes.calls[-1:] == [asked]
    comment = {"text": "Hm.", "path": "app.py", "line": 2, "revision": 1}
    assert await page.post(f"{path}/comment", comment) == (200, {})
    assert changes.calls[-1:] == [("comment", number, "Hm.", CommentOptions(1, "app.py", 2))]
    assert await page.post(f"{path}/approve", shown | {"how": "squash"}) == (200, {})
    assert changes.calls[-1:] == [("approve", number, commit, TIP, PublishMode.SQUASH)]
    denied = {"commit": commit, "note": "No."}
    assert await page.post(f"{path}/deny", denied) == (200, {})
    status, answer = await page.post(f"{path}/approve", shown)
    assert (status, answer["error"]) == (409, "c1 is denied, which is final.")


@pytest.mark.parametrize("verb", ["approve", "comment", "deny", "request-changes"])
async def test_a_guest_reads_and_decides_nothing(page: Page, verb: str) -> None:
    number = page.hive.changes.submit("One")
    await page.log_in(Role.GUEST)
    assert (await page.get(f"/api/changes/{number}"))[0] == 200
    assert (await page.get(f"/api/changes/{number}/diff"))[0] == 200
    status, _ = await page.post(f"/api/changes/{number}/{verb}", {"commit": commit_of(number, 2)})
    assert (status, page.hive.changes.calls) == (403, [])


async def test_another_site_decides_nothing(page: Page) -> None:
    number = page.hive.changes.submit("One")
    await page.log_in()
    body = {"commit": commit_of(number, 2), "base": TIP}
    path = f"/api/changes/{number}/approve"
    status, _ = await page.post(path, body, Origin="http://evil.example")
    assert (status, page.hive.changes.calls) == (403, [])
