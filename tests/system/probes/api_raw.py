"""Send standard input to a socket as it is, and print what comes back: `api_raw.py SOCKET`."""

import socket
import sys


def main() -> None:
    """Send it, and read until the other end closes, or is silent for two seconds."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect(sys.argv[1])
        try:
            client.sendall(sys.stdin.buffer.read())
            while piece := client.recv(65536):
                answer += piece
        except OSError:
            pass
    print(answer.decode("latin-1"))


if __name__ == "__main__":
    main()
