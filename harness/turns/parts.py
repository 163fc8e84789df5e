"""The parts of the harness that the turn loop and its own parts use."""

from dataclasses import dataclass

from harness.claude.choices import Choices
from harness.claude.session import ClaudeSession
from harness.config import Config, Paths
from harness.events.store import EventStore
from harness.hive_client import HiveClient
from harness.projects.projects import Projects
from harness.turns.inbox import Inbox
from harness.turns.reporter import Reporter


@dataclass(frozen=True)
class Parts:
    """The settings, the connection, the session and the records of a harness, one of each."""

    config: Config
    paths: Paths
    hive: HiveClient
    inbox: Inbox
    claude: ClaudeSession
    choices: Choices
    store: EventStore
    reporter: Reporter
    projects: Projects
