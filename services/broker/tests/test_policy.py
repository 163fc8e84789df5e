"""The bus policy: shape by reading it, and effect on a real dbus-daemon that includes it."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from services.broker.interface import Broker1
from wire import names
from wire.bus import Bus
from wire.errors import AccessDenied, Conflict
from wire.principal import Kind, Principal, agent
from wire.testing import FixedPrincipals, private_bus

POLICY = Path(__file__).parents[1] / "org.hyperhive.Broker1.conf"


def rules(**who: str) -> list[ET.Element]:
    policy = ET.parse(POLICY).getroot()
    [(key, value)] = who.items()
    return [rule for p in policy if p.get(key) == value for rule in p]


def test_the_default_only_denies() -> None:
    assert {rule.tag for rule in rules(context="default")} == {"deny"}


def test_endpoints_may_call_the_methods_for_agents_and_get_no_signals() -> None:
    found = rules(group="hive-agents")
    assert {rule.get("send_interface") for rule in found} == {names.BROKER}
    members = {str(rule.get("send_member")) for rule in found}
    alice = agent("alice")
    assert members == {n for n, method in Broker1.methods.items() if alice in method.allow}


def test_notify_gets_only_its_signals_and_lists() -> None:
    found = rules(user="hive-notify")
    notify = Principal(Kind.SERVICE, "notify")
    called = {str(rule.get("send_member")) for rule in found if rule.get("send_member")}
    allowed = {n for n, method in Broker1.methods.items() if notify in method.allow}
    assert called == allowed - {"Send"}
    events = {rule.get("receive_member") for rule in found if rule.get("receive_sender")}
    assert events == {"OperatorMessageQueued", "QuestionAdded"}


def test_the_ledger_gets_only_its_signal_and_methods() -> None:
    found = rules(user="hive-ledger")
    ledger = Principal(Kind.SERVICE, "ledger")
    called = {str(rule.get("send_member")) for rule in found if rule.get("send_member")}
    assert called == {n for n, method in Broker1.methods.items() if ledger in method.allow}
    events = {rule.get("receive_member") for rule in found if rule.get("receive_sender")}
    assert events == {"QuestionResolved", "HoldsChanged"}


def test_only_its_own_user_owns_the_name() -> None:
    root = ET.parse(POLICY).getroot()
    owners = [p.get("user") for p in root for r in p if r.tag == "allow" and r.get("own")]
    assert owners == ["hive-broker"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which the policy knows")
async def test_a_real_daemon_denies_the_name_to_others() -> None:
    include = f"<include>{POLICY}</include>"
    async with private_bus(include) as address:
        bus = await Bus.connect(address, FixedPrincipals())
        try:
            with pytest.raises((AccessDenied, Conflict)):
                await bus.own(names.BROKER)
            await bus.own("org.hyperhive.SomethingElse1")
        finally:
            await bus.close()
