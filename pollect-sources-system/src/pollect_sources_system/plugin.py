"""The sources of this distribution, one a line."""

from functools import partial

from pollect.api import (
    INTERNET,
    Capability,
    Device,
    Location,
    Needs,
    Program,
    Roots,
    SourceSpec,
    Suggestion,
    hookimpl,
)

#: Of the plugin API that this is written for.
api = 2

PACKAGE = "pollect_sources_system"
LINUX = ("linux",)

#: What only reads the files of the kernel, those of the host.
_Local = partial(Needs, families=(), host=True)
#: Every daemon of a fleet probes its own host.
_OfHost = partial(SourceSpec, fleet=False, needs=_Local())
#: What is root's alone, and what a source can do without.
_ROOTS_FILES = partial(Capability, "CAP_DAC_READ_SEARCH", optional=True)


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return [
        _OfHost("LoadAvg", f"{PACKAGE}.load_avg:LoadAvgSource", summary="Load averages"),
        _OfHost("MemoryUsage", f"{PACKAGE}.memory_usage:MemoryUsageSource", summary="Main memory"),
        _OfHost(
            "DiskUsage",
            f"{PACKAGE}.disk_usage:DiskUsageSource",
            summary="Space of mounted file systems",
            needs=_Local(
                paths=(
                    Location("", option="disks", optional=True),
                    Location("/home", optional=True),
                    Location("/root", optional=True),
                ),
            ),
        ),
        _OfHost(
            "Interface",
            f"{PACKAGE}.interface:InterfaceSource",
            summary="Traffic of network cards",
            needs=_Local(families=INTERNET),
        ),
        _OfHost("IO", f"{PACKAGE}.io:IOSource", summary="Activity of block devices"),
        _OfHost(
            "Process",
            f"{PACKAGE}.process:ProcessSource",
            summary="CPU, memory and number of the processes that match",
            needs=_Local(
                processes=True,
                paths=(Location("", option="pidFile", optional=True),),
                capabilities=(
                    Capability(
                        "CAP_SYS_PTRACE", "files and I/O of others' processes", optional=True
                    ),
                ),
            ),
        ),
        _OfHost("Cpu", f"{PACKAGE}.cpu:CpuSource", summary="What the CPUs spend their time on"),
        _OfHost("Swap", f"{PACKAGE}.swap:SwapSource", summary="Swap space and its traffic"),
        _OfHost("Uptime", f"{PACKAGE}.uptime:UptimeSource", summary="Uptime and boot time"),
        _OfHost(
            "Pressure",
            f"{PACKAGE}.pressure:PressureSource",
            summary="Waiting for CPU, memory and disks (PSI)",
            platforms=LINUX,
        ),
        _OfHost(
            "MdRaid",
            f"{PACKAGE}.md_raid:MdRaidSource",
            summary="State of software RAID arrays",
            platforms=LINUX,
        ),
        _OfHost(
            "K8sNamespaceTraffic",
            f"{PACKAGE}.k8s_namespace_traffic.source:K8sNamespaceTrafficSource",
            summary="Traffic of Kubernetes namespaces by destination network",
            platforms=LINUX,
            needs=_Local(
                capabilities=(
                    Capability("CAP_BPF", "the counter in the kernel"),
                    Capability("CAP_NET_ADMIN", "packets of every cgroup"),
                    _ROOTS_FILES("the names of namespaces, where /var/log/pods is root's"),
                ),
                paths=(
                    Location("/sys/fs/cgroup", option="cgroupPath"),
                    Location("/var/log/pods", option="podLogDir", optional=True),
                ),
                families=("AF_NETLINK",),
                system_calls=("bpf",),
                locked_memory=True,
            ),
        ),
        _OfHost(
            "SmartCtl",
            f"{PACKAGE}.smart_ctl.source:SmartCtlSource",
            summary="Health of ATA, NVMe and SAS drives",
            needs=_Local(
                programs=(Program("smartctl", "smartmontools"),),
                capabilities=(
                    Capability("CAP_SYS_RAWIO", "ATA and SAS drives", device="sd*"),
                    Capability("CAP_SYS_ADMIN", "NVMe drives", device="nvme*"),
                    Capability(
                        "CAP_DAC_READ_SEARCH",
                        "opening NVMe controllers, which are root's",
                        device="nvme*",
                    ),
                ),
                devices=(
                    Device("sd*", "block-sd", group="disk", write=True, option="devices"),
                    Device("nvme*", "char-nvme", option="devices"),
                    Device("nvme*n*", "block-blkext", group="disk", option="devices"),
                ),
            ),
        ),
        _OfHost(
            "Sensors",
            f"{PACKAGE}.sensors.source:SensorsSource",
            summary="Temperatures, voltages, fans and power",
            needs=_Local(programs=(Program("sensors", "lm-sensors", optional=True),)),
        ),
        _OfHost(
            "Zfs",
            f"{PACKAGE}.zfs.source:ZfsSource",
            summary="Space, health and activity of ZFS pools",
            needs=_Local(
                programs=(Program("zpool", "zfsutils-linux"),),
                devices=(Device("zfs", "/dev/zfs", write=True),),
            ),
        ),
        _OfHost(
            "SystemdUnit",
            f"{PACKAGE}.systemd_unit:SystemdUnitSource",
            summary="State, restarts and resources of services",
            needs=_Local(
                programs=(Program("systemctl", "systemd"),),
                paths=(Location("/run/dbus/system_bus_socket"),),
                bus=True,
            ),
            platforms=LINUX,
        ),
        _OfHost(
            "Container",
            f"{PACKAGE}.container.source:ContainerSource",
            summary="CPU, memory and I/O of Docker, Podman and containerd containers",
            needs=_Local(
                capabilities=(_ROOTS_FILES("the names of containers"),),
                paths=(
                    Location("/sys/fs/cgroup"),
                    Location("/var/lib/docker", option="dockerDir", optional=True),
                    Location("/var/lib/containers/storage", option="podmanDir", optional=True),
                    Location(
                        "/run/containerd/io.containerd.runtime.v2.task",
                        option="containerdDir",
                        optional=True,
                    ),
                ),
            ),
            platforms=LINUX,
        ),
    ]


@hookimpl
def pollect_suggestions(roots: Roots) -> list[Suggestion]:
    """Return what suits this host, for `pollect init`."""
    from pollect_sources_system.suggestions import suggest

    return list(suggest(roots))
