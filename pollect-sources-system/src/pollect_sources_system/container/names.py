"""What containers are called, from the files of their runtimes.

No daemon is asked. The files of Docker and Podman are root's, those of a user's Podman his own;
where they cannot be read, a container goes by the beginning of its id, as in `docker ps`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pollect_sources_system.container.cgroups import Found

#: As many digits as `docker ps` shows.
SHORT_ID = 12
#: Runtime of a container that no runtime knows by name.
UNKNOWN_RUNTIME = "containerd"
#: What containerd's plugin for Kubernetes notes in the container's OCI spec.
_NAMESPACE = "io.kubernetes.cri.sandbox-namespace"
_POD = "io.kubernetes.cri.sandbox-name"
_CONTAINER = "io.kubernetes.cri.container-name"
_NERDCTL_NAME = "nerdctl/name"


class Known(NamedTuple):
    """What a container is called, and by which runtime."""

    name: str
    runtime: str


class ContainerNames:
    """Looks names up and remembers them: a container keeps its id, and a rename is rare."""

    def __init__(self, docker: Path, podman: Path, containerd: Path) -> None:
        self._docker = docker
        self._podman = podman
        self._containerd = containerd
        self._known: dict[str, Known] = {}

    def find(self, containers: Mapping[str, Found]) -> dict[str, Known]:
        """Return name and runtime of each container, by id.

        One whose cgroup does not show the runtime is looked up at every runtime; what none of
        them knows is called containerd's. Without a name a container of a Quadlet goes by its
        service, any other by the beginning of its id, and is looked up again the next time.
        """
        self._known = {id: known for id, known in self._known.items() if id in containers}
        found: dict[str, Known] = {}
        podman: dict[str, str] | None = None
        for id, container in containers.items():
            if id in self._known:
                found[id] = self._known[id]
                continue
            if podman is None and container.runtime in ("", "podman"):
                podman = read_podman(self._podman)
            known = self._look_up(id, container.runtime, podman or {})
            if known.name:
                self._known[id] = known
            runtime = known.runtime or container.runtime or UNKNOWN_RUNTIME
            service = container.unit if runtime == "podman" else ""
            found[id] = Known(known.name or service or id[:SHORT_ID], runtime)
        return found

    def _look_up(self, id: str, runtime: str, podman: Mapping[str, str]) -> Known:
        if runtime in ("", "docker") and (name := read_docker(self._docker, id)):
            return Known(name, "docker")
        if runtime in ("", "podman") and id in podman:
            return Known(podman[id], "podman")
        if runtime in ("", "containerd") and (name := read_containerd(self._containerd, id)):
            return Known(name, "containerd")
        return Known("", "docker" if not runtime and has_docker(self._docker, id) else runtime)


def has_docker(folder: Path, id: str) -> bool:
    """Return whether Docker has a container of this id, whatever it is called."""
    try:
        return (folder / "containers" / id).is_dir()
    except OSError:
        return False  # only root may look


def read_docker(folder: Path, id: str) -> str:
    """Return the name of a container of Docker; empty if it cannot be read."""
    config = _read_json(folder / "containers" / id / "config.v2.json")
    name = config.get("Name") if isinstance(config, dict) else None
    return str(name or "").removeprefix("/")


def read_podman(folder: Path) -> dict[str, str]:
    """Return the names of all containers of Podman by id."""
    containers = _read_json(folder / "overlay-containers" / "containers.json")
    if not isinstance(containers, list):
        return {}
    found: dict[str, str] = {}
    for container in containers:
        names = container.get("names") if isinstance(container, dict) else None
        if isinstance(names, list) and names and isinstance(names[0], str):
            found[str(container.get("id"))] = names[0]
    return found


def read_containerd(folder: Path, id: str) -> str:
    """Return the name of a container of containerd; empty if it cannot be read.

    A container of Kubernetes is called `namespace/pod/container`.
    """
    for bundle in _glob(folder, f"*/{id}/config.json"):
        spec = _read_json(bundle)
        annotations = spec.get("annotations") if isinstance(spec, dict) else None
        if isinstance(annotations, dict):
            if pod := annotations.get(_POD):
                # The container that only holds the pod's network has no name of its own.
                parts = (annotations.get(_NAMESPACE), pod, annotations.get(_CONTAINER))
                return "/".join(str(part) for part in parts if part)
            return str(annotations.get(_NERDCTL_NAME) or "")
    return ""


def _glob(folder: Path, pattern: str) -> Iterable[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return ()


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
