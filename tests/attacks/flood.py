"""Opens connections and keeps them, in a process of its own: `python -m tests.attacks.flood`.

Prints a line when all are open, and ends with its standard input.
"""

import argparse
import base64
import contextlib
import resource
import selectors
import socket
import sys
import time

DRIP_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("guess", "drip"))
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--name", default="flood")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    connections = [connect(options.port) for _ in range(options.count)]
    for number, connection in enumerate(connections):
        with contextlib.suppress(OSError):
            if options.kind == "guess":
                connection.sendall(guess(f"{options.name} {number}"))
            else:
                connection.sendall(b"POST / HTTP/1.1\r\nX-Slow: ")
    print("open", flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while not selector.select(DRIP_SECONDS):
            if options.kind == "drip":
                for number, connection in enumerate(connections):
                    try:
                        connection.send(b"x")
                    except OSError:
                        connection.close()
                        connections[number] = connect(options.port)


def connect(port: int) -> socket.socket:
    for _ in range(50):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"port {port} takes no connection")


def guess(password: str) -> bytes:
    credentials = base64.b64encode(f"ann:{password}".encode()).decode()
    return f"GET /metrics HTTP/1.1\r\nAuthorization: Basic {credentials}\r\n\r\n".encode()


if __name__ == "__main__":
    main()
