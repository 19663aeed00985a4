"""Checks of ports, multicast groups, sockets and names."""

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pollect.operate.findings import Finding, State
from pollect.operate.survey import Listening, Part

#: Seconds that all names together may take.
RESOLVE_SECONDS = 5.0
#: Options with the name of a host in them, in lower case.
HOST_OPTIONS = frozenset({"host", "hosts", "hostname", "server", "servers", "target", "targets"})
PROC = Path("/proc")


def check_part(part: Part) -> Iterator[Finding]:
    """Yield what a source or writer cannot have of the network."""
    for family in part.needs.families:
        if problem := _check_family(family):
            # That a host lacks IPv6 is not a fault of the config.
            state = State.NOTE if family == "AF_INET6" else State.PROBLEM
            yield Finding(state, part.label, f"sockets of {family}: {problem}")
    for listening in part.ports():
        if finding := check_port(part.label, listening):
            yield finding
    for group in part.needs.multicast:
        if problem := _check_multicast(group):
            cure = "give the interface of that network a route: ip route add 224.0.0.0/4 dev eth0"
            yield Finding(State.PROBLEM, part.label, f"multicast group {group}: {problem}", cure)


def check_port(subject: str, listening: Listening) -> Finding | None:
    """Return why a port cannot be listened on; None if it can."""
    tcp = listening.protocol == "tcp"
    where = f"{listening.protocol.upper()} port {listening.number}"
    wildcard = listening.address in ("", "0.0.0.0", "::")
    address = "0.0.0.0" if wildcard else listening.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as probe:
            if tcp:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, listening.number))
            if tcp:
                probe.listen(1)
    except socket.gaierror as error:
        return Finding(State.PROBLEM, subject, f"{where}: address {address}: {error.strerror}")
    except OSError as error:
        return _refused(subject, where, listening, error)
    return None


def _refused(subject: str, where: str, listening: Listening, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        owner = find_owner(listening)
        if "pollect" in owner:
            return Finding(State.NOTE, subject, f"{where} is in use by a pollect that runs")
        used = f"{where} is in use" + (f" by {owner}" if owner else "")
        return Finding(State.PROBLEM, subject, used, "stop that, or choose another port")
    if error.errno == errno.EACCES:
        cure = "choose one from 1024 on, or sysctl -w net.ipv4.ip_unprivileged_port_start=80"
        return Finding(State.PROBLEM, subject, f"{where}: this user may not have it", cure)
    if error.errno == errno.EADDRNOTAVAIL:
        cure = "`ip address` shows the addresses there are"
        what = f"{where}: this host has no address {listening.address}"
        return Finding(State.PROBLEM, subject, what, cure)
    return Finding(State.PROBLEM, subject, f"{where}: {error.strerror}")


def find_owner(listening: Listening, proc: Path = PROC) -> str:
    """Return the command line of who has a port; empty if this user may not know."""
    inodes = set()
    for version in ("", "6"):
        try:
            lines = (proc / "net" / f"{listening.protocol}{version}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            port = int(fields[1].rpartition(":")[2], 16)
            # 0A is a listening TCP socket, 07 a UDP socket without a peer.
            if port == listening.number and fields[3] in ("0A", "07"):
                inodes.add(f"socket:[{fields[9]}]")
    for process in proc.glob("[0-9]*"):
        try:
            links = (os.readlink(link) for link in (process / "fd").iterdir())
            if any(link in inodes for link in links):
                words = (process / "cmdline").read_bytes().split(b"\0")
                return " ".join(word.decode("utf-8", "replace") for word in words if word)[:80]
        except OSError:
            continue
    return ""


def _check_family(name: str) -> str:
    family = getattr(socket, name, None)
    if family is None:
        return "this Python does not know them"
    try:
        kind = socket.SOCK_RAW if name == "AF_NETLINK" else socket.SOCK_DGRAM
        socket.socket(family, kind).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _check_multicast(group: str) -> str:
    membership = struct.pack("4s4s", socket.inet_aton(group), b"\0\0\0\0")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def check_names(parts: Iterable[Part]) -> list[Finding]:
    """Resolve the names of all targets of a config, at once and for a limited time."""
    askers: dict[str, list[str]] = {}
    for part in parts:
        for name in hosts_of(part.options):
            askers.setdefault(name, []).append(part.label)
    answers: dict[str, str] = {}

    def resolve(name: str) -> None:
        try:
            socket.getaddrinfo(name, None)
            answers[name] = ""
        except (OSError, UnicodeError) as error:
            answers[name] = getattr(error, "strerror", None) or str(error)

    threads = [threading.Thread(target=resolve, args=(name,), daemon=True) for name in askers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RESOLVE_SECONDS / len(threads))
    found = []
    for name, labels in askers.items():
        reason = answers.get(name, f"no answer within {RESOLVE_SECONDS:.0f} s")
        if reason:
            what = f"the name {name} cannot be resolved: {reason}"
            cure = "correct the name, or look at /etc/resolv.conf"
            found.append(Finding(State.PROBLEM, ", ".join(dict.fromkeys(labels)), what, cure))
    return found


def hosts_of(options: Mapping[str, Any]) -> set[str]:
    """Return the names of hosts in the options of a section; addresses are no names."""
    found: set[str] = set()
    for option, value in options.items():
        items = value if isinstance(value, list | tuple) else [value]
        for item in items:
            if isinstance(item, Mapping):
                found |= hosts_of(item)
            elif isinstance(item, str):
                found.add(_host_of(item, named=option.lower() in HOST_OPTIONS))
    return {name for name in found if name and not _is_address(name)}


def _host_of(text: str, *, named: bool) -> str:
    """Return the host in a URL, or in the text of an option that means one."""
    if "://" in text:
        try:
            return urlsplit(text).hostname or ""
        except ValueError:
            return ""
    if not named or "/" in text or " " in text or text.count(":") > 1:
        return ""
    return text.partition(":")[0]


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name.partition("%")[0])
        except OSError:
            continue
        return True
    return False
