"""Ten thousand devices in one process: whoever asks gets an answer, and every question is noted.

`python -m tests.fleet.devices ADDRESS PORT FILE`: a question is the name of a device in a UDP
datagram, the answer the same. The file gets a line a question: seconds of the machine's monotonic
clock, the address that asked, the device.
"""

import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

#: Seconds after which what was noted reaches the file at the latest.
FLUSH_SECONDS = 0.1


class Question(NamedTuple):
    """One probe, as the device saw it."""

    at: float
    asker: str
    device: str


def read_log(file: Path) -> Iterator[Question]:
    """Yield what the devices noted, in order; a line that is not finished yet is left out."""
    for line in file.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            at, asker, device = line.split()
            yield Question(float(at), asker, device)


def serve(address: str, port: int, file: Path) -> None:
    """Answer until killed."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
    bound.bind((address, port))
    bound.setblocking(False)
    with file.open("a", buffering=1024 * 1024) as log:
        flushed = time.monotonic()
        print("ready", flush=True)
        while True:
            if select.select([bound], [], [], FLUSH_SECONDS)[0]:
                question, asker = bound.recvfrom(512)
                log.write(f"{time.monotonic():.6f} {asker[0]} {question.decode()}\n")
                with suppress(OSError):  # some scenarios cut the way back
                    bound.sendto(question, asker)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                log.flush()
                flushed = time.monotonic()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
