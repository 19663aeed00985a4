"""Pods of Kubernetes as far as the kernel and the log folder show them."""

import uuid
from pathlib import Path

from pollect_sources_system.k8s_namespace_traffic.source import find_cgroup_mount


def cgroup_root() -> Path | None:
    mount = find_cgroup_mount(Path("/proc/self/mountinfo").read_text())
    return Path(mount) if mount else None


class Pods:
    """Cgroups and log folders as a kubelet makes them."""

    def __init__(self, logs: Path) -> None:
        root = cgroup_root()
        assert root is not None
        self.root = root
        self.logs = logs
        self._made: list[Path] = []

    def start(self, namespace: str, *, systemd: bool = False) -> tuple[str, Path]:
        """Return the uid of a new pod and the cgroup of its container."""
        uid = str(uuid.uuid4())
        (self.logs / f"{namespace}_some-pod_{uid}").mkdir()
        container = uuid.uuid4().hex
        if systemd:
            slice_ = f"kubepods-burstable-pod{uid.replace('-', '_')}.slice"
            parts = ["kubepods.slice", "kubepods-burstable.slice", slice_]
            parts.append(f"cri-containerd-{container}.scope")
        else:
            parts = ["kubepods", "burstable", f"pod{uid}", container]
        folder = self.root
        for part in parts:
            folder /= part
            if not folder.exists():
                folder.mkdir()
                self._made.append(folder)
        return uid, folder

    def end(self) -> None:
        for folder in reversed(self._made):
            if folder.exists():
                folder.rmdir()

    def kill(self, cgroup: Path) -> None:
        """Remove a pod's cgroups, as the kubelet does when it ended."""
        cgroup.rmdir()
        cgroup.parent.rmdir()
