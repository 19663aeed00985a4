"""Source `K8sNamespaceTraffic`: bytes per Kubernetes namespace of this node, by destination.

A small program in the kernel counts the packets of every socket (see traffic.bpf.c); the owner of
a packet is found by its cgroup. Needs Linux 5.8, better 5.11, cgroup v2, CAP_BPF and
CAP_NET_ADMIN. A packet costs about 0.3 microseconds, a probe two system calls per entry and a walk
through the cgroup tree.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta

from pollect.api import (
    ConfigError,
    FilePath,
    Kind,
    Metric,
    MissingDependency,
    Panel,
    ProbeError,
    Roots,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.process import Command
from pollect_sources_system.container.cgroups import is_version_2
from pollect_sources_system.k8s_namespace_traffic.counter import (
    Count,
    Flow,
    PacketCounter,
    Traffic,
)
from pollect_sources_system.k8s_namespace_traffic.networks import (
    LOCALHOST,
    IPAddress,
    NamedNetwork,
    Networks,
)
from pollect_sources_system.k8s_namespace_traffic.pods import (
    CRICTL,
    CTR,
    IP,
    Crictl,
    Ctr,
    LogDirectory,
    Resolver,
    find_cgroups,
)
from pollect_sources_system.kernel import place_of

#: Namespace of a pod that no resolver knows.
UNKNOWN = "unknown"
SENT, RECEIVED = "sent", "received"
#: The inode of the root of the node's cgroup hierarchy; a container sees another one.
ROOT_CGROUP = 1
LOGGED_FLOWS_PER_PROBE = 20

_HELP = "Bytes since the start, of the payload or of whole IP packets (option `count`)."
_LABELS = ("dest_network", "direction")
BYTES = Metric(
    help=_HELP, unit="bytes", kind=Kind.COUNTER, labels=("namespace", *_LABELS), headline=True
)
PACKETS = Metric(
    "packets",
    help="Packets since the start.",
    unit="packets",
    kind=Kind.COUNTER,
    labels=("namespace", *_LABELS),
)
POD_BYTES = Metric(
    "pod",
    help=_HELP,
    unit="bytes",
    kind=Kind.COUNTER,
    labels=("namespace", "pod", *_LABELS),
    panel=Panel(needs=("pods",)),
)


class K8sNamespaceTrafficConfig(SourceConfig, frozen=True, kw_only=True):
    networks: Annotated[
        tuple[NamedNetwork, ...],
        Meta(description="Destination networks; the first that fits wins, the rest is `other`."),
    ] = ()
    namespace_label: Annotated[str, Meta(description="Name of the first label.")] = "namespace"
    hide_localhost_traffic: Annotated[
        bool, Meta(description="Leave out traffic to localhost and from an address to itself.")
    ] = True
    traffic_log: Annotated[
        str | None,
        Meta(description="`unknown`: log flows that fit no network; any other text: log all."),
    ] = None
    log_unknown_traffic: Annotated[bool, Meta(description="The same as `trafficLog: unknown`.")] = (
        False
    )
    cgroup_path: Annotated[
        FilePath | None,
        Meta(description="Root of the node's cgroup v2 hierarchy; default: where it is mounted."),
    ] = None
    pod_log_dir: Annotated[
        FilePath, Meta(description="Where the kubelet keeps the logs of pods.")
    ] = "/var/log/pods"
    resolver: Annotated[
        Literal["auto", "logdir", "crictl", "ctr"],
        Meta(description="Where the namespaces of pods come from."),
    ] = "auto"
    count: Annotated[
        Literal["payload", "ip"],
        Meta(description="Count the payload of TCP and UDP, or whole IP packets."),
    ] = "payload"
    max_entries: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Entries the kernel keeps; one per cgroup, address and network."),
    ] = 65536
    packets: Annotated[bool, Meta(description="Also count packets.")] = False
    pods: Annotated[bool, Meta(description="Also report each pod.")] = False


class Owner(NamedTuple):
    """Who a packet belongs to; `pod` is its uid, None outside of pods."""

    namespace: str
    pod: str | None
    network: str


#: Sums of what was counted, by owner, direction (whether it was sent) and `bytes` or `packets`.
Totals: TypeAlias = Counter[tuple[Owner, bool, Literal["bytes", "packets"]]]


class K8sNamespaceTrafficSource(Source[K8sNamespaceTrafficConfig]):
    """Bytes sent and received per Kubernetes namespace, split by destination network."""

    config_type = K8sNamespaceTrafficConfig
    metrics = (BYTES, PACKETS, POD_BYTES)

    def __init__(self, config: K8sNamespaceTrafficConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        try:
            self._networks = Networks(config.networks)
        except ValueError as error:
            raise ConfigError(str(error), key="networks") from error
        first = config.namespace_label
        self._bytes, self._packets, self._pod_bytes = (
            Metric(m.name, help=m.help, unit=m.unit, kind=m.kind, labels=(first, *m.labels[1:]))
            for m in (BYTES, PACKETS, POD_BYTES)
        )
        self._log_mode = config.traffic_log or (UNKNOWN if config.log_unknown_traffic else None)
        self._counter: PacketCounter | None = None
        self._namespaces: Mapping[str, str] = {}
        self._addresses: Mapping[IPAddress, str] = {}
        #: Pods by cgroup, as of the last probe.
        self._pods: dict[int, str | None] = {}
        #: What the entries had counted that were removed with their cgroup.
        self._retired: Totals = Counter()
        self._lost_bytes = 0
        self._logged: set[Flow] = set()

    def open(self) -> None:
        self._root = self._cgroup_root()
        self._resolver = self._choose_resolver()
        self._counter = PacketCounter(
            self._root,
            self._networks,
            entries=self.config.max_entries,
            log_flows=self._log_mode is not None,
        )
        if self._root.stat().st_ino != ROOT_CGROUP:
            self.log.warning(
                "%s is not the root of the node's cgroups: other containers are not seen",
                self._root,
            )

    def probe(self) -> Iterable[Sample]:
        counter = self._counter
        if counter is None:
            raise TargetUnavailable("the packet counter is not loaded")
        living = find_cgroups(self._root)
        # A pod that ended since the last probe is known from then.
        pods = self._pods | living
        self._pods = living
        entries = list(counter.traffic())
        self._resolve({uid for _, who, _ in entries if (uid := pods.get(who.cgroup))})

        totals = Counter(self._retired)
        for key, who, count in entries:
            owner = self._owner_of(who, pods.get(who.cgroup))
            if not self._hidden(who, owner):
                self._add(totals, owner, who.sent, count)
            if who.cgroup not in living:
                if not self._hidden(who, owner):
                    self._add(self._retired, owner, who.sent, count)
                counter.forget(key)
        self._retired = fold_ended(self._retired, {uid for uid in living.values() if uid})
        self._tell_losses(counter)
        self._log_flows(counter)
        return self._samples(totals)

    def close(self) -> None:
        if self._counter is not None:
            self._counter.close()
            self._counter = None

    def _cgroup_root(self) -> Path:
        if self.config.cgroup_path:
            return place_of(self.context, self.config.cgroup_path)
        roots = self.context.roots
        of_host = roots.sys / "fs" / "cgroup"
        if roots != Roots() and is_version_2(of_host):
            return of_host
        # A container has a mount of its own, which shows that container alone.
        below = Path("/") if roots == Roots() else of_host
        found = find_cgroup_mount((roots.proc / "self/mountinfo").read_text(), below)
        if found is None:
            raise TargetUnavailable(
                "no cgroup v2 hierarchy is mounted; set cgroupPath to the host's"
            )
        return Path(found)

    def _choose_resolver(self) -> Resolver:
        folder = place_of(self.context, self.config.pod_log_dir)
        crictl, ctr, ip = (
            Command(program, stopping=self.context.stopping) for program in (CRICTL, CTR, IP)
        )
        match self.config.resolver:
            case "logdir":
                return LogDirectory(folder)
            case "crictl":
                crictl.require()
                return Crictl(crictl)
            case "ctr":
                ctr.require()
                return Ctr(ctr, ip)
        if folder.is_dir():
            return LogDirectory(folder)
        for command, resolver in ((crictl, Crictl(crictl)), (ctr, Ctr(ctr, ip))):
            with suppress(MissingDependency):
                command.require()
                return resolver
        self.log.warning("%s does not exist, and neither crictl nor ctr: pods are unknown", folder)
        return LogDirectory(folder)

    def _resolve(self, uids: set[str]) -> None:
        """Ask for the namespaces of pods, once per probe and only if there is a new one."""
        if uids <= self._namespaces.keys():
            return
        try:
            self._namespaces = self._resolver.namespaces()
            self._addresses = self._resolver.addresses()
        except ProbeError as error:
            self.troubles.failed("namespaces of pods", error)
        else:
            self.troubles.works("namespaces of pods")

    def _owner_of(self, who: Traffic, pod: str | None) -> Owner:
        network = self._networks.names[who.network]
        if pod is not None:
            return Owner(self._namespaces.get(pod, UNKNOWN), pod, network)
        namespace = self._addresses.get(who.local)
        if namespace is None:
            namespace = self._networks.names[self._networks.number_of(who.local)]
        return Owner(namespace, None, network)

    def _hidden(self, who: Traffic, owner: Owner) -> bool:
        return self.config.hide_localhost_traffic and (who.to_itself or owner.network == LOCALHOST)

    def _add(self, totals: Totals, owner: Owner, sent: bool, count: Count) -> None:
        size = count.payload if self.config.count == "payload" else count.bytes
        totals[owner, sent, "bytes"] += size
        totals[owner, sent, "packets"] += count.packets

    def _samples(self, totals: Totals) -> list[Sample]:
        by_namespace: Counter[tuple[Metric, tuple[str, ...]]] = Counter()
        for owner in {owner for owner, _, _ in totals}:
            # Both directions appear as soon as one had traffic.
            for sent, direction in ((True, SENT), (False, RECEIVED)):
                labels = (owner.namespace, owner.network, direction)
                size = totals[owner, sent, "bytes"]
                by_namespace[self._bytes, labels] += size
                if self.config.packets:
                    by_namespace[self._packets, labels] += totals[owner, sent, "packets"]
                if self.config.pods and owner.pod is not None:
                    pod_labels = (owner.namespace, owner.pod, owner.network, direction)
                    by_namespace[self._pod_bytes, pod_labels] += size
        return [metric.sample(size, *labels) for (metric, labels), size in by_namespace.items()]

    def _tell_losses(self, counter: PacketCounter) -> None:
        lost = counter.lost_bytes()
        if lost > self._lost_bytes:
            self.log.warning(
                "%d bytes were not counted: more than %d kinds of traffic, raise maxEntries",
                lost - self._lost_bytes,
                self.config.max_entries,
            )
        self._lost_bytes = lost

    def _log_flows(self, counter: PacketCounter) -> None:
        if self._log_mode is None:
            return
        seen = {flow for flow in counter.flows() if self._log_mode != UNKNOWN or not flow.network}
        new = sorted(seen - self._logged, key=str)
        for flow in new[:LOGGED_FLOWS_PER_PROBE]:
            arrow = "->" if flow.sent else "<-"
            network = self._networks.names[flow.network]
            self.log.info("traffic %s %s %s (%s)", flow.local, arrow, flow.remote, network)
        if len(new) > LOGGED_FLOWS_PER_PROBE:
            self.log.info("and %d more flows", len(new) - LOGGED_FLOWS_PER_PROBE)
        self._logged = seen


def fold_ended(totals: Totals, living: Collection[str]) -> Totals:
    """Return the totals in which every pod that is not among `living` is part of its namespace.

    A node sees thousands of pods in its life, and few namespaces.
    """
    folded: Totals = Counter()
    for (owner, sent, kind), amount in totals.items():
        if owner.pod is not None and owner.pod not in living:
            owner = owner._replace(pod=None)
        folded[owner, sent, kind] += amount
    return folded


def find_cgroup_mount(mountinfo: str, below: Path = Path("/")) -> str | None:
    """Return where the cgroup v2 hierarchy is mounted, from the text of /proc/self/mountinfo.

    Only mounts in the folder `below` count. The file system type is the first field behind the lone
    hyphen (proc(5)).
    """
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] == "cgroup2":
            place = before.split(" ")[4]
            if Path(place).is_relative_to(below):
                return place
    return None
