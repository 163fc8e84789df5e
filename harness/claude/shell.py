"""The shell scripts that start an agent's own programs: its commands and its MCP servers.

The variables of agent.toml are set here, in the last process before such a program. Claude Code,
the relay and the harness never have them: many variables change what a program does (LD_PRELOAD,
SSL_CERT_FILE, NODE_OPTIONS, PYTHONPATH), and nobody knows them all.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path

from harness.jsonvalues import JsonObject


def assignments(variables: Mapping[str, str]) -> str:
    """Return a script that sets `variables`.

    Some shells keep a few variables to themselves, such as UID: these are skipped, because
    `command` keeps the shell from ending then.
    """
    lines = [f"command export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(["{ :", *lines, "} 2>/dev/null", ""])


def command_shell(bash: str, variables: Path, group: Path | None) -> str:
    """Return the script that Claude Code uses as its bash.

    A command that cannot join the control group runs nevertheless, and may outlive the turn.

    Args:
        bash: the path of bash, which the variables cannot change.
        variables: the file with the assignments of the variables.
        group: the control group of a turn's commands, if there is one.
    """
    start = [f". {_quoted(variables)}", f'exec {shlex.quote(bash)} "$@"']
    return "\n".join(["#!/bin/sh", *_join(group), *start, ""])


def in_group(program: str, group: Path | None) -> str:
    """Return the script that starts `program` in a control group, or without one if need be."""
    return "\n".join(["#!/bin/sh", *_join(group), f'exec {shlex.quote(program)} "$@"', ""])


def server_script(server: JsonObject, variables: Path) -> str:
    """Return the script that starts an MCP server of the agent's own.

    Claude Code would replace `${NAME}` in the arguments by its own variables, such as the API key,
    and everybody can read the arguments of a process. In the script nothing is replaced.

    Args:
        server: its `command`, `args` and `env`.
        variables: the file with the assignments of the agent's variables.
    """
    start = shlex.join(["exec", server["command"], *server.get("args", [])])
    return f"#!/bin/sh\n. {_quoted(variables)}\n{assignments(server.get('env', {}))}{start}\n"


def _join(group: Path | None) -> list[str]:
    return [f"{{ echo 0 > {_quoted(group / 'cgroup.procs')}; }} 2>/dev/null"] if group else []


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
