"""An MCP server that ignores SIGTERM and leaves a process in a session of its own."""

import os
import runpy
import signal
import subprocess
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    with Path(os.environ["PIDS"]).open("a") as pids:
        pids.write(f"{os.getpid()}\n{child.pid}\n")
    runpy.run_path(str(Path(__file__).with_name("greeter.py")), run_name="__main__")
    signal.pause()  # its input has ended, and it stays
