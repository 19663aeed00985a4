"""K8sNamespaceTraffic in real network namespaces and cgroups, counted to the byte."""

import contextlib
import errno
import hashlib
import ipaddress
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import ConfigError, Roots, TargetUnavailable
from pollect.support.process import Command
from pollect.testing import build_source
from pollect_sources_system.k8s_namespace_traffic import bpf
from pollect_sources_system.k8s_namespace_traffic.counter import explain
from pollect_sources_system.k8s_namespace_traffic.networks import NamedNetwork, Networks
from pollect_sources_system.k8s_namespace_traffic.pods import (
    CRICTL,
    CTR,
    IP,
    Crictl,
    Ctr,
    LogDirectory,
    pod_uid,
)
from pollect_sources_system.k8s_namespace_traffic.source import (
    K8sNamespaceTrafficSource,
    Owner,
    Totals,
    find_cgroup_mount,
    fold_ended,
)
from tests.simulators.pods import Pods, cgroup_root
from tests.tools import bpf as bpf_build

SENT_BYTES = 1_000_000
ANSWER_BYTES = 5_000
DATAGRAM_BYTES = 200
TCP_PORT, UDP_PORT = 7001, 7002

#: Sends over TCP and reads the answer, then sends one datagram and waits for its echo. Prints how
#: many bytes the kernel sent over TCP, repetitions included (`tcpi_bytes_sent` of struct tcp_info).
CLIENT = f"""
import socket, struct, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family) as stream:
    stream.connect((sys.argv[1], {TCP_PORT}))
    stream.sendall(b"x" * {SENT_BYTES})
    stream.shutdown(socket.SHUT_WR)
    while stream.recv(65536):
        pass
    info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    print(struct.unpack_from("=Q", info, 200)[0])
with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
    datagrams.sendto(b"y" * {DATAGRAM_BYTES}, (sys.argv[1], {UDP_PORT}))
    datagrams.settimeout(10)
    datagrams.recv(65536)
"""

#: Takes all a client sends, answers, and echoes datagrams; says when it listens.
SERVER = f"""
import socket, threading
def echo(family, any_address):
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    datagrams.bind((any_address, {UDP_PORT}))
    while True:
        data, peer = datagrams.recvfrom(65536)
        datagrams.sendto(data, peer)
for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    threading.Thread(target=echo, args=(family, any_address), daemon=True).start()
listener = socket.create_server(("::", {TCP_PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
while True:
    stream, _ = listener.accept()
    while stream.recv(65536):
        pass
    stream.sendall(b"z" * {ANSWER_BYTES})
    stream.close()
"""


needs_kernel = [
    pytest.mark.integration,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces and BPF"),
    pytest.mark.skipif(cgroup_root() is None, reason="no cgroup v2 hierarchy is mounted"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is not installed"),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Node:
    """A pod and a server on two sides of a router, each a network namespace of its own."""

    POD4, SERVER4 = "10.244.1.2", "10.99.1.2"
    POD6, SERVER6 = "fd01::2", "fd99::2"

    def __init__(self) -> None:
        tag = uuid.uuid4().hex[:6]
        self.pod, self.router, self.server = (f"pt{tag}{part}" for part in ("p", "r", "s"))

    def __enter__(self) -> "Node":
        for name in (self.pod, self.router, self.server):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        self._join(self.pod, "10.244.1", "fd01::")
        self._join(self.server, "10.99.1", "fd99::")
        for switch in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            key, _, value = switch.partition("=")
            path = f"/proc/sys/{key.replace('.', '/')}"
            subprocess.run(
                ["ip", "netns", "exec", self.router, "sh", "-c", f"echo {value} > {path}"],
                check=True,
            )
        self._server = subprocess.Popen(
            ["ip", "netns", "exec", self.server, sys.executable, "-c", SERVER],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "listening\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait(30)
        assert self._server.stdout is not None
        self._server.stdout.close()
        for name in (self.pod, self.router, self.server):
            ip("netns", "del", name)

    def talk(self, address: str, cgroup: Path) -> int:
        """Run the client in the pod's namespace as a member of `cgroup`; return the bytes it sent.

        On a busy machine TCP repeats what it takes for lost, and that counts as it should.
        """
        # `ip netns exec` hides the cgroup mounts: join before.
        script = 'echo $$ > "$1/cgroup.procs"; exec ip netns exec "$2" "$3" -c "$4" "$5"'
        words = [str(cgroup), self.pod, sys.executable, CLIENT, address]
        command = ["sh", "-c", script, "sh", *words]
        done = subprocess.run(command, check=True, timeout=150, capture_output=True, text=True)
        assert int(done.stdout) >= SENT_BYTES
        return int(done.stdout) + DATAGRAM_BYTES

    def _join(self, name: str, net4: str, net6: str) -> None:
        here, there = f"{name}e", f"{name}x"
        ip("link", "add", here, "netns", name, "type", "veth", "peer", there, "netns", self.router)
        for space, link, host in ((name, here, 2), (self.router, there, 1)):
            ip("-n", space, "addr", "add", f"{net4}.{host}/24", "dev", link)
            ip("-n", space, "addr", "add", f"{net6}{host}/64", "dev", link, "nodad")
            ip("-n", space, "link", "set", link, "up")
        ip("-n", name, "route", "add", "default", "via", f"{net4}.1")
        ip("-n", name, "-6", "route", "add", "default", "via", f"{net6}1")


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node() as node:
        yield node


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    pods = Pods(tmp_path)
    yield pods
    pods.end()


@contextlib.contextmanager
def counting(node_pods: Pods, /, **options: Any) -> Iterator[K8sNamespaceTrafficSource]:
    section = {
        "networks": [{"name": "cluster", "cidrs": ["10.0.0.0/8", "fd00::/8"]}],
        "podLogDir": str(node_pods.logs),
        "cgroupPath": str(node_pods.root),
        **options,
    }
    source = build_source(section, K8sNamespaceTrafficSource)
    assert isinstance(source, K8sNamespaceTrafficSource)
    source.open()
    try:
        yield source
    finally:
        source.close()


def values(source: K8sNamespaceTrafficSource) -> dict[tuple[str | None, tuple[str, ...]], float]:
    return {(s.metric.name, s.label_values): s.value for s in source.probe()}


@pytest.mark.parametrize("systemd", [False, True], ids=["cgroupfs", "systemd"])
@pytest.mark.parametrize("address", [Node.SERVER4, Node.SERVER6], ids=["ipv4", "ipv6"])
class TestInTheKernel:
    pytestmark = needs_kernel

    def test_payload_is_counted_to_the_byte(
        self, node: Node, pods: Pods, systemd: bool, address: str
    ) -> None:
        _, cgroup = pods.start("shop", systemd=systemd)
        with counting(pods) as source:
            sent = node.talk(address, cgroup)
            found = values(source)
        assert found[None, ("shop", "cluster", "sent")] == sent
        assert found[None, ("shop", "cluster", "received")] == ANSWER_BYTES + DATAGRAM_BYTES
        # The server is no pod: its address lies in the first network that contains it.
        assert found[None, ("cluster", "cluster", "sent")] == ANSWER_BYTES + DATAGRAM_BYTES
        assert found[None, ("cluster", "cluster", "received")] == sent


class TestOwnersAndTotals:
    pytestmark = needs_kernel

    def test_each_pod_counts_for_its_namespace(self, node: Node, pods: Pods) -> None:
        _, first = pods.start("shop")
        _, second = pods.start("bank")
        with counting(pods) as source:
            sent_by_first = node.talk(Node.SERVER4, first)
            sent_by_second = node.talk(Node.SERVER4, second)
            found = values(source)
        assert found[None, ("shop", "cluster", "sent")] == sent_by_first
        assert found[None, ("bank", "cluster", "sent")] == sent_by_second

    def test_pod_that_ended_keeps_its_total(self, node: Node, pods: Pods) -> None:
        _, cgroup = pods.start("shop")
        with counting(pods) as source:
            node.talk(Node.SERVER4, cgroup)
            before = values(source)
            pods.kill(cgroup)
            for _ in range(3):
                after = values(source)
                labels = ("shop", "cluster", "sent")
                assert after[None, labels] == before[None, labels]

    def test_pod_that_ended_leaves_its_series_and_not_its_namespace(
        self, node: Node, pods: Pods
    ) -> None:
        uid, cgroup = pods.start("shop")
        with counting(pods, pods=True) as source:
            sent = node.talk(Node.SERVER4, cgroup)
            assert values(source)["pod", ("shop", uid, "cluster", "sent")] == sent
            pods.kill(cgroup)
            # Once more with what it sent at last.
            assert values(source)["pod", ("shop", uid, "cluster", "sent")] == sent
            found = values(source)
        assert found[None, ("shop", "cluster", "sent")] == sent
        assert not any(name == "pod" for name, _ in found)

    def test_whole_packets_are_more_than_their_payload(self, node: Node, pods: Pods) -> None:
        _, cgroup = pods.start("shop")
        with counting(pods, count="ip") as source:
            payload = node.talk(Node.SERVER4, cgroup)
            sent = values(source)[None, ("shop", "cluster", "sent")]
        assert payload < sent < 1.1 * payload

    def test_pods_and_packets_are_reported_when_asked_for(self, node: Node, pods: Pods) -> None:
        uid, cgroup = pods.start("shop")
        with counting(pods, pods=True, packets=True) as source:
            sent = node.talk(Node.SERVER4, cgroup)
            found = values(source)
        assert found["pod", ("shop", uid, "cluster", "sent")] == sent
        assert found["packets", ("shop", "cluster", "sent")] > 2


class TestPrivileges:
    pytestmark = needs_kernel

    def run_with(self, capabilities: str, pods: Pods) -> str:
        """Return what the counter says to a root that may do no more than this.

        Still root, because another user may not be able to load the interpreter.
        """
        script = f"""
from pathlib import Path
from pollect_sources_system.k8s_namespace_traffic.counter import PacketCounter
from pollect_sources_system.k8s_namespace_traffic.networks import Networks
try:
    PacketCounter(Path({str(pods.root)!r}), Networks(()), entries=16, log_flows=False).close()
    print("attached")
except Exception as error:
    print(error)
"""
        command = ["setpriv", "--no-new-privs"]
        command += [f"{name}=-all{capabilities}" for name in ("--inh-caps", "--bounding-set")]
        answer = subprocess.run(
            [*command, sys.executable, "-c", script], capture_output=True, text=True, timeout=150
        )
        return answer.stdout + answer.stderr

    @pytest.mark.parametrize(
        ("capabilities", "answer"),
        [
            (",+bpf,+net_admin", "attached"),
            (",+net_admin", "CAP_BPF is missing"),
            (",+bpf", "CAP_NET_ADMIN is missing"),
            ("", "CAP_BPF is missing"),
        ],
    )
    def test_missing_capability_is_named(self, pods: Pods, capabilities: str, answer: str) -> None:
        assert answer in self.run_with(capabilities, pods)

    def test_folder_that_is_no_cgroup_is_named(self, tmp_path: Path) -> None:
        source = build_source({"cgroupPath": str(tmp_path)}, K8sNamespaceTrafficSource)
        with pytest.raises(TargetUnavailable, match="not a directory of cgroup v2; set cgroupPath"):
            source.open()
        source.close()

    def test_nothing_stays_open_after_close(self, pods: Pods) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with counting(pods) as source:
            assert len(os.listdir("/proc/self/fd")) > before
            source.close()
        assert len(os.listdir("/proc/self/fd")) == before


class TestTrafficLogAndLosses:
    pytestmark = needs_kernel

    def test_unknown_flows_are_logged_once(
        self, node: Node, pods: Pods, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, cgroup = pods.start("shop")
        with (
            caplog.at_level(logging.INFO),
            counting(pods, networks=[], trafficLog="unknown") as source,
        ):
            node.talk(Node.SERVER4, cgroup)
            source.probe()
            source.probe()
        lines = [r.message for r in caplog.records if f"{Node.POD4} -> {Node.SERVER4}" in r.message]
        assert lines == [f"traffic {Node.POD4} -> {Node.SERVER4} (other)"]

    def test_traffic_without_room_in_the_map_is_told(
        self, node: Node, pods: Pods, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, cgroup = pods.start("shop")
        with counting(pods, maxEntries=1) as source:
            node.talk(Node.SERVER4, cgroup)
            source.probe()
        assert "raise maxEntries" in caplog.text


def test_dead_pods_become_part_of_their_namespace() -> None:
    totals: Totals = Counter()
    for number in range(1000):
        for sent in (True, False):
            totals[Owner("shop", f"dead-{number}", "cluster"), sent, "bytes"] = 2
    totals[Owner("shop", "alive", "cluster"), True, "bytes"] = 7
    totals[Owner("shop", None, "cluster"), True, "bytes"] = 5
    assert fold_ended(totals, {"alive"}) == {
        (Owner("shop", "alive", "cluster"), True, "bytes"): 7,
        (Owner("shop", None, "cluster"), True, "bytes"): 2005,
        (Owner("shop", None, "cluster"), False, "bytes"): 2000,
    }


def test_longest_prefix_table_gives_the_first_match() -> None:
    dice = random.Random(7)
    lengths = (8, 15, 16, 23, 24)
    for _ in range(30):
        networks = Networks(
            [
                NamedNetwork(
                    name=f"n{n}",
                    cidrs=tuple(
                        f"10.{dice.randrange(4)}.{dice.randrange(4)}.1/{dice.choice(lengths)}"
                        for _ in range(2)
                    ),
                )
                for n in range(5)
            ]
        )
        table = networks.longest_prefix_table()
        for _ in range(200):
            address = ipaddress.ip_address(f"10.{dice.randrange(5)}.{dice.randrange(5)}.9")
            fitting = [network for network in table if address in network]
            longest = max(fitting, key=lambda network: network.prefixlen, default=None)
            assert (table[longest] if longest else 0) == networks.number_of(address)


@pytest.mark.parametrize(
    ("directory", "uid"),
    [
        (
            "pod0b8d8a6c-0f34-4a35-9d3c-0a1b2c3d4e5f",
            "0b8d8a6c-0f34-4a35-9d3c-0a1b2c3d4e5f",
        ),
        (
            "kubepods-besteffort-pod0b8d8a6c_0f34_4a35_9d3c_0a1b2c3d4e5f.slice",
            "0b8d8a6c-0f34-4a35-9d3c-0a1b2c3d4e5f",
        ),
        (
            "kubelet-kubepods-pod0123456789abcdef0123456789abcdef.slice",
            "0123456789abcdef0123456789abcdef",
        ),
        ("kubepods.slice", None),
        ("cri-containerd-0123456789abcdef.scope", None),
    ],
)
def test_pod_is_read_from_the_name_of_its_cgroup(directory: str, uid: str | None) -> None:
    assert pod_uid(directory) == uid


def test_bad_range_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"10\.0\.0\.0/40"):
        build_source(
            {"networks": [{"name": "a", "cidrs": ["10.0.0.0/40"]}]}, K8sNamespaceTrafficSource
        )


def test_cgroup_mount_is_found_in_mountinfo() -> None:
    text = (
        "25 1 0:24 / /proc rw - proc proc rw\n"
        "30 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    assert find_cgroup_mount(text) == "/sys/fs/cgroup"
    assert find_cgroup_mount("25 1 0:24 / /proc rw - proc proc rw\n") is None


def test_a_container_around_it_has_a_mount_of_its_own_which_is_not_the_hosts(
    tmp_path: Path,
) -> None:
    """On a hybrid host, version 2 is one mount among many; that of the container comes first."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "sys" / "fs" / "cgroup" / "unified").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "mountinfo").write_text(
        "40 30 0:31 /libpod-1 /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n"
        f"50 30 0:31 / {tmp_path}/sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    roots = Roots(
        proc=tmp_path / "proc", sys=tmp_path / "sys", dev=tmp_path / "dev", rootfs=tmp_path
    )
    source = build_source({"networks": []}, K8sNamespaceTrafficSource, roots=roots)
    assert isinstance(source, K8sNamespaceTrafficSource)
    assert source._cgroup_root() == tmp_path / "sys/fs/cgroup/unified"


@pytest.mark.parametrize(
    ("command", "number", "said"),
    [
        (bpf.PROG_LOAD, errno.EPERM, "CAP_BPF"),
        (bpf.LINK_CREATE, errno.EPERM, "CAP_NET_ADMIN"),
        (bpf.LINK_CREATE, errno.EINVAL, "Linux 5.7"),
        (bpf.MAP_CREATE, errno.ENOSYS, "no BPF"),
        (bpf.PROG_LOAD, errno.EACCES, "R1 invalid mem access"),
    ],
)
def test_each_refusal_of_the_kernel_has_its_words(command: int, number: int, said: str) -> None:
    error = bpf.BpfError(command, "do something", number, "R1 invalid mem access")
    assert said in explain(error, Path("/sys/fs/cgroup"))


def test_log_directory_gives_namespaces(tmp_path: Path) -> None:
    for name in ("shop_web-0_uid-1", "bank_db_uid-2", "not a pod"):
        (tmp_path / name).mkdir()
    assert LogDirectory(tmp_path).namespaces() == {"uid-1": "shop", "uid-2": "bank"}


def stand_in(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_crictl_gives_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = {"items": [{"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}}]}
    stand_in(tmp_path, "crictl", f"[ \"$*\" = 'pods -o json' ] && echo '{json.dumps(pods)}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert Crictl(Command(CRICTL)).namespaces() == {"u1": "shop"}


def test_ctr_gives_namespaces_and_addresses_and_skips_what_vanished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = {
        "Labels": {
            "io.kubernetes.pod.uid": "u1",
            "io.kubernetes.pod.namespace": "shop",
        },
        "Spec": {"linux": {"namespaces": [{"type": "network", "path": "/var/run/netns/cni-1"}]}},
    }
    links = [{"addr_info": [{"local": "10.244.0.5", "scope": "global"}]}]
    stand_in(
        tmp_path,
        "ctr",
        f'case "$*" in *list*) printf "a\\nb\\n";; *"info a") echo \'{json.dumps(info)}\';;'
        ' *) echo "container not found" >&2; exit 1;; esac',
    )
    stand_in(tmp_path, "ip", f"[ \"$2\" = cni-1 ] && echo '{json.dumps(links)}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ctr = Ctr(Command(CTR), Command(IP))
    assert ctr.namespaces() == {"u1": "shop"}
    assert ctr.addresses() == {ipaddress.ip_address("10.244.0.5"): "shop"}


def test_object_was_built_from_the_source_beside_it() -> None:
    digest = hashlib.sha256(bpf_build.SOURCE.read_bytes()).hexdigest()
    assert bpf_build.RECORD.read_text().split()[0] == digest, "run `make bpf`"


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_object_is_reproducible(tmp_path: Path) -> None:
    if bpf_build.RECORD.read_text() != bpf_build.record():
        pytest.skip("built with another major version of clang")
    bpf_build.build(tmp_path / "again.o")
    assert (tmp_path / "again.o").read_bytes() == bpf_build.OBJECT.read_bytes()
