"""Debian's mosquitto as broker, and mosquitto_sub as the judge of what arrives there."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.simulators.daemons import find_program, free_port, run_daemon


class Broker:
    """A mosquitto that can be stopped and started again on its port; it forgets all then.

    `settings` are lines of its configuration; without any, everybody may connect.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = ("allow_anonymous true",)) -> None:
        self.port = free_port()
        self._folder = folder
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / f"mosquitto-{self.port}.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", *settings]
        if os.geteuid() == 0:
            # It would become another user otherwise, who may not read the files of a test.
            lines.append("user root")
        self._config.write_text("\n".join([*lines, ""]))

    def start(self) -> None:
        program = find_program("mosquitto", "mosquitto")
        command = [program, "-c", str(self._config)]
        self._process = self._stack.enter_context(run_daemon(command, self._folder, self.port))

    def stop(self) -> None:
        self._process = None
        self._stack.close()

    def freeze(self) -> None:
        """Let it do nothing from now on; the kernel still takes connections for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut does; to be followed by `stop`."""
        self._signal(signal.SIGKILL)

    def read_passwords_again(self) -> None:
        self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


_MARKER = "test/marker"


class Listener:
    """What `mosquitto_sub` saw: `(retain flag, qos, topic, payload)`, oldest first.

    It has seen all that is retained when it is made.
    """

    def __init__(self, port: int, *options: str) -> None:
        self.messages: list[tuple[bool, int, str, str]] = []
        self._marked = False
        where = ["-h", "127.0.0.1", "-p", str(port), *options]
        subscribe = find_program("mosquitto_sub", "mosquitto-clients")
        self._process = subprocess.Popen(
            [subscribe, *where, "-q", "2", "-t", "#", "-F", "%r %q %t\t%p"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        self._publish = [find_program("mosquitto_pub", "mosquitto-clients"), *where]
        self.catch_up()

    def catch_up(self) -> None:
        """Wait until everything that the broker took before was seen."""
        self._marked = False

        def marked() -> bool:
            assert self._process.poll() is None, "mosquitto_sub ended"
            self.publish(_MARKER, "")
            return self._marked

        wait_until(marked, "a subscription")

    def publish(self, topic: str, payload: str) -> None:
        """Let `mosquitto_pub` say something to the broker."""
        # A message of the highest quality overtakes none of those before it.
        command = [*self._publish, "-q", "2", "-t", topic, "-m", payload]
        subprocess.run(command, check=False, timeout=150, stderr=subprocess.DEVNULL)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            facts, _, payload = line.rstrip("\n").partition("\t")
            retain, qos, topic = facts.split(" ", 2)
            if topic == _MARKER:
                self._marked = True
                continue
            self.messages.append((retain == "1", int(qos), topic, payload))

    def close(self) -> None:
        self._process.kill()  # in the middle of an exchange it waits for the broker's next word
        self._process.wait()
        self._thread.join(30)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def latest(self) -> dict[str, str]:
        """Return the last payload by topic."""
        return {topic: payload for _, _, topic, payload in list(self.messages)}

    def wait_for(self, topic: str, payload: str, *, seconds: float = 60.0) -> None:
        wait_until(
            lambda: self.latest().get(topic) == payload,
            f"{payload!r} at {topic}",
            limit_seconds=seconds,
        )


@contextmanager
def listening(port: int, *options: str) -> Iterator[Listener]:
    listener = Listener(port, *options)
    try:
        yield listener
    finally:
        listener.close()


def retained(port: int, *options: str) -> dict[str, str]:
    """Return what the broker keeps for those who come later."""
    with listening(port, *options) as listener:
        return {topic: payload for kept, _, topic, payload in listener.messages if kept}
