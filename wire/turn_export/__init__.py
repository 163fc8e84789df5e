"""A turn of an agent as a file to keep or to pass on: lines of JSON, or one page of HTML.

    export = Export(web, "alice", 7, Form.HTML)
    async for piece in export.pieces():
        file.write(piece)

`hivectl export-turn` and the dashboard write the same files. The agent can write any text into
its events. The page is safe to open: it has no script and loads nothing, which its content security
policy also forbids, and all texts are escaped by the rules of wire.text.
"""

from wire.turn_export.export import MEDIA_TYPES, Export, Form, file_name

__all__ = ["MEDIA_TYPES", "Export", "Form", "file_name"]
