"""The shapes of answers about requests, deploys, configurations and kept data."""

from services.dashboard.http.shapes.rows import ApprovalRow
from services.dashboard.http.shapes.shape import Shape, Text


class DeployRow(Shape):
    """A configuration that was deployed."""

    at: int
    agent: str
    commit: str
    approval: int
    requested_by: str
    description: Text
    kept: bool


class Deploys(Shape):
    """The deployed configurations of an agent."""

    deploys: list[DeployRow]


class MoreDeploys(Shape):
    """Deploys, newest first."""

    deploys: list[DeployRow]
    more: bool


class Change(Shape):
    """The lines of a requested change, and the commit against which they are shown."""

    diff: list[Text]
    base: str


class Comparison(Change):
    """The change that a request makes in comparison with a configuration."""

    deployed: str
    """The base that an approval takes."""


class Requests(Shape):
    """Requests for approval, newest first."""

    approvals: list[ApprovalRow]
    more: bool


class Requested(Shape):
    """The number of a request that was made."""

    request: int


class Saved(Requested):
    """A change that was made, with a sentence about what comes of it; 0 if it needs no request."""

    said: Text


class Template(Shape):
    """The text of a configuration."""

    text: str


class Complaint(Shape):
    """The sentence about what is wrong with a file; empty if nothing is."""

    error: Text


class ConfigFile(Template):
    """A file of a deployed configuration."""

    lines: list[Text]
    commit: str
    files: list[str]
    names: list[Text]


class TombstoneRow(Shape):
    """A destroyed agent whose data are kept."""

    name: str
    size: int
    destroyed: int


class Tombstones(Shape):
    """The destroyed agents whose data are kept."""

    tombstones: list[TombstoneRow]
