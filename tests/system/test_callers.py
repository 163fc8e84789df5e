"""Real users of the host call the ledger: who may not is refused by the bus, or by the ledger."""

import json
from pathlib import Path

import pytest

from services.ledger.interface import Ledger1
from tests.system.hive import Hive
from tests.system.inside import probe
from wire.principal import DASHBOARD, THE_OPERATOR, Kind, Principal, agent, gateway

pytestmark = pytest.mark.system

DOCUMENT = Path(__file__).parents[2] / "services/ledger/org.hyperhive.Ledger1.xml"
SENT_BY = {
    "hive-agents": {"RecordTurn", "CheckEgress"},
    "hive-gateway": {"Reserve", "Settle", "Release", "ReportEgress", "CheckEgress", "LimitedUntil"},
    "hive-notify": {"ListEgress"},
    "hive-assistant": {"Costs", "ListBudgets"},
    "hive-vacuum": {"Vacuum"},
}
"""The methods that the bus lets the user of a service send."""


def calls(hive: Hive, user: str, unit: str = "") -> dict[str, str]:
    outcome: dict[str, str] = probe(hive, "callers", user, unit, str(DOCUMENT))
    assert set(outcome) == {*Ledger1.methods, "Ping"}
    return outcome


def with_outcome(outcome: dict[str, str], wanted: str) -> set[str]:
    return {member for member, got in outcome.items() if got == wanted}


@pytest.mark.parametrize(
    "user",
    ["nobody", "hive-broker", "hive-approvals", "hive-telemetry", "hive-build", "hive-filter"],
)
def test_who_has_no_business_with_the_ledger_reaches_nothing(swarm: Hive, user: str) -> None:
    assert set(calls(swarm, user).values()) == {"bus"}


@pytest.mark.parametrize("user", SENT_BY)
def test_the_user_of_a_service_alone_is_nobody(swarm: Hive, user: str) -> None:
    outcome = calls(swarm, user)
    assert with_outcome(outcome, "service") == SENT_BY[user]
    assert with_outcome(outcome, "called") == set()


@pytest.mark.parametrize(
    ("user", "unit", "principal"),
    [
        ("hive-gateway", "hive-gateway@alice.service", gateway("alice")),
        ("hive-agents", "hive-agent@alice.service", agent("alice")),
        ("hive-dashboard", "hive-dashboard.service", DASHBOARD),
        ("root", "hive-lifecycle.service", Principal(Kind.SERVICE, "lifecycle")),
        ("root", "", THE_OPERATOR),
    ],
)
def test_a_service_calls_its_methods_and_no_other(
    swarm: Hive, user: str, unit: str, principal: Principal
) -> None:
    if unit:
        swarm.run("systemctl", "start", unit)
    outcome = calls(swarm, user, unit)
    may = {name for name, method in Ledger1.methods.items() if principal in method.allow}
    assert with_outcome(outcome, "called") - {"Ping"} == may, json.dumps(outcome)
    if user in SENT_BY:
        assert with_outcome(outcome, "bus") == set(outcome) - SENT_BY[user]


@pytest.mark.parametrize(
    ("user", "unit"),
    [
        ("hive-gateway", "hive-agent@alice.service"),
        ("hive-agents", "hive-gateway@alice.service"),
        ("nobody", "hive-gateway@alice.service"),
        ("hive-vacuum", "hive-ledger.service"),
    ],
)
def test_a_unit_of_another_user_is_nobody(swarm: Hive, user: str, unit: str) -> None:
    swarm.run("systemctl", "start", unit)
    assert with_outcome(calls(swarm, user, unit), "called") == set()


def test_a_member_of_the_group_is_an_operator(swarm: Hive) -> None:
    swarm.run("useradd", "--system", "--groups=hive", "op")
    try:
        outcome = calls(swarm, "op")
        swarm.run("usermod", "--groups=", "op")
        assert set(calls(swarm, "op").values()) == {"bus"}
    finally:
        swarm.run("userdel", "op")
    may = {name for name, method in Ledger1.methods.items() if THE_OPERATOR in method.allow}
    assert with_outcome(outcome, "called") - {"Ping"} == may
