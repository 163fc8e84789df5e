"""The login of this container's agent: `python -m harness.login`, on pipes.

Claude Code prints the address of a page, reads the code of that page from standard input, and
prints the result. The harness watches the file in which Claude Code stores the credentials.
"""

import os
import sys

from harness.claude.program import MissingProgramError, binary
from harness.claude.user_file import UserFile
from harness.config import ConfigError, Paths, load

if __name__ == "__main__":
    try:
        program = binary()
    except MissingProgramError as error:
        sys.exit(str(error))
    paths = Paths.from_environment()
    if note := UserFile(paths.claude, paths.claude.parent).repair():
        sys.stderr.write(f"{note}\n")
    try:
        # The operator's variables, such as a proxy: the login needs the network, as turns do.
        os.environ.update(load(paths.config).environment)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
    os.environ["CLAUDE_CONFIG_DIR"] = str(paths.claude)
    os.execv(program, [str(program), "auth", "login"])  # noqa: S606 - the purpose of this module
