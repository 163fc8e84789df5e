"""The settings of the units on which the code and the rest of the hive rely."""

from pathlib import Path

import pytest

from services.endpoint.server import BACKLOG, MAX_CONNECTIONS

ROOM = Path(__file__).parents[1]


def lines(unit: str) -> list[str]:
    return (ROOM / unit).read_text().splitlines()


def test_the_backlog_is_the_same_on_both_sides_and_fits_the_descriptors() -> None:
    assert f"Backlog={BACKLOG}" in lines("hive-agent@.socket")
    [limit] = [line for line in lines("hive-agent@.service") if line.startswith("LimitNOFILE=")]
    assert int(limit.partition("=")[2]) > BACKLOG + MAX_CONNECTIONS


@pytest.mark.parametrize(
    "setting",
    [
        "StartLimitIntervalSec=0",  # a hostile agent must not close its own socket for good
        "User=hive-agents",  # not dynamic: see the README
        "Group=hive-agents",
        "Requires=hive-agent@%i.socket",
        "RestrictAddressFamilies=AF_UNIX",
        "PrivateNetwork=yes",
        "InaccessiblePaths=/proc",
        "Environment=PYDANTIC_DISABLE_PLUGINS=__all__",
        "Environment=MALLOC_TRIM_THRESHOLD_=131072",
    ],
)
def test_what_must_not_go_from_the_service(setting: str) -> None:
    assert setting in lines("hive-agent@.service")


@pytest.mark.parametrize(
    "call",
    [
        *("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"),
        *("prlimit64", "pidfd_getfd", "process_vm_readv", "process_vm_writev"),
    ],
)
def test_endpoints_share_a_user_and_cannot_touch_each_other(call: str) -> None:
    denied = [line.split("~")[1] for line in lines("hive-agent@.service") if "Filter=~" in line]
    assert call in " ".join(denied).split()


def test_the_directory_and_not_the_socket_decides_who_comes_in() -> None:
    assert {"SocketMode=0666", "DirectoryMode=0700"} <= set(lines("hive-agent@.socket"))


def test_agents_together_leave_the_host_room_to_stop_them() -> None:
    settings = dict(
        line.split("=", 1) for line in (ROOM.parent / "hive-agents.slice").read_text().splitlines()
        if "=" in line
    )  # fmt: skip
    assert int(settings["CPUWeight"]) < 100
    assert int(settings["IOWeight"]) < 100
    assert int(settings["MemoryMax"].removesuffix("%")) < 90
