"""The lines of a container's own journal, as rows: the container may have written anything."""

from services.dashboard.state import shown
from services.dashboard.state.agent.checks import MAX_NAME, cut, microseconds
from services.dashboard.state.tables import Row
from wire.agent_web import JournalLine
from wire.text.escaping import literal

MAX_CHARACTERS = 4096


def journal_row(line: JournalLine) -> Row:
    """Return the row of a line; it is as that of a line of the host's journal."""
    return {
        "cursor": line.cursor,
        "time": microseconds(line.at),
        "priority": line.priority,
        "unit": literal(cut(line.unit, MAX_NAME), one_line=True),
        "identifier": shown.message(cut(line.identifier, MAX_NAME)),
        "pid": line.pid,
        "message": shown.message(cut(line.message, MAX_CHARACTERS)),
    }
