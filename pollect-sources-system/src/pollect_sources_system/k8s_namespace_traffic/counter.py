"""The packet counter in the kernel: loads it, attaches it, reads what it counted."""

import errno
import ipaddress
import os
import resource
import struct
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from pollect.api import TargetUnavailable
from pollect_sources_system.k8s_namespace_traffic import bpf
from pollect_sources_system.k8s_namespace_traffic.networks import IPAddress, Networks

OBJECT = "traffic.bpf.o"
FLOWS_KEPT = 4096
IPV4 = 4

#: Layouts of traffic.bpf.c: `struct traffic_key`, `traffic_value`, `flow_key`.
_TRAFFIC_KEY = struct.Struct("=Q16sIBBBx")
_TRAFFIC_VALUE = struct.Struct("=QQQ")
_FLOW_KEY = struct.Struct("=16s16sIBBxx")
_NUMBER = struct.Struct("=Q")
_WORD = struct.Struct("=I")
_FIRST = _WORD.pack(0)


class Traffic(NamedTuple):
    """Who: one cgroup, local address, remote network and direction."""

    cgroup: int
    local: IPAddress
    network: int
    sent: bool
    #: Local and remote address are the same.
    to_itself: bool


class Count(NamedTuple):
    """How much, since the counter was loaded."""

    bytes: int
    payload: int
    packets: int


class Flow(NamedTuple):
    """A pair of addresses that talked."""

    local: IPAddress
    remote: IPAddress
    network: int
    sent: bool


class PacketCounter:
    """Two programs at the root of the cgroup hierarchy and the maps they count in."""

    def __init__(
        self, cgroup_root: Path, networks: Networks, *, entries: int, log_flows: bool
    ) -> None:
        """Load and attach; raises `TargetUnavailable` saying what is missing."""
        self._descriptors: list[int] = []
        try:
            self._load(cgroup_root, networks, entries, log_flows)
        except bpf.BpfError as error:
            self.close()
            raise TargetUnavailable(explain(error, cgroup_root)) from error
        except OSError as error:
            self.close()
            raise TargetUnavailable(f"cannot open {cgroup_root}: {error.strerror}") from error

    def traffic(self) -> Iterator[tuple[bytes, Traffic, Count]]:
        """Yield everything counted, each with the key that `forget` takes."""
        for key in self._traffic:
            value = self._traffic.get(key)
            if value is None:
                continue
            cgroup, local, network, family, sent, to_itself = _TRAFFIC_KEY.unpack(key)
            who = Traffic(cgroup, _address(local, family), network, bool(sent), bool(to_itself))
            yield key, who, Count(*_TRAFFIC_VALUE.unpack(value))

    def forget(self, key: bytes) -> None:
        """Remove an entry nothing is added to any more."""
        with suppress(bpf.BpfError):
            del self._traffic[key]

    def flows(self) -> Iterator[Flow]:
        """Yield the pairs of addresses seen lately, if they are logged at all."""
        for key in self._flows:
            local, remote, network, family, sent = _FLOW_KEY.unpack(key)
            yield Flow(_address(local, family), _address(remote, family), network, bool(sent))

    def lost_bytes(self) -> int:
        """Return the bytes that found no room in the map."""
        value = self._lost.get(_FIRST)
        return int(_NUMBER.unpack(value)[0]) if value else 0

    def close(self) -> None:
        """Detach: the kernel drops links, programs and maps with their descriptors."""
        for descriptor in reversed(self._descriptors):
            os.close(descriptor)
        self._descriptors.clear()

    def _load(self, cgroup_root: Path, networks: Networks, entries: int, log_flows: bool) -> None:
        table = networks.longest_prefix_table()
        prefixes = max(1, len(table))
        nets4 = self._map("nets4", bpf.LPM_TRIE, 8, 4, prefixes, bpf.NO_PREALLOC)
        nets6 = self._map("nets6", bpf.LPM_TRIE, 20, 4, prefixes, bpf.NO_PREALLOC)
        for network, number in table.items():
            key = _WORD.pack(network.prefixlen) + network.network_address.packed
            (nets4 if network.version == IPV4 else nets6)[key] = _WORD.pack(number)
        key_bytes, value_bytes = _TRAFFIC_KEY.size, _TRAFFIC_VALUE.size
        self._traffic = self._map(
            "traffic", bpf.HASH, key_bytes, value_bytes, entries, bpf.NO_PREALLOC
        )
        self._lost = self._map("lost", bpf.ARRAY, _WORD.size, _NUMBER.size, 1)
        options = self._map("options", bpf.ARRAY, _WORD.size, _WORD.size, 1)
        options[_FIRST] = _WORD.pack(int(log_flows))
        kept = FLOWS_KEPT if log_flows else 1
        self._flows = self._map("flows", bpf.LRU_HASH, _FLOW_KEY.size, _NUMBER.size, kept)
        maps = (nets4, nets6, self._traffic, self._lost, options, self._flows)
        code = bpf.link_sections(
            files(__package__).joinpath(OBJECT).read_bytes(),
            {bpf_map.name: bpf_map.descriptor for bpf_map in maps},
        )
        directory = self._keep(os.open(cgroup_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for section, attach_type in (("ingress", bpf.INGRESS), ("egress", bpf.EGRESS)):
            program = self._keep(bpf.load_program(section, code[section], attach_type))
            self._keep(bpf.attach(program, directory, attach_type))

    def _map(
        self, name: str, kind: int, key_bytes: int, value_bytes: int, entries: int, flags: int = 0
    ) -> bpf.Map:
        try:
            made = bpf.Map(name, kind, key_bytes, value_bytes, entries, flags)
        except bpf.BpfError as error:
            if error.errno != errno.EPERM:
                raise
            # Before Linux 5.11 maps count as locked memory, of which few processes may have much.
            with suppress(ValueError, OSError):
                unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
            made = bpf.Map(name, kind, key_bytes, value_bytes, entries, flags)
        self._keep(made.descriptor)
        return made

    def _keep(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor


def _address(packed: bytes, family: int) -> IPAddress:
    return ipaddress.ip_address(packed[:4] if family == IPV4 else packed)


def explain(error: bpf.BpfError, cgroup_root: Path) -> str:
    """Return what the administrator has to do about a failed call."""
    attaching = error.command == bpf.LINK_CREATE
    match error.errno:
        case errno.EPERM if attaching:
            return (
                "cannot attach the packet counter: CAP_NET_ADMIN is missing, or another program "
                f"holds {cgroup_root} for itself"
            )
        case errno.EPERM:
            return (
                "cannot load the packet counter: CAP_BPF is missing "
                "(before Linux 5.11 also: RLIMIT_MEMLOCK is too low)"
            )
        case errno.EBADF if attaching:
            return f"{cgroup_root} is not a directory of cgroup v2; set cgroupPath"
        case errno.EINVAL if attaching:
            return "cannot attach the packet counter: Linux 5.7 or newer is needed"
        case errno.ENOSYS:
            return "this kernel has no BPF (CONFIG_BPF_SYSCALL)"
    log = f"; the kernel's verifier says: {error.log}" if error.log else ""
    return f"cannot use the packet counter: {error}{log}"
