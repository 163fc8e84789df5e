"""A turn of an agent as a file to keep or to pass on: lines of JSON, or one page of HTML.

    lines = json_lines("alice", turn, events)
    page = html_page("alice", turn, events)

`turn` and `events` are the plain JSON of a harness (wire.agent_web), oldest first. All of it is the
agent's own word, and can be any text. The page is safe to open: it has no script and loads nothing,
which its content security policy also forbids, and all texts are escaped and shown as elsewhere.
"""

from wire.turn_export.lines import json_lines
from wire.turn_export.page import html_page

__all__ = ["html_page", "json_lines"]
