"""A receiver of the delivery tests as a process of its own, which can be killed.

It writes the numbers that arrive to a file before it answers, one a line.
`python -m tests.outages.receiver TYPE PORT FILE`.
"""

import os
import sys
import threading
from pathlib import Path

from tests.writers.backends import GraphiteBackend, NetworkBackend, OtlpBackend


class _Recorder(NetworkBackend):
    def __init__(self, port: int, file: Path) -> None:
        super().__init__(file.parent)
        self.port = port
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def take(self, numbers: list[int]) -> None:
        os.write(self._file, "".join(f"{number}\n" for number in numbers).encode())


class OtlpRecorder(_Recorder, OtlpBackend):
    pass


class GraphiteRecorder(_Recorder, GraphiteBackend):
    pass


RECORDERS: dict[str, type[_Recorder]] = {
    recorder.writer: recorder for recorder in (OtlpRecorder, GraphiteRecorder)
}


if __name__ == "__main__":
    writer, port, file = sys.argv[1:]
    RECORDERS[writer](int(port), Path(file)).come_up()
    # The server has a thread of its own.
    threading.Event().wait()
