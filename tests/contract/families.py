"""Every source at once, before a peer that has all a source can ask for, for one real daemon."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pollect.testing import serve_http
from pollect.testing.programs import stand_in
from pollect_sources_network.snmp.oids import OBJECTS
from pollect_sources_network.snmp.presets import PRESETS
from tests.contract import cases, cloud_cases, home_cases
from tests.simulators import app_store_connect, evcc, github, sma_energy_meter, vw_group
from tests.simulators.daemons import free_port
from tests.simulators.google_storage import Bucket, TokenEndpoint, as_report
from tests.simulators.pods import Pods
from tests.simulators.snmp_agent import INTEGER, OCTETS, TICKS, SimulatedAgent
from tests.simulators.viessmann import HEAT_PUMP, Viessmann, feature
from tests.simulators.zodiac import VR, Zodiac, shadow

CONTAINER = "a1" * 32
MDSTAT = """\
Personalities : [raid1]
md0 : active raid1 sdb1[2] sda1[0]
      195310144 blocks super 1.2 [2/1] [U_]
      [=>...................]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=2597K/sec

unused devices: <none>
"""
ARCSTATS = "13 1 0x01 2 544 0 0\nname type data\n" + "".join(
    f"{name} 4 {number}\n"
    for number, name in enumerate(("hits", "misses", "size", "c", "c_max", "l2_hits", "l2_misses"))
)
DRIVE = {
    "smartctl": {"exit_status": 0},
    "model_name": "WDC WD40EFRX",
    "serial_number": "WD-1",
    "firmware_version": "82.0",
    "smart_status": {"passed": True},
    "temperature": {"current": 30},
    "power_on_time": {"hours": 4000},
    "power_cycle_count": 12,
    "ata_smart_attributes": {
        "table": [
            {
                "id": 5, "name": name, "value": 90, "worst": 80, "thresh": 10,
                "raw": {"value": 0, "string": "0"},
            }
            for name in (
                "Reallocated_Sector_Ct", "Reported_Uncorrect", "Command_Timeout",
                "Current_Pending_Sector", "Offline_Uncorrectable",
            )
        ]
    },
    # No drive speaks all three, but each of them is read in the same way.
    "nvme_smart_health_information_log": {
        "critical_warning": 0, "media_errors": 0, "percentage_used": 3
    },
    "scsi_grown_defect_list": 0,
    "scsi_percentage_used_endurance_indicator": 3,
}  # fmt: skip
CHIP = {
    "nct6798-isa-0290": {
        "Adapter": "ISA adapter",
        "in5": {
            "in5_input": 0.9, "in5_min": 0.0, "in5_max": 1.7, "in5_lcrit": -0.1, "in5_crit": 1.9,
            "in5_alarm": 0.0,
        },
    }
}  # fmt: skip
UNIT = "Id=nginx.service\nActiveState=active\nSubState=running\nNRestarts=2\n" + (
    "MemoryCurrent=12345678\nCPUUsageNSec=2500000000\nTasksCurrent=5\n"
)
#: Everything that a device of a home can report, as if it were one device.
CHANNEL = {
    "functionalChannelType": "WALL_MOUNTED_THERMOSTAT_PRO_CHANNEL",
    "actualTemperature": 20.5,
    "setPointTemperature": 21.0,
    "humidity": 45,
    "vaporAmount": 8.1,
    "valvePosition": 0.2,
    "valveActualTemperature": 21.0,
    "currentPowerConsumption": 12.0,
    "energyCounter": 3.0,
    "carbonDioxideConcentration": 600,
    "illumination": 100,
    "currentIllumination": 110,
    "windSpeed": 3.0,
    "windDirection": 90,
    "totalRainCounter": 4.0,
    "todayRainCounter": 1.0,
    "totalSunshineDuration": 7,
    "raining": False,
    "storm": False,
    "sunshine": True,
    "lowBat": False,
    "unreach": False,
    "rssiDeviceValue": -60,
    "windowState": "CLOSED",
    "particulateMassConcentrationOne": 1.0,
    "particulateMassConcentrationTwoPointFive": 1.0,
    "particulateMassConcentrationTen": 1.0,
}
#: Datagrams to this host, until it is killed.
SENDER = """
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    while True:
        sender.sendto(b"hello", ("127.0.0.1", 9))
        time.sleep(0.1)
"""
#: All that the presets ask for, in one row each; 1 is `up`, `ok` and much more.
DEVICE = {
    "1.3.6.1.2.1.1.3.0": (TICKS, 4200),
    "1.3.6.1.2.1.1.5.0": (OCTETS, b"switch"),
    **{
        f"{oid}.1": cell
        for table in (table for tables in PRESETS.values() for table in tables)
        for columns, cell in ((table.columns, (INTEGER, 1)), (table.labels, (OCTETS, b"a")))
        for column in columns
        for oid in (*column.oids, *getattr(column, "needs", ()))
    },
    # Of a sensor: degrees, in units.
    f"{OBJECTS['entPhySensorType']}.1": (INTEGER, 8),
    f"{OBJECTS['entPhySensorScale']}.1": (INTEGER, 9),
}
PATIENCE_SECONDS = 30

Peer = Callable[[Path], AbstractContextManager[Mapping[str, Any]]]


@contextmanager
def pools(folder: Path) -> Iterator[Mapping[str, Any]]:
    """A pool whose `zpool iostat` reports again and again."""
    space = "tank\t1000\t400\t600\t12\t40\t1.00\tONLINE"
    rates = "tank\t400\t600\t100\t10\t1000\t100"
    status = (
        "  pool: tank\n state: ONLINE\n  scan: scrub repaired 0B in 00:00:01 with 0 errors on "
        "Sun Nov  8 00:24:02 2026\nconfig:\n\n\tNAME  STATE  READ WRITE CKSUM\n"
        "\ttank  ONLINE  0     0     0\n\nerrors: No known data errors\n"
    )
    (folder / "status").write_text(status)
    script = (
        f'case "$1" in\n'
        f'iostat) while echo "{rates}"; do sleep 0.2; done; exit;;\n'
        f'status) cat "{folder}/status"; exit;;\n'
        "esac"
    )
    with stand_in("zpool", stdout=f"{space}\n", script=script) as program:
        with stand_in("zfs", stdout="tank/home\tfilesystem\t300\t600\t300\t900\n"):
            every = {"scrub": True, "arc": True, "datasets": "*", "interval": 1}
            yield {"command": str(program.path), **every}


@contextmanager
def containers(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The names of what runs in the cgroups of `make_host`."""
    names = folder / "docker" / "containers" / CONTAINER
    names.mkdir(parents=True)
    (names / "config.v2.json").write_text(json.dumps({"Name": "/web", "ID": CONTAINER}))
    yield {"dockerDir": str(folder / "docker")}


@contextmanager
def traffic(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Datagrams of a pod of this host, counted where the real cgroups are."""
    pods = Pods(folder)
    _, cgroup = pods.start("shop")
    words = ["sh", "-c", 'echo $$ > "$1/cgroup.procs"; exec "$2" -c "$3"', "sh"]
    sender = subprocess.Popen([*words, str(cgroup), sys.executable, SENDER])
    try:
        counted = {"podLogDir": str(folder), "cgroupPath": str(pods.root)}
        yield {**counted, "packets": True, "pods": True}
    finally:
        sender.kill()
        sender.wait()
        pods.end()


def make_host(folder: Path) -> Mapping[str, str]:
    """Make a `/proc` and a `/sys` that are those of this host, with what it lacks in between."""
    proc, sys = folder / "proc", folder / "sys"
    _link(Path("/proc"), proc, but="mdstat")
    _link(Path("/sys"), sys, but="fs")
    _link(Path("/sys/fs"), sys / "fs", but="cgroup")
    group = f"sys/fs/cgroup/system.slice/docker-{CONTAINER}.scope"
    files = {
        "proc/mdstat": MDSTAT,
        "proc/spl/kstat/zfs/arcstats": ARCSTATS,
        "sys/fs/cgroup/cgroup.controllers": "cpu io memory pids\n",
        f"{group}/cpu.stat": "usage_usec 2500000\n",
        f"{group}/memory.current": "1000000\n",
        f"{group}/memory.max": "9000000\n",
        f"{group}/memory.stat": "inactive_file 3000\n",
        f"{group}/io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
        f"{group}/pids.current": "7\n",
    }
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {"proc": str(proc), "sys": str(sys)}


def _link(real: Path, folder: Path, *, but: str) -> None:
    """Fill a folder with links to what is in a real one, other processes excepted."""
    folder.mkdir(parents=True)
    kept = {"1", str(os.getpid())}
    for name in os.listdir(real):
        if name != but and (not name.isdecimal() or name in kept):
            (folder / name).symlink_to(real / name)


@contextmanager
def switch(folder: Path) -> Iterator[Mapping[str, Any]]:
    with SimulatedAgent(DEVICE) as agent:
        yield {"host": agent.address}


@contextmanager
def name_server(folder: Path) -> Iterator[Mapping[str, Any]]:
    resolver = {"stats": {"Queryv4": 4}, "cachestats": {"CacheHits": 3}, "cache": {"A": 1}}
    zone = {"name": "example", "class": "IN", "type": "primary", "serial": 7}
    sizes = {"16-31": 4}
    answers = {
        "boot-time": "2026-01-01T00:00:00Z",
        "config-time": "2026-01-01T00:00:00Z",
        "qtypes": {"A": 5},
        "opcodes": {"QUERY": 5},
        "rcodes": {"NOERROR": 5},
        "nsstats": {"Requestv4": 5, "Response": 5},
        "views": {"_default": {"resolver": resolver, "zones": [zone]}},
        "traffic": {
            "dns-udp-requests-sizes-received-ipv4": sizes,
            "dns-udp-responses-sizes-sent-ipv4": sizes,
        },
    }
    with serve_http({"*": answers}) as server:
        yield {"url": server.url}


@contextmanager
def charge_controller(folder: Path) -> Iterator[Mapping[str, Any]]:
    battery = {**evcc.STATE["battery"], "energy": 7.0}
    loadpoint = {
        **evcc.STATE["loadpoints"][0],
        "connected": True,
        "enabled": True,
        "vehicleSoc": 50,
        "chargedEnergy": 4.0,
    }
    with evcc.Evcc({**evcc.STATE, "battery": battery, "loadpoints": [loadpoint]}) as server:
        yield {"host": server.address}


@contextmanager
def homematic_cloud(folder: Path) -> Iterator[Mapping[str, Any]]:
    home = json.loads(json.dumps(home_cases.HOMEMATIC_ROOM))
    home["devices"]["A"]["functionalChannels"]["1"] = CHANNEL
    with serve_http({}) as cloud:
        cloud.routes = {"/hmip/home/getCurrentState": home, "/getHost": {"urlREST": cloud.url}}
        yield {"lookupUrl": f"{cloud.url}/getHost"}


@contextmanager
def heating_cloud(folder: Path) -> Iterator[Mapping[str, Any]]:
    def sensor(name: str) -> dict[str, Any]:
        return feature(name, status="connected", value=(40.0, "celsius"))

    classes = ("One", "Two", "Three", "Four", "Five")
    hours = {f"hoursLoadClass{name}": (100, "hour") for name in classes}
    added = (
        sensor("heating.dhw.sensors.temperature.hotWaterStorage.top"),
        sensor("heating.dhw.sensors.temperature.hotWaterStorage"),
        sensor("heating.secondaryCircuit.sensors.temperature.supply"),
        sensor("heating.secondaryCircuit.temperature.return.minimum"),
        sensor("heating.sensors.temperature.return"),
        feature("heating.dhw.pumps.primary", status="on"),
        feature("heating.compressors.0.statistics.load", **hours),
    )
    with Viessmann((*HEAT_PUMP, *added), only_token="a-token-of-the-test") as cloud:
        yield cloud.options


@contextmanager
def pool_cloud(folder: Path) -> Iterator[Mapping[str, Any]]:
    robot = {**VR, "cycleStartTime": int(time.time()) - 600}
    wireless = {"main": {"state": 1, "mode": 1}, "battery": {"userChargePerc": 80}}
    with Zodiac({"JT1": ("vr", shadow(robot)), "JT2": ("cyclobat", shadow(wireless))}) as cloud:
        yield cloud.options


@contextmanager
def energy_meter(folder: Path) -> Iterator[Mapping[str, Any]]:
    port = free_port()
    with sma_energy_meter.Sender(port) as sender:
        sender.keep_sending([sma_energy_meter.large_datagram()])
        yield {"port": port}


@contextmanager
def sales_reports(folder: Path) -> Iterator[Mapping[str, Any]]:
    key = app_store_connect.new_key()
    file = app_store_connect.write_key_file(folder / "key.p8", key)
    rows = [
        app_store_connect.row("APP", "1F", 2, 1, "EUR"),
        app_store_connect.row("COINS", "IA1", 2, 1, "EUR", parent="APP"),
        app_store_connect.row("CLUB", "IAY", 6, 2, "EUR", parent="APP"),
    ]
    with app_store_connect.AppStoreConnect(time.time) as apple:
        apple.keys[app_store_connect.KEY_ID] = key.public_key()
        for age in range(4):
            day = (datetime.now(UTC) - timedelta(days=age)).date()
            apple.days[day] = app_store_connect.table(*rows)
        yield {"endpoint": apple.url, "keyFile": str(file), "dbDir": str(folder / "db")}


@contextmanager
def play_console(folder: Path) -> Iterator[Mapping[str, Any]]:
    day = datetime.now(UTC) - timedelta(days=1)
    by_version = (
        "Date,Package Name,App Version Code,Daily Crashes,Daily ANRs\n"
        f"{day:%Y-%m-%d},my.app,102,1,0\n"
    )
    reports = {
        "crashes": ("Daily Crashes,Daily ANRs", "4,1"),
        "installs": (
            "Daily Device Installs,Daily Device Uninstalls,Daily User Installs,"
            "Active Device Installs",
            "5,1,4,900",
        ),
        "ratings": ("Daily Average Rating,Total Average Rating", "4.0,4.5"),
    }
    with TokenEndpoint(time.time) as tokens, Bucket(tokens) as bucket:
        files = cloud_cases.google_files(tokens.token_uri)
        tokens.keys["k1"] = cloud_cases.google_key().public_key()
        for kind, (columns, numbers) in reports.items():
            text = f"Date,Package Name,{columns}\n{day:%Y-%m-%d},my.app,{numbers}\n"
            bucket.put(f"stats/{kind}/{kind}_my.app_{day:%Y%m}_overview.csv", as_report(text))
        name = f"stats/crashes/crashes_my.app_{day:%Y%m}_app_version.csv"
        bucket.put(name, as_report(by_version))
        yield {"endpoint": bucket.url, **files}


@contextmanager
def car(folder: Path) -> Iterator[Mapping[str, Any]]:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    delivery = vw_group.delivery(stamp=now, **vw_group.DIESEL)
    with vw_group.car_with(delivery) as group:
        yield {**group.options, "tokenFile": str(folder / "token.json")}


@contextmanager
def repositories(folder: Path) -> Iterator[Mapping[str, Any]]:
    with github.GitHub(token="hush-token") as service:
        parts = service.add("octo/engine")
        parts["actions/runs"] = [github.run(1, "success")]
        parts["actions/workflows"] = [{"id": 1, "name": "Workflow 1", "state": "active"}]
        parts["releases"] = [github.release("1.0", 5)]
        yield {"endpoint": service.url}


def answering(document: object) -> Peer:
    """Return a program that prints this, whatever it is asked."""
    text = document if isinstance(document, str) else json.dumps(document)
    return lambda folder: cases.answering(text)


#: Where the peer of the contract has less than a source can ask for, or lives in the past.
PEERS: dict[str, Peer] = {
    "AppStoreConnect": sales_reports,
    "Bind": name_server,
    "Container": containers,
    "Evcc": charge_controller,
    "Gdc": play_console,
    "GitHub": repositories,
    "HomematicIp": homematic_cloud,
    "K8sNamespaceTraffic": traffic,
    "MMI": car,
    "Sensors": answering(CHIP),
    "SmaEnergyMeter": energy_meter,
    "SmartCtl": answering(DRIVE),
    "SnmpGet": switch,
    "SnmpTable": switch,
    "SystemdUnit": answering(UNIT),
    "Viessmann": heating_cloud,
    "VwGroup": car,
    "Zfs": pools,
    "ZodiacPool": pool_cloud,
}

#: What else the sections of the contract leave out.
MORE: dict[str, Mapping[str, Any]] = {
    "DiskUsage": {"disks": ["/"], "inodes": True, "readonly": True},
    "Http": {"details": True, "name": "shop"},
    "Interface": {"errors": True, "includeTotal": True, "state": True, "include": ["lo"]},
    "LoadAvg": {"perCpu": True},
    "MemoryUsage": {"details": True},
    # The one of this test, started as pytest or as one of its workers.
    "Process": {"procRegex": "python", "details": True, "total": True},
    "S3Objects": {"prefixes": ["nightly/"]},
    "Sensors": {"limits": True, "alarms": True},
    "SmartCtl": {"normalized": True, "info": True},
}


@contextmanager
def families(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Start every peer, and give a config that leads to all of them, but for its writers."""
    with ExitStack() as stack:
        sections: list[dict[str, Any]] = []
        for case in cases.SOURCES:
            kind = case.section["type"]
            if kind == "Dummy" or case.exempt.keys() & {"samples_are_declared"}:
                continue
            place = folder / f"{len(sections)}-{kind}"
            place.mkdir()
            peer = PEERS[kind](place) if kind in PEERS else case.working()
            options = {**stack.enter_context(peer), **MORE.get(kind, {})}
            if "timeout" in case.section:
                # The contract is impatient, and this machine may be slow.
                options["timeout"] = PATIENCE_SECONDS
            sections.append({**case.section, **options})
            if kind == "SnmpTable":
                others = [preset for preset in PRESETS if preset != sections[-1]["preset"]]
                sections += [{**sections[-1], "preset": each, "name": each} for each in others]
        yield {
            "roots": make_host(folder / "host"),
            "executors": [{"collection": "all", "sources": sections}],
        }
