"""The sources of this distribution, one a line."""

from functools import partial

from pollect.api import Program, Roots, SourceSpec, Suggestion, hookimpl

PACKAGE = "pollect_sources_system"
LINUX = ("linux",)

#: Every daemon of a fleet probes its own host.
_OfHost = partial(SourceSpec, fleet=False)


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
        ),
        _OfHost(
            "Interface",
            f"{PACKAGE}.interface:InterfaceSource",
            summary="Traffic of network cards",
        ),
        _OfHost("IO", f"{PACKAGE}.io:IOSource", summary="Activity of block devices"),
        _OfHost(
            "Process",
            f"{PACKAGE}.process:ProcessSource",
            summary="CPU, memory and number of the processes that match",
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
            privileges="CAP_BPF and CAP_NET_ADMIN",
        ),
        _OfHost(
            "SmartCtl",
            f"{PACKAGE}.smart_ctl.source:SmartCtlSource",
            summary="Health of ATA, NVMe and SAS drives",
            programs=(Program("smartctl", "smartmontools"),),
            privileges="root, or CAP_SYS_RAWIO (ATA, SAS) and CAP_SYS_ADMIN (NVMe)",
        ),
        _OfHost(
            "Sensors",
            f"{PACKAGE}.sensors.source:SensorsSource",
            summary="Temperatures, voltages, fans and power",
            programs=(Program("sensors", "lm-sensors", optional=True),),
        ),
        _OfHost(
            "Zfs",
            f"{PACKAGE}.zfs.source:ZfsSource",
            summary="Space, health and activity of ZFS pools",
            programs=(Program("zpool", "zfsutils-linux"),),
        ),
        _OfHost(
            "SystemdUnit",
            f"{PACKAGE}.systemd_unit:SystemdUnitSource",
            summary="State, restarts and resources of services",
            programs=(Program("systemctl", "systemd"),),
            platforms=LINUX,
        ),
        _OfHost(
            "Container",
            f"{PACKAGE}.container.source:ContainerSource",
            summary="CPU, memory and I/O of Docker, Podman and containerd containers",
            platforms=LINUX,
        ),
    ]


@hookimpl
def pollect_suggestions(roots: Roots) -> list[Suggestion]:
    """Return what suits this host, for `pollect init`."""
    from pollect_sources_system.suggestions import suggest

    return list(suggest(roots))
