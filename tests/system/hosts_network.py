"""Agents with the network of the host, instead of one of their own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.system.hive import Hive

CONFIG = "/etc/hyperhive/hyperhive.toml"


@contextmanager
def hosts_network(hive: Hive, *agents: str) -> Iterator[None]:
    """Give all agents the host's network, in effect for these that are restarted; undo that."""
    before = hive.run("cat", CONFIG).stdout

    def change(text: str) -> None:
        hive.run("tee", CONFIG, input=text)
        hive.run("systemctl", "restart", "hive-lifecycle")
        for name in agents:
            hive.hivectl("restart", name, timeout=120)

    with ExitStack() as stack:
        stack.callback(change, before)
        # The file ends within [lifecycle].
        change(f'{before}network = "host"\n')
        yield
