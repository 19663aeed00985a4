"""Runs inside the booted system, with Debian's Python alone; writes down what it sees.

Each check is a function; what it returns ends in results.json under its name.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import traceback
import urllib.request
from collections.abc import Callable
from pathlib import Path

CONFIG = Path("/etc/pollect")
POLLECT = "/opt/pollect/bin/pollect"
SECRET = "moss-and-fern"
PORTS = {"pollect": 8000, "privileged": 8001, "everything": 8002}

#: Says what a drive says, if it may open it and has the capability.
SMARTCTL = """\
#!/usr/bin/python3
import json, os, sys
VERSION = {"version": [7, 3], "exit_status": 0}
if "--scan" in sys.argv:
    print(json.dumps({"smartctl": VERSION,
                      "devices": [{"name": "/dev/sda", "type": "scsi"}]}))
    raise SystemExit
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
if not int(status["CapEff"], 16) >> 17 & 1:
    sys.exit("CAP_SYS_RAWIO is missing")
os.close(os.open("/dev/sda", os.O_RDWR))
print(json.dumps({"json_format_version": [1, 0], "device": {"name": "/dev/sda", "protocol": "ATA"},
                  "smart_status": {"passed": True}, "temperature": {"current": 31},
                  "smartctl": VERSION}))
"""
#: A plugin with the needs of K8sNamespaceTraffic that makes a map of BPF, no more.
COUNTER = '''
"""Source `PacketCounter`: stands in for K8sNamespaceTraffic."""
import ctypes, os, struct
from pollect.api import Metric, Source, SourceSpec, TargetUnavailable, hookimpl
from pollect_sources_system import plugin as system

MADE = Metric("made", help="1 when the kernel made a map.")

class PacketCounterSource(Source):
    """Makes a map."""
    metrics = (MADE,)

    def probe(self):
        libc = ctypes.CDLL(None, use_errno=True)
        attributes = struct.pack("5I", 2, 4, 8, 1, 0).ljust(128, b"\\0")
        found = libc.syscall(321, 0, attributes, len(attributes))
        if found < 0:
            raise TargetUnavailable("no map: " + os.strerror(ctypes.get_errno()))
        os.close(found)
        return [MADE.sample(1.0)]

@hookimpl
def pollect_sources():
    (spec,) = (s for s in system.pollect_sources() if s.type == "K8sNamespaceTraffic")
    return [SourceSpec("PacketCounter", "counter:PacketCounterSource", needs=spec.needs)]
'''
QUICK = {
    "tickTime": 1,
    "writer": {"type": "Prometheus", "port": PORTS["pollect"], "auth": {
        "token": "${file:${CREDENTIALS_DIRECTORY}/page-token}"}},
    "executors": [{"collection": "box", "sources": [
        {"type": kind} for kind in
        ("LoadAvg", "MemoryUsage", "DiskUsage", "Interface", "Uptime", "Cpu")
    ] + [{"type": "Process", "procRegex": "pollect run"}]}],
}  # fmt: skip
PRIVILEGED = [{"type": "SmartCtl"}, {"type": "Ping", "host": "127.0.0.1"}]
EVERYTHING = [
    *PRIVILEGED,
    {"type": "PacketCounter"},
    {"type": "Process", "procRegex": "systemd"},
    {"type": "DiskUsage"},
    {"type": "LoadAvg"},
    {"type": "HttpIngress", "port": 9000, "metrics": {"knock": {}}},
    {"type": "TcpTime", "host": "127.0.0.1", "port": 8000},
    {"type": "SystemdUnit", "units": ["everything", "dbus"]},
    {"type": "Http", "url": "http://127.0.0.1:8002/-/healthy"},
    {"type": "Certificate", "file": "/etc/ssl/certs/ca-certificates.crt"},
    *(
        {"type": kind}
        for kind in (
            *("MemoryUsage", "Cpu", "Swap", "Uptime", "Interface", "IO", "Pressure", "MdRaid"),
            *("Sensors", "Container", "K8sNamespaceTraffic", "Zfs"),
        )
    ),
]
#: What cannot be up in this system, and the words that say why.
EXCUSED = {"Sensors": "program 'sensors' is not installed", "Zfs": "'zpool' is not installed"}


def sh(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()


def show(unit: str, name: str) -> str:
    return sh("systemctl", "show", "--value", "-p", name, unit)


def until(condition: Callable[[], object], seconds: float = 40.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if condition():
                return True
        time.sleep(0.2)
    return False


def scrape(name: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{PORTS[name]}/metrics")
    if name == "pollect":
        request.add_header("Authorization", f"Bearer {SECRET}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def down(name: str) -> list[str]:
    """Return the sources of a daemon that are not up."""
    lines = scrape(name).splitlines()
    return [line for line in lines if line.startswith("pollect_source_up{") and line[-4:] != " 1.0"]


def type_of(line: str) -> str:
    """Return the type of the source that a line of `pollect_source_up` is about."""
    return line.partition('type="')[2].partition('"')[0]


def write_config(name: str, config: dict[str, object]) -> None:
    (CONFIG / f"{name}.yml").write_text(json.dumps(config))


def prepare() -> dict[str, object]:
    (CONFIG / "credentials").mkdir(parents=True)
    (CONFIG / "credentials").chmod(0o700)
    secret = CONFIG / "credentials" / "page-token"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    write_config("pollect", QUICK)
    for name, sources in (("privileged", PRIVILEGED), ("everything", EVERYTHING)):
        writer = {"type": "Prometheus", "port": PORTS[name]}
        executors = [{"collection": "box", "sources": sources}]
        write_config(name, {"tickTime": 1, "writer": writer, "executors": executors})
    program = Path("/usr/local/sbin/smartctl")
    program.write_text(SMARTCTL)
    program.chmod(0o755)
    site = next(Path("/opt/pollect/lib").glob("python*/site-packages"))
    (site / "counter.py").write_text(COUNTER)
    metadata = site / "pollect_counter-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pollect-counter\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text("[pollect.plugins]\ncounter = counter\n")
    # The null device in place of a drive: what counts is who may open it.
    made = sh("mknod", "-m", "0660", "/dev/sda", "c", "1", "3")
    bus = sh(
        "systemd-run", "--wait", "--pipe", "-p", "DynamicUser=yes", "systemctl", "show", "dbus"
    )
    return {
        "bus": bus,
        "mknod": made,
        "chgrp": sh("chgrp", "disk", "/dev/sda"),
        "as_root": try_bpf(),
    }


def try_bpf() -> str:
    """Return what the kernel says when root makes a map without any unit around."""
    code = (
        "import ctypes, os, struct\n"
        "a = struct.pack('5I', 2, 4, 8, 1, 0).ljust(128, b'\\0')\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "f = libc.syscall(321, 0, a, len(a))\n"
        "print('made' if f >= 0 else os.strerror(ctypes.get_errno()))\n"
    )
    return sh("python3", "-c", code)


def install() -> dict[str, object]:
    return {"output": sh(POLLECT, "unit", "-c", str(CONFIG / "pollect.yml"), "--install", "--yes")}


def notify() -> dict[str, object]:
    up = until(lambda: "box_LoadAvg" in scrape("pollect") and not down("pollect"))
    return {
        "up": up,
        "state": show("pollect", "ActiveState"),
        "status": show("pollect", "StatusText"),
        "watchdog": show("pollect", "WatchdogTimestampMonotonic"),
        "down": down("pollect"),
        "disks": [line for line in scrape("pollect").splitlines() if "DiskUsage" in line],
    }


def user() -> dict[str, object]:
    pid = show("pollect", "MainPID")
    status = Path(f"/proc/{pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {
        "uid": int(facts["Uid"].split()[0]),
        "capabilities": facts["CapEff"],
        "bounding": facts["CapBnd"],
        "seccomp": facts["Seccomp"],
        "no_new_privileges": facts["NoNewPrivs"],
        "state": os.stat("/var/lib/private/pollect").st_mode & 0o777,
    }


def credentials() -> dict[str, object]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS['pollect']}/metrics", timeout=20):
            return {"without": 200}
    except urllib.error.HTTPError as error:
        return {"without": error.code, "with": scrape("pollect") != ""}


def reload() -> dict[str, object]:
    before = show("pollect", "MainPID")
    changed = json.loads(json.dumps(QUICK))
    changed["executors"][0]["sources"].append({"type": "Dummy", "value": 7})
    write_config("pollect", changed)
    said = sh("systemctl", "reload", "pollect")
    seen = until(lambda: "box_Dummy" in scrape("pollect"))
    return {"said": said, "seen": seen, "same_process": before == show("pollect", "MainPID")}


def kill() -> dict[str, object]:
    before = show("pollect", "MainPID")
    os.kill(int(before), signal.SIGKILL)
    again = until(lambda: show("pollect", "MainPID") not in (before, "0") and scrape("pollect"))
    return {"again": again, "restarts": show("pollect", "NRestarts")}


def watchdog() -> dict[str, object]:
    """Stop the process so that it cannot feed the watchdog, which is made impatient for it."""
    folder = Path("/run/systemd/system/pollect.service.d")
    folder.mkdir(parents=True)
    (folder / "impatient.conf").write_text("[Service]\nWatchdogSec=3\nRestartSec=1\n")
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "pollect")
    fed = until(lambda: scrape("pollect"))
    time.sleep(5)  # longer than the watchdog waits: it must have been fed
    before = show("pollect", "MainPID")
    alive = show("pollect", "NRestarts") == "0"
    os.kill(int(before), signal.SIGSTOP)
    again = until(lambda: show("pollect", "MainPID") not in (before, "0") and scrape("pollect"))
    return {"fed": fed and alive, "again": again}


def mistake() -> dict[str, object]:
    good = (CONFIG / "pollect.yml").read_text()
    (CONFIG / "pollect.yml").write_text("executors: 7\n")
    sh("systemctl", "restart", "pollect")
    failed = until(lambda: show("pollect", "ActiveState") == "failed")
    found = {"failed": failed, "status": show("pollect", "ExecMainStatus")}
    (CONFIG / "pollect.yml").write_text(good)
    sh("systemctl", "reset-failed", "pollect")
    sh("systemctl", "restart", "pollect")
    return {**found, "mended": until(lambda: scrape("pollect"))}


def start_unit(name: str) -> dict[str, object]:
    config_file = str(CONFIG / f"{name}.yml")
    said = sh(POLLECT, "unit", "-c", config_file, "--name", name, "--install", "--yes")
    unit = Path(f"/etc/systemd/system/{name}.service").read_text()
    config = json.loads((CONFIG / f"{name}.yml").read_text())
    sources = len(config["executors"][0]["sources"])
    up = until(
        lambda: (
            scrape(name).count("\npollect_source_up{") == sources
            and {type_of(line) for line in down(name)} <= set(EXCUSED)
        ),
        60,
    )
    try:
        text = scrape(name)
    except OSError:
        text = ""
    return {
        "unit": unit,
        "said": said,
        "up": up,
        "down": sorted(type_of(line) for line in down(name)) if text else [],
        "metrics": sorted({line.partition("{")[0] for line in text.splitlines()
                           if line.startswith("box_")}),
        "journal": sh("journalctl", "--no-pager", "-u", name, "-o", "cat"),
        "security": sh("systemd-analyze", "security", "--no-pager", name).splitlines()[-1:],
    }  # fmt: skip


def privileged() -> dict[str, object]:
    return start_unit("privileged")


def everything() -> dict[str, object]:
    return start_unit("everything")


def stop() -> dict[str, object]:
    security = sh("systemd-analyze", "security", "--no-pager", "pollect").splitlines()[-1:]
    sh("systemctl", "stop", "pollect")
    return {
        "result": show("pollect", "Result"),
        "status": show("pollect", "ExecMainStatus"),
        "state": show("pollect", "ActiveState"),
        "security": security,
    }


CHECKS = (
    prepare,
    install,
    notify,
    user,
    credentials,
    reload,
    kill,
    privileged,
    everything,
    watchdog,
    mistake,
    stop,
)


def main() -> None:
    results: dict[str, object] = {}
    for check in CHECKS:
        try:
            results[check.__name__] = check()
        except BaseException:  # noqa: BLE001 - the test shows it
            results[check.__name__] = {"error": traceback.format_exc()}
    results["journal"] = sh("journalctl", "--no-pager", "-u", "pollect", "-o", "cat", "-n", "60")
    unfinished = Path("/checks/results.new")
    unfinished.write_text(json.dumps(results, indent=1))
    unfinished.rename("/checks/results.json")


if __name__ == "__main__":
    main()
