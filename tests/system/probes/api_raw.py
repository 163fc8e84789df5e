"""Send standard input to a socket as it is, and print the answers: `api_raw.py SOCKET SECONDS`.

The end is when the other end closes, or is silent for SECONDS after the first answer.
"""

import socket
import sys


def main() -> None:
    """Send it, and read until the end."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(sys.argv[1])
        try:
            client.sendall(sys.stdin.buffer.read())
            while piece := client.recv(65536):
                answer += piece
                client.settimeout(float(sys.argv[2]))
        except OSError:
            pass
    print(answer.decode("latin-1"))


if __name__ == "__main__":
    main()
