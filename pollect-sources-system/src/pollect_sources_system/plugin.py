"""The sources of this distribution, one a line."""

from pollect.api import Program, Roots, SourceSpec, Suggestion, hookimpl

PACKAGE = "pollect_sources_system"
LINUX = ("linux",)


@hookimpl
def pollect_sources() -> list[SourceSpec]:
    """Return every source of this distribution."""
    return [
        SourceSpec("LoadAvg", f"{PACKAGE}.load_avg:LoadAvgSource", summary="Load averages"),
        SourceSpec(
            "MemoryUsage", f"{PACKAGE}.memory_usage:MemoryUsageSource", summary="Main memory"
        ),
        SourceSpec(
            "DiskUsage",
            f"{PACKAGE}.disk_usage:DiskUsageSource",
            summary="Space of mounted file systems",
        ),
        SourceSpec(
            "Interface",
            f"{PACKAGE}.interface:InterfaceSource",
            summary="Traffic of network cards",
        ),
        SourceSpec("IO", f"{PACKAGE}.io:IOSource", summary="Activity of block devices"),
        SourceSpec(
            "Process",
            f"{PACKAGE}.process:ProcessSource",
            summary="CPU, memory and number of the processes that match",
        ),
        SourceSpec("Cpu", f"{PACKAGE}.cpu:CpuSource", summary="What the CPUs spend their time on"),
        SourceSpec("Swap", f"{PACKAGE}.swap:SwapSource", summary="Swap space and its traffic"),
        SourceSpec("Uptime", f"{PACKAGE}.uptime:UptimeSource", summary="Uptime and boot time"),
        SourceSpec(
            "Pressure",
            f"{PACKAGE}.pressure:PressureSource",
            summary="Waiting for CPU, memory and disks (PSI)",
            platforms=LINUX,
        ),
        SourceSpec(
            "MdRaid",
            f"{PACKAGE}.md_raid:MdRaidSource",
            summary="State of software RAID arrays",
            platforms=LINUX,
        ),
        SourceSpec(
            "K8sNamespaceTraffic",
            f"{PACKAGE}.k8s_namespace_traffic.source:K8sNamespaceTrafficSource",
            summary="Traffic of Kubernetes namespaces by destination network",
            platforms=LINUX,
            privileges="CAP_BPF and CAP_NET_ADMIN",
        ),
        SourceSpec(
            "SmartCtl",
            f"{PACKAGE}.smart_ctl.source:SmartCtlSource",
            summary="Health of ATA, NVMe and SAS drives",
            programs=(Program("smartctl", "smartmontools"),),
            privileges="root, or CAP_SYS_RAWIO (ATA, SAS) and CAP_SYS_ADMIN (NVMe)",
        ),
        SourceSpec(
            "Sensors",
            f"{PACKAGE}.sensors.source:SensorsSource",
            summary="Temperatures, voltages, fans and power",
            programs=(Program("sensors", "lm-sensors", optional=True),),
        ),
        SourceSpec(
            "Zfs",
            f"{PACKAGE}.zfs.source:ZfsSource",
            summary="Space, health and activity of ZFS pools",
            programs=(Program("zpool", "zfsutils-linux"),),
        ),
        SourceSpec(
            "SystemdUnit",
            f"{PACKAGE}.systemd_unit:SystemdUnitSource",
            summary="State, restarts and resources of services",
            programs=(Program("systemctl", "systemd"),),
            platforms=LINUX,
        ),
        SourceSpec(
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
