"""One extension, written against the old import paths only, under 1.x and under pollect."""

import contextlib
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.beside_1x import needs_1x, old_pollect
from tests.e2e.command import LIMIT_SECONDS, scrape, start
from tests.simulators.daemons import free_port

pytestmark = [pytest.mark.integration, needs_1x()]

EXTENSION = """
from pollect.core import Helper, OSEnv
from pollect.core.events.Event import Event
from pollect.core.Log import Log
from pollect.core.ValueCache import ValueCache
from pollect.core.ValueSet import Value, ValueSet
from pollect.libs import Utils
from pollect.libs.Units import Unit, ValueWithUnit
from pollect.sources.Source import Source


class Meter(Log):
    def __init__(self):
        super().__init__('meter')
        self.measured = Event()


class RoomsSource(Source):
    def __init__(self, data):
        super().__init__(data)
        self.include = Helper.remove_empty_list(data.get('include', []))
        self.rooms = data['rooms']
        self.place = data.get('place')['town']
        self.cache = ValueCache()
        self.meter = Meter()
        self.meter.measured += self.take

    def setup_source(self, global_conf):
        super().setup_source(global_conf)
        self.ready = global_conf.tick_time > 0

    def take(self, room, milliwatts):
        power = ValueWithUnit(milliwatts, Unit.milli('W')).get_as_base_unit()
        self.cache.add(Value(power, [room, self.place], 'power'), True)

    def _probe(self):
        found = {}
        for room in self.rooms:
            if Helper.accept(self.include, ['cellar'], room['name']):
                Utils.put_if_absent(found, room['name'], room['milliwatts'])
        for chunk in Utils.chunks(list(found.items()), 2):
            for name, milliwatts in chunk:
                self.meter.measured.fire(name, milliwatts)
                self.meter.measured.fire(name, milliwatts * 3)
        powers = ValueSet(labels=['room', 'town'])
        powers.values.extend(self.cache.flush_values())
        state = ValueSet()
        state.add(Value(self.ready and OSEnv.is_linux(), name='ready'))
        state.add(Value(str(self) == self._get_suffix()))
        return [powers, state]
"""

CONFIG = """\
tickTime: 1
writer:
  type: Prometheus
  port: {port}
executors:
  - collection: the.house
    sources:
      - type: extensions.Rooms
        name: all-rooms
        labels: {{site: "${{SITE}}"}}
        place: {{town: "${{SITE}}ville"}}
        timeout: 3
        metrics: [some, thing]
        rooms:
          - {{name: kitchen, milliwatts: 2000}}
          - {{name: cellar, milliwatts: 1}}
          - {{name: "attic \\"2\\"", milliwatts: 1000}}
"""

SERIES = [
    'the_house_extensions_Rooms_all_rooms_power{room="attic \\"2\\"",site="x",town="xville"} 2.0',
    'the_house_extensions_Rooms_all_rooms_power{room="kitchen",site="x",town="xville"} 4.0',
    'the_house_extensions_Rooms_all_rooms_ready{site="x"} 1.0',
    'the_house_extensions_Rooms_all_rooms{site="x"} 1.0',
]


def lines_of(port: int) -> set[str]:
    """Return the lines of the extension as soon as there are some."""

    def scraped() -> set[str]:
        with contextlib.suppress(OSError):
            return {line for line in scrape(port).splitlines() if line.startswith("the_house")}
        return set()

    return wait_until(scraped, "the values of the extension", limit_seconds=LIMIT_SECONDS)


def test_an_extension_of_1x_gives_the_same_series_and_values(tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "RoomsSource.py").write_text(EXTENSION)
    old_port, new_port = free_port(), free_port()
    old_file, new_file = tmp_path / "old.yml", tmp_path / "new.yml"
    old_file.write_text(CONFIG.format(port=old_port))
    new_file.write_text(CONFIG.format(port=new_port))
    environ = {"SITE": "x"}

    with old_pollect(old_file, environ=environ):
        expected = lines_of(old_port)
    assert expected == set(SERIES)

    with start("run", "-c", new_file, folder=tmp_path, environ=environ) as daemon:
        assert lines_of(new_port) == expected, daemon.output
        assert daemon.stop() == 0


SELF_NAMED = """
from pollect.core.ValueSet import Value, ValueSet
from pollect.sources.Source import Source


class {name}Source(Source):
{lines}

    def _probe(self):
        found = ValueSet(['site'])
        found.add(Value(1, ['x'], 'level'))
        found.add(Value(2, ['y'], 'level'))
        return found
"""
WAYS = {
    "Suffix": """
    def _get_suffix(self):
        return 'wallbox'
""",
    "Named": """
    def __init__(self, data):
        super().__init__(data)
        self.config, self.context, self.data = data, object(), {}
        self.name = self.config.get('host')
""",
    "Typed": """
    def __init__(self, data):
        super().__init__(data)
        self.type = 'Short'
""",
    "Labelled": """
    def __init__(self, data):
        super().__init__(data)
        self.labels = {'device': data.get('host'), **self.labels}
""",
    "Late": """
    def setup_source(self, conf):
        self.name = 'late'
        self.labels['device'] = 'd'
""",
    "Bare": """
    def __init__(self, data):
        self.type = data['type']
""",
    "Sets": """
    def probe(self):
        found = super().probe()
        for each in found:
            each.name += '.more'
        return found
""",
}
SOURCES = """\
tickTime: 1
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: the.house
    sources:
"""


def test_extensions_that_name_themselves_are_called_as_under_1x(tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    config = SOURCES
    for name, lines in WAYS.items():
        file = tmp_path / "extensions" / f"{name}Source.py"
        file.write_text(SELF_NAMED.format(name=name, lines=lines))
        config += f"      - {{{{type: extensions.{name}, host: nas.local}}}}\n"
    ports = free_port(), free_port()
    for port in ports:
        (tmp_path / f"{port}.yml").write_text(config.format(port=port))
    names = {"wallbox", "Short", "nas_local", "late", "more", "extensions_Bare", "device"}

    def complete(port: int) -> set[str]:
        lines = lines_of(port)
        text = "\n".join(lines)
        return lines if all(name in text for name in names) else set()

    def expected(port: int) -> set[str]:
        return wait_until(lambda: complete(port), "all series", limit_seconds=LIMIT_SECONDS)

    with old_pollect(tmp_path / f"{ports[0]}.yml"):
        series = expected(ports[0])
    with start("run", "-c", tmp_path / f"{ports[1]}.yml", folder=tmp_path) as daemon:
        assert expected(ports[1]) == series, daemon.output
        assert daemon.stop() == 0
