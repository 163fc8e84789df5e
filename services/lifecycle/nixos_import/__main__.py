"""`python -m services.lifecycle.nixos_import VERB [NAME]`: the part of an import that needs root.

`hivectl import-nixos` runs it; the verbs are steps of that command. It prints JSON objects, one a
line: `{"progress": ...}` from time to time, and `{"result": ...}` at the end.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.errors import ConfigError
from services.lifecycle.backends.layout import Layout
from services.lifecycle.nixos_import.sources import Containers, Options
from services.lifecycle.nixos_import.staging import Staging
from services.lifecycle.nixos_import.tree_copy import Tally
from wire import names
from wire.errors import Conflict, HiveError, InvalidArgument, LimitExceeded, NotFound
from wire.text.escaping import literal

VERBS: Final = ("list", "status", "look", "copy", "publish", "finish", "history")

_EXITS: Final[dict[type[HiveError], int]] = {
    InvalidArgument: 2,
    NotFound: 3,
    Conflict: 6,
    LimitExceeded: 8,
}
"""The exit statuses of hivectl."""


def main(arguments: Sequence[str], layout: Layout | None = None) -> int:
    """Do one step of an import; return the exit status.

    Args:
        arguments: the verb, the name of the agent (not for `list`), and options.
        layout: the paths on the host.
    """
    os.umask(0o022)
    wanted = _parser().parse_args(arguments)
    try:
        result = _result(wanted, layout or Layout())
    except OSError as error:
        where = f" {literal(str(error.filename), one_line=True)}" if error.filename else ""
        _explain(
            f"The files of {wanted.name} could not be copied: {error.strerror}{where}. Correct "
            "that, and run the command again."
        )
        return 1
    except (HiveError, ConfigError) as error:
        _explain(str(error))
        return next((code for kind, code in _EXITS.items() if isinstance(error, kind)), 1)
    except KeyboardInterrupt:
        return 130
    _say("result", result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="services.lifecycle.nixos_import")
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("name", nargs="?", default="")
    for option in ("state", "claude", "history"):
        parser.add_argument(f"--{option}", type=Path)
    parser.add_argument("--moved", nargs=2, action="append", default=[])
    return parser


def _result(wanted: argparse.Namespace, layout: Layout) -> object:
    containers = Containers(layout)
    if wanted.verb == "list":
        return [
            {
                "agent": name,
                "container": names.machine_name(name),
                "status": Staging(layout, name).status(),
            }
            for name in containers.agents()
        ]
    names.check_agent_name(wanted.name)
    staging = Staging(layout, wanted.name)
    if wanted.verb == "publish":
        staging.publish()
    if wanted.verb == "finish":
        staging.finish()
    if wanted.verb in ("status", "publish", "finish"):
        return _status(staging)
    # The other verbs need no configuration, whose modules take much longer to load than they run.
    from services.config import Config
    from services.lifecycle.nixos_import.takeover import Takeover

    config = Config.load().lifecycle
    if wanted.verb == "history":
        if wanted.history is None:
            raise InvalidArgument("Give the git repository with --history.")
        sources = containers.repository(wanted.name, wanted.history)
        Takeover(layout, sources, config).copy_history()
        return _status(staging)
    options = Options(wanted.state, wanted.claude, wanted.history, wanted.moved)
    sources = containers.sources(wanted.name, options)
    takeover = Takeover(layout, sources, config)
    if wanted.verb == "copy":
        return {"key": takeover.copy(_tell)}
    found = takeover.look()
    return {
        "agent": wanted.name,
        "container": names.machine_name(wanted.name),
        "parts": [
            {"name": part, "source": str(sources.parts[part]), "entries": entries, "bytes": size}
            for part, (entries, size) in found.parts.items()
        ],
        "history": sources.history and str(sources.history),
        "login": found.login,
        "key": found.key,
        "left_out": found.left_out,
        "left_out_count": found.left_out_count,
        "unused": [{"source": bind.source, "target": bind.target} for bind in sources.unused],
    }


def _status(staging: Staging) -> dict[str, object]:
    return {
        "status": staging.status(),
        "base": staging.base(),
        "history": staging.has_history(),
    }


def _tell(tally: Tally) -> None:
    _say("progress", {"entries": tally.entries, "bytes": tally.bytes})


def _explain(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201 - hivectl reads it


def _say(what: str, value: object) -> None:
    print(json.dumps({what: value}), flush=True)  # noqa: T201 - hivectl reads it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
