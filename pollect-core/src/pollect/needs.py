"""What a source or writer needs of the machine, as data that stands in its spec.

One truth for `plugins show`, `doctor`, `unit`, `compose`, `deps` and `init`. A need may depend on
an option of the config: it then names the option, and whoever reads it looks the value up.
"""

from typing import Literal

import msgspec

#: Address families of whoever speaks IP. Netlink is how the C library lists addresses, without
#: which a name is looked up for protocols that this host does not have.
INTERNET = ("AF_INET", "AF_INET6", "AF_NETLINK")


class Program(msgspec.Struct, frozen=True, omit_defaults=True):
    """An external program and the Debian package that holds it."""

    name: str
    package: str
    #: It is used where it is installed; without it the plugin works too, less well.
    optional: bool = False


class Capability(msgspec.Struct, frozen=True, omit_defaults=True):
    """A capability of Linux, capabilities(7), that the process must have."""

    #: `CAP_NET_RAW`.
    name: str
    #: What cannot be done without it: `health of NVMe drives`.
    purpose: str
    #: Only a host with a device like this needs it, a shell pattern below /dev: `nvme*`.
    device: str = ""
    #: Without it the plugin works too, less well; it is never granted unasked.
    optional: bool = False


class Setting(msgspec.Struct, frozen=True, omit_defaults=True):
    """A setting of the kernel, as sysctl(8) names it."""

    #: `net.ipv4.ping_group_range`.
    name: str
    #: What the setting should be.
    value: str
    #: The capability that does the same for this process; empty if none does.
    instead_of: str = ""
    #: How to judge another value: it is the same, or it is a range that holds a group of ours.
    judge: Literal["equal", "group range"] = "equal"


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """Device nodes the process must open."""

    #: Shell pattern below /dev: `sd*`.
    pattern: str
    #: How systemd names them, see `DeviceAllow=` in systemd.resource-control(5): `block-sd`.
    systemd: str
    #: The group that may open them; empty if only root may.
    group: str = ""
    write: bool = False
    #: Option of the config that names others; it is mentioned where the nodes are.
    option: str = ""


class Location(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file or folder the process must reach."""

    #: Where it is; empty if only the config knows.
    path: str
    #: Option of the config that says where it is, or that lists several.
    option: str = ""
    write: bool = False
    #: Without it the plugin works too, less well, or finds another way.
    optional: bool = False


class Port(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port the process listens on."""

    protocol: Literal["tcp", "udp"]
    #: Its number; 0 if only the config knows.
    number: int = 0
    #: Options of the config with the number, and with the address to listen on.
    option: str = ""
    address: str = ""


class Needs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a source or writer needs beside its Python packages; by default only the network."""

    #: External programs it starts.
    programs: tuple[Program, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    #: Groups the process must belong to, beside those of its devices.
    groups: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    paths: tuple[Location, ...] = ()
    #: Families of the sockets it opens (address_families(7)); AF_UNIX is always allowed.
    families: tuple[str, ...] = INTERNET
    ports: tuple[Port, ...] = ()
    #: Multicast groups it listens to.
    multicast: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    #: System calls beyond those of an ordinary service (`@system-service`): `bpf`.
    system_calls: tuple[str, ...] = ()
    #: It locks memory: true if the usual limit does not do.
    locked_memory: bool = False
    #: It looks at the processes of other users.
    processes: bool = False
    #: It asks the system bus (D-Bus), which turns away users that exist only while a unit runs
    #: (since systemd 250).
    bus: bool = False
    #: It reports what this machine is: in a container it needs the host's /proc, /sys and mounts.
    host: bool = False

    def words(self) -> list[str]:
        """Return every need but the programs in words for people, one a line."""
        lines = [_with_alternative(self, part) for part in self.capabilities]
        lines += [f"the group {name}" for name in self.groups]
        lines += [_device_words(device) for device in self.devices]
        lines += [_location_words(location) for location in self.paths]
        lines += [_port_words(port) for port in self.ports]
        lines += [f"multicast packets to {group}" for group in self.multicast]
        special = [family for family in self.families if family not in INTERNET]
        lines += [f"sockets of the family {family}" for family in special]
        lines += [f"the system call {name}" for name in self.system_calls]
        if self.locked_memory:
            lines.append("locked memory without a limit (before Linux 5.11)")
        if self.processes:
            lines.append("a view of the processes of all users")
        if self.bus:
            lines.append("the system bus, as a user of /etc/passwd")
        lines += [
            f"{setting.name} = {setting.value}"
            for setting in self.settings
            if not setting.instead_of
        ]
        return lines


def _with_alternative(needs: Needs, capability: Capability) -> str:
    text = f"{capability.name} for {capability.purpose}"
    if capability.device:
        text += f" (only where there is /dev/{capability.device})"
    for setting in needs.settings:
        if setting.instead_of == capability.name:
            how = "a group within" if setting.judge == "group range" else f"{setting.value} in"
            text = f"{how} {setting.name}, or {text}"
    return f"{text} (optional)" if capability.optional else text


def _device_words(device: Device) -> str:
    access = "read and write" if device.write else "read"
    group = f", as group {device.group}" if device.group else ""
    return f"to {access} /dev/{device.pattern}{group}"


def _location_words(location: Location) -> str:
    access = "write" if location.write else "read"
    named = f"`{location.option}`" if location.option else ""
    where = f"{location.path} ({named})" if location.path and named else location.path or named
    return f"to {access} {where}" + (" (optional)" if location.optional else "")


def _port_words(port: Port) -> str:
    number = str(port.number) if port.number else ""
    named = f"`{port.option}`" if port.option else ""
    return f"the {port.protocol.upper()} port {number or named} to listen on"
