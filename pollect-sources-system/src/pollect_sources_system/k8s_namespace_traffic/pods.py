"""Which pod a cgroup belongs to, and which namespace a pod.

The kubelet gives every pod a cgroup directory `pod<uid>` (cgroupfs driver) or
`...-pod<uid with _ for ->.slice` (systemd driver) with those of its containers below it. On 64-bit
kernels the id of a cgroup is the inode number of its directory.
"""

import ipaddress
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pollect.api import BadResponse, Program, TargetUnavailable
from pollect.support.process import Command
from pollect_sources_system.k8s_namespace_traffic.networks import IPAddress

_POD = re.compile(
    r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$"
)

_UID, _NAMESPACE = "io.kubernetes.pod.uid", "io.kubernetes.pod.namespace"

CRICTL = Program("crictl", "cri-tools")
CTR = Program("ctr", "containerd")
IP = Program("ip", "iproute2")


def find_cgroups(root: Path) -> dict[int, str | None]:
    """Return the id of every cgroup below `root`, with the uid of its pod if it belongs to one.

    Raises `OSError` when `root` itself is not there; what vanishes meanwhile is left out.
    """
    found: dict[int, str | None] = {root.stat().st_ino: None}
    waiting: list[tuple[str, str | None]] = [(str(root), None)]
    while waiting:
        folder, owner = waiting.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    uid = owner or pod_uid(entry.name)
                    found[entry.inode()] = uid
                    waiting.append((entry.path, uid))
    return found


def pod_uid(directory: str) -> str | None:
    """Return the uid of the pod whose cgroup directory has this name, None for any other."""
    match = _POD.search(directory)
    return match[1].replace("_", "-") if match else None


class Resolver(Protocol):
    """Knows the namespaces of pods."""

    def namespaces(self) -> Mapping[str, str]:
        """Return the namespace of every pod of this node by uid; raises `ProbeError`."""

    def addresses(self) -> Mapping[IPAddress, str]:
        """Return namespaces by address, for what no cgroup tells; empty where not known."""


class LogDirectory:
    """The folders `NAMESPACE_NAME_UID` that the kubelet makes for the logs of every pod."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def namespaces(self) -> dict[str, str]:
        try:
            names = os.listdir(self._folder)
        except OSError as error:
            raise TargetUnavailable(f"cannot read {self._folder}: {error.strerror}") from error
        parts = (name.split("_") for name in names)
        return {part[2]: part[0] for part in parts if len(part) == 3}

    def addresses(self) -> dict[IPAddress, str]:
        return {}


class Crictl:
    """The runtime's own list of pods, through `crictl`."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def namespaces(self) -> dict[str, str]:
        answer = _parse(self._command.run("pods", "-o", "json").stdout, "crictl")
        pods = (_object(item, "metadata") for item in _list(answer, "items"))
        return {
            str(pod["uid"]): str(pod["namespace"])
            for pod in pods
            if pod.get("uid") and pod.get("namespace")
        }

    def addresses(self) -> dict[IPAddress, str]:
        return {}


class Ctr:
    """containerd's containers, through `ctr`; one process per container, asked once each."""

    def __init__(self, command: Command, ip: Command) -> None:
        self._command = command
        self._ip = ip
        self._known: dict[str, Mapping[str, Any]] = {}

    def namespaces(self) -> dict[str, str]:
        labels = (_object(info, "Labels") for info in self._containers())
        return {
            str(label[_UID]): str(label[_NAMESPACE])
            for label in labels
            if label.get(_UID) and label.get(_NAMESPACE)
        }

    def addresses(self) -> dict[IPAddress, str]:
        found: dict[IPAddress, str] = {}
        for info in self._containers():
            namespace = _object(info, "Labels").get(_NAMESPACE)
            network = _network_namespace(info)
            if namespace and network:
                # A network namespace that cannot be asked costs only its own addresses.
                with suppress(TargetUnavailable, BadResponse):
                    found |= dict.fromkeys(self._addresses_in(network), str(namespace))
        return found

    def _containers(self) -> list[Mapping[str, Any]]:
        listed = self._command.run("-n", "k8s.io", "containers", "list", "-q").stdout.split()
        self._known = {name: info for name, info in self._known.items() if name in listed}
        for name in listed:
            if name in self._known:
                continue
            # One that vanished since the list is skipped; all exit codes but 0 mean that.
            answer = self._command.run("-n", "k8s.io", "container", "info", name, statuses=None)
            # So does an answer that makes no sense.
            with suppress(BadResponse):
                if answer.status == 0:
                    self._known[name] = _parse(answer.stdout, "ctr")
        return list(self._known.values())

    def _addresses_in(self, network: str) -> list[IPAddress]:
        answer = _parse(self._ip.run("-n", network, "-j", "addr", "show").stdout, "ip")
        found: list[IPAddress] = []
        for link in answer if isinstance(answer, list) else ():
            for address in _list(link, "addr_info"):
                if isinstance(address, dict) and address.get("scope") == "global":
                    with suppress(ValueError):
                        found.append(ipaddress.ip_address(str(address.get("local"))))
        return found


def _network_namespace(info: Mapping[str, Any]) -> str | None:
    for namespace in _list(_object(_object(info, "Spec"), "linux"), "namespaces"):
        if isinstance(namespace, dict) and namespace.get("type") == "network":
            path = namespace.get("path")
            return Path(path).name if isinstance(path, str) and path else None
    return None


def _object(parent: Any, name: str) -> Mapping[str, Any]:
    """Return an object in another; an empty one where there is none."""
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _list(parent: Any, name: str) -> Sequence[Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, list) else ()


def _parse(text: str, program: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadResponse(f"{program}: expected JSON, got {text[:80]!r}") from error
