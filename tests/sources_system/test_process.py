import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pollect.api import ConfigError, Roots
from pollect.testing import FakeClock, build_source, wait_until
from pollect.testing.clock import FakeClock as Clock
from pollect_sources_system.process import ProcessSource, SteadyCounters
from pollect_sources_system.processes import KernelProcesses, format_command_line
from pollect_sources_system.psutil_processes import PsutilProcesses
from tests.sources_system.readings import read

BUSY = "while True: pass"
SLEEP = "import time; print(flush=True); time.sleep(600)"


class RealTime(Clock):
    """The fake clock with real time, for rates of real processes."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python children with a mark in their command line; all end with the test."""
    children = []

    def start_child(code: str, mark: str) -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [sys.executable, "-c", code, mark], stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        return await_command_line(child, mark)

    yield start_child
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def await_command_line(child: "subprocess.Popen[str]", mark: str) -> "subprocess.Popen[str]":
    """Wait for the kernel to finish exec(): for a moment the command line is empty.

    A child that has ended already stays a zombie.
    """
    ended = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while mark not in Path(f"/proc/{child.pid}/cmdline").read_text():
        if os.waitid(os.P_PID, child.pid, ended):
            break
        time.sleep(0.001)
    return child


def ready(child: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    """Wait until the child sleeps: until then its memory grows."""
    assert child.stdout is not None
    child.stdout.readline()
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_SLEEPING)
    return child


@pytest.fixture
def mark(request) -> str:
    return f"mark-{os.getpid()}-{request.node.originalname}-"


def open_source(**section: object) -> ProcessSource:
    source = build_source(section, ProcessSource, clock=RealTime())
    source.open()
    return source  # type: ignore[return-value]


def test_busy_child_loads_one_cpu_and_a_sleeper_none(start: Start, mark: str) -> None:
    sleeper = ready(start(SLEEP, f"{mark}-a"))
    busy = start(BUSY, f"{mark}-b")
    source = open_source(procRegex=mark)
    first = read(source)
    assert first["load_percent", "0"] == first["load_percent", "1"] == 0.0
    assert first["process_count", "all"] == 2
    started = time.monotonic()
    read(source)
    before = psutil.Process(busy.pid).cpu_times()
    while psutil.Process(busy.pid).cpu_times().user - before.user < 0.3:
        assert time.monotonic() - started < 60
        time.sleep(0.01)
    second = read(source)
    # At least this, however little of a busy machine it got; the kernel counts in 10 ms.
    least = 100 * (0.3 - 0.02) / (time.monotonic() - started)
    loads = dict(zip(sorted((sleeper.pid, busy.pid)), ("0", "1"), strict=True))
    assert second["load_percent", loads[busy.pid]] > least
    assert second["load_percent", loads[sleeper.pid]] < least / 2


def test_load_is_cpu_seconds_by_wall_seconds(start: Start, mark: str) -> None:
    child = start(BUSY, mark)
    source = open_source(procRegex=mark)
    clock = FakeClock()
    source.context = build_source({"procRegex": "x"}, ProcessSource, clock=clock).context
    read(source)
    os.kill(child.pid, 19)  # SIGSTOP: from here on its CPU time stands still
    while psutil.Process(child.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.005)
    clock.advance(1)
    read(source)
    cpu = sum(psutil.Process(child.pid).cpu_times()[:2])
    os.kill(child.pid, 18)  # SIGCONT
    while sum(psutil.Process(child.pid).cpu_times()[:2]) < cpu + 0.2:
        time.sleep(0.005)
    os.kill(child.pid, 19)
    while psutil.Process(child.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.005)
    clock.advance(2)
    used = sum(psutil.Process(child.pid).cpu_times()[:2]) - cpu
    assert read(source)["load_percent", "0"] == pytest.approx(used / 2 * 100)


def test_two_sources_over_one_child_both_see_its_load(start: Start, mark: str) -> None:
    child = start(BUSY, mark)
    sources = [open_source(procRegex=mark) for _ in range(2)]
    for source in sources:
        read(source)
    before = sum(psutil.Process(child.pid).cpu_times()[:2])
    while sum(psutil.Process(child.pid).cpu_times()[:2]) < before + 0.1:
        time.sleep(0.01)
    for source in sources:
        assert read(source)["load_percent", "0"] > 0


def test_memory_is_what_the_kernel_says(start: Start, mark: str) -> None:
    child = ready(start(SLEEP, mark))
    found = read(open_source(procRegex=mark))
    assert found["virtual_memory", "0"] == psutil.Process(child.pid).memory_info().vms


def test_matches_are_numbered_in_the_order_of_their_pids(start: Start, mark: str) -> None:
    children = [ready(start(SLEEP, mark)) for _ in range(3)]
    found = read(open_source(procRegex=mark, load=False))
    for index, child in enumerate(sorted(children, key=lambda child: child.pid)):
        memory = psutil.Process(child.pid).memory_info().vms
        assert found["virtual_memory", str(index)] == memory


def test_memory_and_load_can_be_switched_off(start: Start, mark: str) -> None:
    ready(start(SLEEP, mark))
    assert read(open_source(procRegex=mark, memory=False, load=False)) == {
        ("process_count", "all"): 1
    }


def test_nothing_that_matches_is_a_count_of_zero() -> None:
    found = read(open_source(procRegex="no such [p]rocess", total=True))
    assert found["process_count", "all"] == 0
    assert found["total_load_percent",] == 0


def test_zombie_is_no_process_and_does_not_end_the_probe(start: Start, mark: str) -> None:
    ready(start(SLEEP, mark))
    ended = start("pass", mark)
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)
    assert read(open_source(procRegex=mark))["process_count", "all"] == 1
    everything = read(open_source(procRegex="", memory=False, load=False))
    assert everything["process_count", "all"] > 1


def test_process_that_ends_between_listing_and_reading_is_not_counted(
    start: Start, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = ready(start(SLEEP, mark))
    survivor = ready(start(SLEEP, mark))
    source = open_source(procRegex=mark)
    command_line = source._processes.command_line

    def kill_once_seen(pid: int) -> str:
        text = command_line(pid)
        if pid == doomed.pid:
            doomed.kill()
            doomed.wait()
        return text

    monkeypatch.setattr(source._processes, "command_line", kill_once_seen)
    found = read(source)
    assert found["process_count", "all"] == 1
    assert found["virtual_memory", "0"] == psutil.Process(survivor.pid).memory_info().vms


def test_state_of_ended_processes_is_forgotten(start: Start, mark: str) -> None:
    child = ready(start(SLEEP, mark))
    source = open_source(procRegex=mark)
    read(source)
    assert len(source._rates._last) == 1
    child.kill()
    child.wait()
    read(source)
    assert len(source._rates._last) == 0


def test_program_started_by_exec_is_seen_under_its_new_command_line(
    start: Start, mark: str
) -> None:
    new = f"after-{os.getpid()}"
    code = f"import os, sys; input(); os.execv(sys.executable, [sys.executable, '-c', {SLEEP!r}, {new!r}])"  # noqa: E501
    child = subprocess.Popen(
        [sys.executable, "-c", code, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        await_command_line(child, mark)
        before, after = open_source(procRegex=mark), open_source(procRegex=f"time.sleep.* {new}$")
        assert read(before)["process_count", "all"] == 1
        assert read(after)["process_count", "all"] == 0
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        ready(child)
        assert read(before)["process_count", "all"] == 0
        assert read(after)["process_count", "all"] == 1
    finally:
        child.kill()
        child.communicate()


def test_details_are_those_of_the_kernel(start: Start, mark: str) -> None:
    child = ready(start(SLEEP, mark))
    found = read(open_source(procRegex=mark, details=True))
    process = psutil.Process(child.pid)
    assert found["resident_memory", "0"] == process.memory_info().rss
    assert found["num_threads", "0"] == 1
    assert found["num_fds", "0"] == process.num_fds()
    assert found["io_read_bytes", "0"] == process.io_counters().read_bytes
    assert found["io_write_bytes", "0"] == process.io_counters().write_bytes
    assert 0 <= found["uptime", "0"] < 600


@pytest.mark.parametrize("label", ["pid", "cmdline", "name"])
def test_label_tells_which_process_it_is(start: Start, mark: str, label: str) -> None:
    child = ready(start(SLEEP, mark))
    process = psutil.Process(child.pid)
    expected = {
        "pid": str(child.pid),
        "cmdline": " ".join(process.cmdline())[:256],
        "name": process.name(),
    }
    source = open_source(procRegex=mark, label=label, details=True)
    found = read(source)
    assert found["resident_memory", "0", expected[label]] == process.memory_info().rss
    assert found["process_count", "all"] == 1
    assert {
        metric.labels for metric in source.expected_metrics() if metric.name == "load_percent"
    } == {("pidx", label)}


def test_counter_of_a_position_does_not_fall_when_another_process_takes_it() -> None:
    counters = SteadyCounters()
    first, second = ("io_read_bytes", "0"), ("io_read_bytes", "1")
    assert counters.update(first, "a", 1000) == 1000
    assert counters.update(second, "b", 10) == 10
    counters.keep({first, second}, {"a", "b"})
    # a has ended: b is the first now, and read 5 more.
    assert counters.update(first, "b", 15) == 1005
    counters.keep({first}, {"b"})
    assert counters.update(first, "b", 20) == 1010
    # c is new, and in a position that was empty.
    assert counters.update(second, "c", 7) == 7


def test_io_counters_do_not_fall_when_the_first_process_ends(start: Start, mark: str) -> None:
    read_much = (
        "import time; [open('/proc/self/stat').read() for _ in range(9)];"
        " print(flush=True); time.sleep(600)"
    )
    children = [ready(start(read_much, mark)) for _ in range(2)]
    source = open_source(procRegex=mark, details=True)
    before = read(source)
    first = min(children, key=lambda child: child.pid)
    first.kill()
    first.wait()
    after = read(source)
    assert after["process_count", "all"] == 1
    for name in ("io_read_bytes", "io_write_bytes"):
        assert after[name, "0"] >= before[name, "0"]


def test_probe_on_the_command_line_does_not_find_itself() -> None:
    pattern = f"no-such-thing-{os.getpid()}"
    command = [sys.executable, "-m", "pollect", "probe", "--json", "Process"]
    for quote in ("", "'", '"'):
        words = [*command, f"procRegex={quote}{pattern}{quote}"]
        line = " ".join(words)
        source = open_source(procRegex=pattern)
        assert not source._matches(line)
        assert source._matches(f"{line} {pattern}")
    words = [*command, f"procRegex={pattern}"]
    # As with sudo, there is a second process with the same words.
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(words)}; exit $?"], capture_output=True, text=True, check=False
    )
    [result] = json.loads(done.stdout)
    assert [sample["value"] for sample in result["samples"]] == [0]


def test_host_around_a_container_is_shown(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(f"root:x:999999:0::/:\nme:x:{os.getuid()}:0::/:\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "service.pid").write_text(f"{os.getpid()}\n")
    roots = Roots(rootfs=tmp_path)
    counts = {}
    for user in ("me", "root"):
        section = {"procRegex": "", "pidFile": "/run/service.pid", "user": user}
        source = build_source(section, ProcessSource, roots=roots)
        source.open()
        counts[user] = read(source)["process_count", "all"]
    assert counts == {"me": 1, "root": 0}


def test_totals_add_all_matches_up(start: Start, mark: str) -> None:
    children = [ready(start(SLEEP, mark)) for _ in range(2)]
    found = read(open_source(procRegex=mark, total=True))
    infos = [psutil.Process(child.pid).memory_info() for child in children]
    assert found["total_virtual_memory",] == sum(info.vms for info in infos)
    assert found["total_resident_memory",] == sum(info.rss for info in infos)
    assert found["total_load_percent",] == 0.0


@pytest.mark.parametrize(
    ("option", "value", "count"),
    [
        ("exe", "python*", 1),
        ("exe", os.path.realpath(sys.executable), 1),
        ("exe", "perl*", 0),
        ("user", psutil.Process().username(), 1),
        ("user", "no-such-user", 0),
    ],
)
def test_selectors_narrow_the_matches(
    start: Start, mark: str, option: str, value: str, count: int
) -> None:
    ready(start(SLEEP, mark))
    found = read(open_source(procRegex=mark, **{option: value}))
    assert found["process_count", "all"] == count


def test_pid_file_names_the_only_candidate(start: Start, mark: str, tmp_path: Path) -> None:
    children = [ready(start(SLEEP, mark)) for _ in range(2)]
    file = tmp_path / "service.pid"
    source = open_source(procRegex=mark, pidFile=str(file))
    assert read(source)["process_count", "all"] == 0
    file.write_text(f"{children[1].pid}\n")
    found = read(source)
    assert found["process_count", "all"] == 1
    assert found["virtual_memory", "0"] == psutil.Process(children[1].pid).memory_info().vms


def test_own_process_can_be_left_out(start: Start, mark: str, tmp_path: Path) -> None:
    # Other tests run in processes with the same command line, which come and go.
    file = tmp_path / "own.pid"
    file.write_text(f"{os.getpid()}\n")
    own = open_source(procRegex="", pidFile=str(file))
    assert read(own)["process_count", "all"] == 1
    left_out = open_source(procRegex="", pidFile=str(file), excludeSelf=True)
    assert read(left_out)["process_count", "all"] == 0
    ready(start(SLEEP, mark))
    assert read(open_source(procRegex=mark, excludeSelf=True))["process_count", "all"] == 1


def test_bad_regular_expression_is_told_with_its_text() -> None:
    with pytest.raises(ConfigError, match=r"'sd\[a-z' is not a regular expression") as caught:
        build_source({"procRegex": "sd[a-z"}, ProcessSource)
    assert caught.value.key == "procRegex"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", ""),
        (b"nginx\0-g\0daemon off;\0", "nginx -g daemon off;"),
        (b"nginx: master process", "nginx: master process"),
        (b"title ", "title"),
        (b"a\0\0b\0", "a  b"),
        (b"caf\xe9\0", "caf\udce9"),
    ],
)
def test_command_line_is_the_arguments_joined_by_blanks(text: bytes, line: str) -> None:
    assert format_command_line(text) == line


def test_command_lines_equal_those_of_psutil(start: Start, mark: str) -> None:
    long = "x" * 40_000
    child = ready(start(SLEEP, mark + long))
    for process in (psutil.Process(), psutil.Process(child.pid)):
        line = KernelProcesses(Path("/proc")).command_line(process.pid)
        assert line == " ".join(process.cmdline())


def by_psutil() -> PsutilProcesses:
    """The processes as on a system that is not Linux."""
    return PsutilProcesses(
        build_source({"procRegex": "x"}, ProcessSource, clock=RealTime()).context
    )


def test_kernel_and_psutil_show_the_same_process(start: Start, mark: str, tmp_path: Path) -> None:
    # Longer than the kernel's 15 characters, with what ends a name in /proc/PID/stat.
    program = tmp_path / "a) long (name) of a program"
    program.symlink_to("/bin/sleep")
    sleeper = subprocess.Popen([program, "60"])
    try:
        child = ready(start(SLEEP, mark))
        while not Path(f"/proc/{sleeper.pid}/cmdline").read_bytes().startswith(bytes(program)):
            time.sleep(0.001)
        for pid in (child.pid, sleeper.pid):
            theirs, ours = by_psutil().look(pid), KernelProcesses(Path("/proc")).look(pid)
            assert ours.is_zombie is theirs.is_zombie is False
            assert ours.virtual_bytes == theirs.virtual_bytes
            assert ours.resident_bytes() == theirs.resident_bytes()
            assert ours.cpu_seconds == pytest.approx(theirs.cpu_seconds)
            assert ours.name() == theirs.name()
            assert ours.program() == theirs.program()
            assert (ours.user_id(), ours.user()) == (theirs.user_id(), theirs.user())
            assert ours.details()._replace(uptime_seconds=0) == theirs.details()._replace(
                uptime_seconds=0
            )
            # psutil counts from the time of day at boot, which the kernel has in whole seconds.
            assert abs(ours.details().uptime_seconds - theirs.details().uptime_seconds) < 2
    finally:
        sleeper.kill()
        sleeper.wait()


def test_source_probes_alike_where_there_is_no_proc(start: Start, mark: str) -> None:
    children = [ready(start(SLEEP, mark)) for _ in range(2)]
    section = {"procRegex": mark, "details": True, "total": True, "exe": "python*"}
    source = open_source(**section)
    expected = read(source)
    assert expected["process_count", "all"] == len(children)
    source = open_source(**section)
    source._processes = by_psutil()
    found = read(source)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        if key[0] != "uptime":
            assert value == expected[key], key


@pytest.mark.parametrize("processes", [KernelProcesses(Path("/proc")), by_psutil()])
def test_process_that_ended_is_an_error_of_the_system(
    processes: KernelProcesses | PsutilProcesses,
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = processes.look(child.pid)
    child.communicate(b"\n")
    for look in (
        process.resident_bytes,
        process.details,
        process.program,
        process.user_id,
        lambda: processes.command_line(child.pid),
        lambda: processes.look(child.pid),
    ):
        with pytest.raises(OSError, match=rf"{child.pid}|No such process"):
            look()


def test_same_number_and_another_start_is_another_process(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    keys = []
    for started in (100, 100, 200):
        numbers = ["0"] * 40
        numbers[18] = str(started)
        (folder / "stat").write_text(f"7 (a b) S {' '.join(numbers)}")
        keys.append(KernelProcesses(tmp_path).look(7).key)
    assert keys[0] == keys[1] != keys[2]
