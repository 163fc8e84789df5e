"""bench/README.md has the figures of bench/results/, and each bench has figures."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bench import report
from bench.__main__ import benches, main
from bench.dashboard import scene
from bench.dashboard.__main__ import measured as dashboard
from bench.gateway.__main__ import measured as gateway
from bench.messages.driver import measure, measure_floors
from bench.messages.measure import percentile
from bench.projects import __main__ as projects
from bench.projects import handing
from bench.report import Floor, Report
from services.dashboard.tests.browser import needs_chromium
from services.dashboard.tests.fake_harness import FakeHarness
from services.dashboard.tests.fakes.hive import FakeHive

STORED = sorted(report.RESULTS.glob("*.json"))


def test_the_tables_show_the_results() -> None:
    text = report.README.read_text()
    assert report.filled(text) == text, "`python -m bench.report` renders the tables again"


def test_every_bench_has_a_table_and_every_table_a_bench() -> None:
    named = report.tables(report.README.read_text())
    assert sorted(named) == benches()
    assert {path.stem for path in STORED} <= set(named)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_result_is_complete(path: Path) -> None:
    stored = report.load(path)
    assert stored.figures
    ratios = [figure["ratio"] for figure in json.loads(path.read_text())["figures"]]
    assert ratios == [figure.ratio for figure in stored.figures]
    assert any(ratios), "at least one figure is held against a floor"


def test_what_is_saved_can_be_loaded_and_shown(tmp_path: Path) -> None:
    made = Report("demo", {"samples": 10})
    made.add("a call", 1.23456, "ms", Floor("nothing", 0.1))
    made.add("a rate", 12345.6, "messages/s")
    report.save(made, tmp_path)
    assert report.load(tmp_path / "demo.json") == made
    shown = report.filled("before\n<!-- table: demo -->\nold\n<!-- end -->\nafter", tmp_path)
    assert "| a call | 1.23 ms | nothing: 0.1 | 12.3 |" in shown
    assert "| a rate | 12,300 messages/s | | |" in shown
    assert shown.startswith("before\n")
    assert "old" not in shown
    assert shown.endswith("after")


def test_a_smoke_run_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "save", pytest.fail)
    monkeypatch.setattr(report, "render", pytest.fail)
    Report("demo", {}).publish(quick=True)
    assert "not kept" in capsys.readouterr().out


def test_an_unknown_bench_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "there is no bench nonsense; there are: " in capsys.readouterr().err


def test_the_scene_of_the_pictures_has_something_of_everything() -> None:
    hive, harness = FakeHive(), FakeHarness()
    scene.fill(hive)
    scene.work(harness)
    assert len(hive.agents) == 30
    assert len(hive.broker.log) > scene.MESSAGES
    states = {agent.shown.state for agent in hive.agents.values()}
    assert states >= {"running", "failed", "sleeping", "stopped", "paused", "starting"}
    assert {state for one in hive.broker.log if (state := one.state)} >= {"queued", "dead"}
    assert sum(one.state == "pending" for one in hive.approvals.log) == 3
    assert len(hive.ledger.sums["day"]) > 20
    assert len(harness.turns) > 100


async def test_the_floors_can_be_measured(tmp_path: Path) -> None:
    measured = await measure_floors(tmp_path, pairs=2, samples=4)
    assert min(measured["call"], measured["commit"]) > 0
    assert min(measured["calls_one"], measured["calls_many"]) > 0


@pytest.mark.parametrize(("what", "program"), [("redis", "redis-server"), ("nats", "nats-server")])
async def test_what_is_compared_hands_over_too(what: str, program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here: `make bootstrap-tests` installs it")
    measured = await measure(what, tmp_path, pairs=2, samples=4)
    assert 0 < measured["p50"] <= measured["p99"]
    assert min(measured["one"], measured["many"]) > 0


@pytest.mark.long
async def test_the_gateway_can_be_measured(tmp_path: Path) -> None:
    found = {one.what: one for one in (await gateway(tmp_path, quick=True)).figures}
    assert all(one.value > 0 for one in found.values() if not one.what.startswith(("added", "mem")))
    assert {"first byte, p50", "delay of a token, p99", "Reserve, p50"} <= found.keys()


@pytest.mark.long
def test_projects_can_be_measured() -> None:
    projects.BUILD.mkdir(exist_ok=True)
    # Not below the directory of the test: no upstream may be there.
    with TemporaryDirectory(dir=projects.BUILD) as made:
        report, _ = projects.measured(Path(made), quick=True)
    found = {one.what: one for one in report.figures}
    assert all(one.value > 0 for one in found.values())
    assert {"add", "fetch, nothing new", "fetch a commit"} < found.keys()
    assert {handing.SUBMIT, handing.APPROVE} < found.keys()


@pytest.mark.long
@needs_chromium
async def test_the_dashboard_can_be_measured(tmp_path: Path) -> None:
    found = {one.what: one for one in (await dashboard(tmp_path, quick=True)).figures}
    assert all(one.value > 0 for one in found.values() if "memory" not in one.what)
    assert {"the state, p50", "an event to all clients, p99", "memory a client"} <= found.keys()


def test_percentiles() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(i) for i in range(1, 101)], 0.99) == 100.0
