"""A fleet that runs: engine, devices and members, and what the devices saw of it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.fleet.devices import read_log
from tests.fleet.judge import Verdict, judge
from tests.fleet.network import Network, network
from tests.fleet.processes import Engine, Process, daemon, devices
from tests.simulators.daemons import free_port


class Fleet:
    """Members are numbered from 0; each asks devices from an address of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        members: int,
        targets: int,
        tick: float,
        ttl: float,
        nodes: int = 1,
        exclusive: bool = True,
        inventory: bool = False,
        net: Network | None = None,
    ) -> None:
        """With `inventory` the devices are targets of one section."""
        self.tick, self.ttl, self.net = tick, ttl, net
        self._inventory = folder / "targets.json" if inventory else None
        self.names = [f"t{number}" for number in range(targets)]
        self._exclusive = exclusive
        self._log = folder / "devices.log"
        hub = net.hub if net else ""
        self._devices_address = net.devices_address if net else "127.0.0.1"
        self._port = free_port()
        engine_address = net.engine_address if net else "127.0.0.1"
        self.engine = Engine(folder, address=engine_address, namespace=hub, nodes=nodes)
        self._devices = devices(self._devices_address, self._port, self._log, namespace=hub)
        if self._inventory is not None:
            self.list_targets(self.names)
        self._config = folder / "config.json"
        self._config.write_text(json.dumps(self._build_config()))
        self.logs = [folder / f"member{index}.log" for index in range(members)]
        self.members = [self._member(index) for index in range(members)]

    def start(self) -> None:
        self.engine.start()
        self._devices.start()
        wait_until(self._log.exists, "the devices")
        for member in self.members:
            member.start()
        self.wait_covered()

    def stop(self) -> None:
        for process in (*self.members, self._devices):
            process.kill()
        self.engine.kill()

    def wait_covered(self) -> None:
        """Wait until every device was asked within the last two ticks."""
        wanted = set(self.names)

        def covered() -> bool:
            since = time.monotonic() - 2 * self.tick
            return wanted <= {q.device for q in read_log(self._log) if q.at >= since}

        seconds = 60 + 3 * self.tick + len(self.names) / 100
        wait_until(covered, "every device to be asked", limit_seconds=seconds)

    def settle(self) -> None:
        """Let a few ticks pass, so that what follows starts from a quiet fleet."""
        time.sleep(3 * self.tick)

    def list_targets(self, names: Sequence[str]) -> None:
        """Have other devices in the inventory from now on; each member looks when it does."""
        assert self._inventory is not None
        self.names = list(names)
        new = self._inventory.with_suffix(".new")
        new.write_text(json.dumps([{"targets": self.names}]))
        new.replace(self._inventory)

    def askers(self, since: float) -> dict[str, set[str]]:
        """Return who asked each device since a moment."""
        found: dict[str, set[str]] = {}
        for question in read_log(self._log):
            if question.at >= since:
                found.setdefault(question.device, set()).add(question.asker)
        return found

    def verdict(self, start: float, end: float | None = None) -> Verdict:
        """Judge what the devices saw since `start` (monotonic seconds)."""
        end = time.monotonic() if end is None else end
        return judge(read_log(self._log), self.names, tick=self.tick, start=start, end=end)

    def member_namespace(self, index: int) -> str:
        return self.net.namespace(index) if self.net else ""

    def _address(self, index: int) -> str:
        return self.net.device_address(index) if self.net else f"127.0.1.{index + 1}"

    def _member(self, index: int) -> Process:
        environ = {"MEMBER": f"m{index}", "MEMBER_ADDRESS": self._address(index)}
        namespace = self.member_namespace(index)
        return daemon(self._config, self.logs[index], namespace=namespace, environ=environ)

    def _build_config(self) -> object:
        device = {
            "type": "TcpTime",
            "protocol": "udp",
            "host": self._devices_address,
            "port": self._port,
            "sourceAddress": "${MEMBER_ADDRESS}",
            "timeout": min(2.0, self.tick / 2),
            "exclusive": self._exclusive,
        }
        sources: list[object] = [{**device, "name": name, "send": name} for name in self.names]
        if self._inventory is not None:
            sources = [{**device, "send": "${target}", "targets": {"file": str(self._inventory)}}]
        fleet = {
            "engine": self.engine.url,
            "name": "${MEMBER}",
            "group": "test",
            "ttl": f"{self.ttl:g}s",
        }
        return {
            "tickTime": self.tick,
            "selfMetrics": False,
            **({"fleet": fleet} if self.engine.nodes else {}),
            "writer": {"type": "InMemory", "keep": 1},
            "executors": [{"collection": "fleet", "threads": 20, "sources": sources}],
        }


@contextmanager
def running_fleet(
    folder: Path, *, namespaces: bool = False, members: int = 3, **options: object
) -> Iterator[Fleet]:
    with ExitStack() as stack:
        net = stack.enter_context(network(members)) if namespaces else None
        fleet = Fleet(folder, members=members, net=net, **options)  # type: ignore[arg-type]
        stack.callback(fleet.stop)
        fleet.start()
        yield fleet


def indices(fleet: Fleet) -> Sequence[int]:
    return range(len(fleet.members))
