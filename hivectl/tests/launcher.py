"""hivectl as a process, with the sockets of the harnesses below $WEB_DIRECTORY.

If $IMPORT_TOOL is set, it is the program that copies the files of imported agents, their
credentials are below $GATEWAY_DIRECTORY, and $WEB_DIRECTORY is locked meanwhile.
"""

import os
from pathlib import Path

from hivectl.__main__ import main
from hivectl.host import nixos_import
from wire import credentials, web_socket

if __name__ == "__main__":
    web_socket.connect.__defaults__ = (Path(os.environ["WEB_DIRECTORY"]),)
    web_socket.connect_port.__defaults__ = (Path(os.environ["WEB_DIRECTORY"]),)
    web_socket.connect_exec.__defaults__ = (Path(os.environ["WEB_DIRECTORY"]),)
    if tool := os.environ.get("IMPORT_TOOL"):
        nixos_import.TOOL[:] = [tool]
        vars(nixos_import)["AGENTS"] = Path(os.environ["WEB_DIRECTORY"])
        vars(credentials)["GATEWAY_DIRECTORY"] = os.environ["GATEWAY_DIRECTORY"]
    main()
