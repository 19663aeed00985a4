"""What containers are called, from the files of their runtimes.

No daemon is asked. The files of Docker and Podman are root's, those of a user's Podman his own;
where they cannot be read, a container goes by the beginning of its id, as in `docker ps`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: As many digits as `docker ps` shows.
SHORT_ID = 12
#: What containerd's plugin for Kubernetes notes in the container's OCI spec.
_NAMESPACE = "io.kubernetes.cri.sandbox-namespace"
_POD = "io.kubernetes.cri.sandbox-name"
_CONTAINER = "io.kubernetes.cri.container-name"
_NERDCTL_NAME = "nerdctl/name"


class ContainerNames:
    """Looks names up and remembers them: a container keeps its id, and a rename is rare."""

    def __init__(self, docker: Path, podman: Path, containerd: Path) -> None:
        self._docker = docker
        self._podman = podman
        self._containerd = containerd
        self._known: dict[str, str] = {}

    def find(self, ids: Mapping[str, str]) -> dict[str, str]:
        """Return the name of each container; `ids` maps ids to runtimes."""
        self._known = {id: name for id, name in self._known.items() if id in ids}
        missing = {id: runtime for id, runtime in ids.items() if id not in self._known}
        if "podman" in missing.values():
            self._known |= read_podman(self._podman)
        for id, runtime in missing.items():
            if runtime == "docker":
                self._known[id] = read_docker(self._docker, id)
            elif runtime == "containerd":
                self._known[id] = read_containerd(self._containerd, id)
        return {id: self._known.get(id) or id[:SHORT_ID] for id in ids}


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
    return {
        container["id"]: container["names"][0]
        for container in containers
        if isinstance(container, dict) and container.get("id") and container.get("names")
    }


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
                container = annotations.get(_CONTAINER, "")
                parts = (annotations.get(_NAMESPACE, ""), pod, container)
                return "/".join(part for part in parts if part)
            return str(annotations.get(_NERDCTL_NAME, ""))
    return ""


def _glob(folder: Path, pattern: str) -> Iterable[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return ()


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
