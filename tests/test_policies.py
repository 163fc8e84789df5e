"""The bus policies of all services: who receives and calls what, before a service decides."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
MACHINED = REPO / "services/lifecycle/org.hyperhive.machine1.conf"
POLICIES = sorted(set(REPO.glob("services/*/org.hyperhive.*.conf")) - {MACHINED})


def rules(path: Path, key: str, value: str) -> list[ET.Element]:
    return [rule for p in ET.parse(path).getroot() if p.get(key) == value for rule in p]


def test_every_service_has_one() -> None:
    assert [path.stem for path in POLICIES] == [
        "org.hyperhive.Approvals1",
        "org.hyperhive.Broker1",
        "org.hyperhive.Dashboard1",
        "org.hyperhive.Ledger1",
        "org.hyperhive.Lifecycle1",
        "org.hyperhive.Projects1",
        "org.hyperhive.Telemetry1",
    ]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_who_is_nobody_in_the_hive_reaches_nothing_and_hears_nothing(path: Path) -> None:
    default = rules(path, "context", "default")
    denied = [rule.attrib for rule in default if rule.tag == "deny"]
    assert {"own": path.stem} in denied
    assert {"send_destination": path.stem} in denied
    # Not even Peer and Introspectable: a call may have 32 MiB.
    assert [rule.attrib for rule in default if rule.tag == "allow"] == []
    if path.stem != "org.hyperhive.Dashboard1":  # which has no signals
        assert {"receive_sender": path.stem, "receive_type": "signal"} in denied


def test_nobody_has_machined_read_in_a_container() -> None:
    machined = "org.freedesktop.machine1"
    denied = {"Manager": "GetMachineOSRelease", "Machine": "GetOSRelease"}
    assert [rule.attrib for rule in rules(MACHINED, "context", "mandatory")] == [
        {
            "send_destination": machined,
            "send_interface": f"{machined}.{interface}",
            "send_member": member,
        }
        for interface, member in denied.items()
    ]


def test_an_endpoint_hears_how_jobs_end_and_its_commands() -> None:
    heard = [
        rule.get("receive_member")
        for path in POLICIES
        for rule in rules(path, "group", "hive-agents")
        if rule.get("receive_sender")
    ]
    assert heard == ["JobRemoved", "CommandIssued"]


@pytest.mark.parametrize(
    ("user", "interface", "member"),
    [
        ("hive-broker", "org.hyperhive.Broker1", "MessagesChanged"),
        ("hive-broker", "org.hyperhive.Broker1", "HoldsChanged"),
        ("hive-ledger", "org.hyperhive.Ledger1", "AgentLimited"),
    ],
)
def test_what_lifecycle_follows_reaches_it(user: str, interface: str, member: str) -> None:
    # Lifecycle owns a name with a default deny, which holds for broadcasts to it, too.
    [path] = [path for path in POLICIES if path.stem == "org.hyperhive.Lifecycle1"]
    assert {
        "send_destination": "org.hyperhive.Lifecycle1",
        "send_type": "signal",
        "send_interface": interface,
        "send_member": member,
    } in [rule.attrib for rule in rules(path, "user", user)]


def owner(path: Path) -> str:
    """Return the user that owns the name of a policy."""
    [user] = [
        str(policy.get("user"))
        for policy in ET.parse(path).getroot()
        for rule in policy
        if rule.get("own") == path.stem and rule.tag == "allow"
    ]
    return user


def test_who_may_hear_a_service_and_owns_a_name_is_reached_by_its_broadcasts() -> None:
    """The bus checks a broadcast against the send rules of every name that the receiver owns."""
    names = {owner(path): path for path in POLICIES}
    missing = []
    for sender, heard in names.items():
        for hearer, own in names.items():
            hears = [rule.get("receive_sender") for rule in rules(heard, "user", hearer)]
            if sender == hearer or hearer == "root" or heard.stem not in hears:
                continue
            sends = [rule.get("send_destination") for rule in rules(own, "user", sender)]
            if own.stem not in sends:
                missing.append(f"{sender} to {hearer}")
    assert missing == []


def test_the_bus_starts_no_service() -> None:
    """StartServiceByName is not subject to a policy: anybody could start what root has stopped."""
    assert [
        path for path in REPO.glob("services/**/*.service") if "D-BUS" in path.read_text()
    ] == []
    assert "system-services" not in (REPO / "pyproject.toml").read_text()


def test_the_receiver_of_a_forges_events_may_send_messages_and_no_more() -> None:
    found = [rule.attrib for path in POLICIES for rule in rules(path, "user", "hive-forge")]
    broker = "org.hyperhive.Broker1"
    assert found == [
        {"send_destination": broker, "send_interface": broker, "send_member": "Send"},
    ]
