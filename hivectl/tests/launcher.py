"""hivectl as a process, with the sockets of the harnesses below $WEB_DIRECTORY."""

import os
from pathlib import Path

from hivectl.__main__ import main
from wire import web_socket

if __name__ == "__main__":
    web_socket.connect.__defaults__ = (Path(os.environ["WEB_DIRECTORY"]),)
    web_socket.connect_port.__defaults__ = (Path(os.environ["WEB_DIRECTORY"]),)
    main()
