"""The effect of the deployed configuration on a container, and the order of precedence."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.config import AgentSettings, Config, HarnessConfig, LifecycleConfig, ResourceLimits
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends.layout import Layout
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.host.systemd import Systemd
from services.lifecycle.tests.fakes import set_limits
from wire.errors import Conflict

COMMIT = "c" * 40
ALICE = Spec("alice", 0x1234_0000, "5" * 32, "asked-for", commit=COMMIT)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")


class Quiet:
    """A systemd that does nothing."""

    async def reload(self) -> None:
        """Do nothing."""

    async def revert(self, unit: str) -> None:
        """Do nothing."""

    async def reset_failed(self, unit: str) -> None:
        """Do nothing."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    names = ("machines", "settings", "units", "data", "sockets", "web", "git", "builds", "orders")
    for folder in (*names, "gateway"):
        getattr(layout, folder).mkdir(parents=True)
    return layout


def backend(layout: Layout, lifecycle: LifecycleConfig | None = None) -> Nspawn:
    harness = HarnessConfig(model="default", environment={"EDITOR": "ed", "LANG": "C"})
    config = Config(lifecycle=lifecycle or LifecycleConfig(), harness=harness)
    systemd: Systemd = Quiet()  # type: ignore[assignment]
    return Nspawn(systemd, config, layout.root / "prefix", layout)


def deploy(layout: Layout, text: str) -> None:
    folder = layout.builds / "alice" / COMMIT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(text)


async def harness(layout: Layout, spec: Spec = ALICE) -> dict[str, Any]:
    await backend(layout).configure(spec)
    file = layout.data / "alice/etc/hyperhive/harness.json"
    told: dict[str, Any] = json.loads(file.read_text())
    return told


async def test_the_harness_is_told_all_that_concerns_it(layout: Layout) -> None:
    deploy(
        layout,
        """
        model = "approved"
        allowed_tools = ["WebFetch"]
        prompt = "You write."
        [environment]
        LANG = "C.UTF-8"
        GREETING = "hello"
        [mcp_servers.docs]
        command = "serve"
        """,
    )
    told = await harness(layout)
    assert told["model"] == "approved"
    assert told["environment"] == {"EDITOR": "ed", "LANG": "C"}
    assert told["command_environment"] == {"LANG": "C.UTF-8", "GREETING": "hello"}
    assert told["allowed_tools"] == ["WebFetch"]
    assert told["prompt"] == "You write."
    assert told["mcp_servers"] == {"docs": {"command": "serve"}}
    assert (told["name"], told["turn_timeout"]) == ("alice", 1800)


async def test_what_it_leaves_out_is_as_it_was(layout: Layout) -> None:
    before = await harness(layout, dataclasses.replace(ALICE, commit=""))
    deploy(layout, "")
    assert await harness(layout) == before
    assert before["model"] == "asked-for"


def test_the_operator_s_limits_for_an_agent_count_more_than_its_own(layout: Layout) -> None:
    deploy(layout, "[resources]\nmemory_max = '1G'\ncpu_weight = 50\ntasks_max = 500\n")
    for_alice = AgentSettings(resources=ResourceLimits(cpu_weight=70))
    settings = LifecycleConfig(
        resources=ResourceLimits(memory_max="2G", io_weight=10),  # type: ignore[arg-type]
        agents={"alice": for_alice},
    )
    made = backend(layout, settings)
    set_since = dataclasses.replace(ALICE, resources={"tasks_max": 300})
    assert set_limits(made.resources(set_since)) == {
        "memory_max": 2**30,  # deployed, above [lifecycle]
        "cpu_weight": 70,  # [lifecycle.agents.alice], above deployed
        "tasks_max": 300,  # SetResources, above all others
        "io_weight": 10,
        "disk_max": 16 * 2**30,  # not set anywhere
    }


@pytest.mark.parametrize(
    ("own", "deployed", "after"),
    [(None, "", 9), (None, "sleep_after = 7", 7), (5, "sleep_after = 7", 5)],
)
def test_so_does_when_it_sleeps(layout: Layout, own: int | None, deployed: str, after: int) -> None:
    deploy(layout, deployed)
    agents = {"alice": AgentSettings(sleep_after=own)}
    settings = LifecycleConfig(sleep_after=9, agents=agents)
    told = backend(layout, settings).configuration(ALICE).sleep_after
    assert settings.sleeps_after("alice", told) == after


async def test_without_its_build_a_container_is_not_made(layout: Layout) -> None:
    with pytest.raises(Conflict, match="configuration of alice at cccccccccccc cannot be used"):
        await backend(layout).configure(ALICE)
    assert not list(layout.machines.iterdir())


async def test_what_is_purged_is_gone_with_its_builds_and_proposals(layout: Layout) -> None:
    deploy(layout, "")
    (layout.git / "proposed/alice/.git").mkdir(parents=True)
    (layout.git / "applied/alice").mkdir(parents=True)
    made = backend(layout)
    await made.configure(ALICE)
    await made.destroy(ALICE, purge=False)
    assert (layout.builds / "alice").is_dir()
    await made.destroy(ALICE, purge=True)
    left = {path for path in layout.root.rglob("*") if "alice" in path.name}
    assert left == {layout.git / "applied/alice"}, "that one belongs to approvals"


async def test_the_manager_s_proposals_go_with_it(layout: Layout) -> None:
    (layout.git / "proposed/alice").mkdir(parents=True)
    await backend(layout).destroy(Spec("manager", ALICE.uid_base, "6" * 32), purge=True)
    assert not list(layout.git.iterdir())
