"""Hosts of a fleet in network namespaces, each with a link to the engine and one to devices.

Everything is inside this machine: the hub has the engine and the devices, each member two pairs of
virtual cables into it, so that the way to the engine can be cut while devices stay in reach.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

#: Networks that exist only inside the namespaces: documentation addresses (RFC 5737).
ENGINE_NET = "192.0.2"
DEVICE_NET = "198.51.100"
HUB_HOST = 1
FIRST_MEMBER_HOST = 11

may_use_namespaces = os.geteuid() == 0 and shutil.which("ip") is not None


class Network:
    """A hub and the members around it; all of it is gone after `close()`."""

    def __init__(self, members: int) -> None:
        self._tag = f"pf{os.getpid() % 10000}"
        self.hub = f"{self._tag}hub"
        self._members = members
        self._namespaces: list[str] = []
        self._add_namespace(self.hub)
        for name in ("engine", "device"):
            self._in(self.hub, "link", "add", name, "type", "bridge")
            self._in(self.hub, "link", "set", name, "up")
        self._in(self.hub, "addr", "add", f"{ENGINE_NET}.{HUB_HOST}/24", "dev", "engine")
        self._in(self.hub, "addr", "add", f"{DEVICE_NET}.{HUB_HOST}/24", "dev", "device")
        for index in range(members):
            self._add_member(index)

    def namespace(self, index: int) -> str:
        return f"{self._tag}m{index}"

    def device_address(self, index: int) -> str:
        """The address from which a member asks devices."""
        return f"{DEVICE_NET}.{FIRST_MEMBER_HOST + index}"

    @property
    def engine_address(self) -> str:
        return f"{ENGINE_NET}.{HUB_HOST}"

    @property
    def devices_address(self) -> str:
        return f"{DEVICE_NET}.{HUB_HOST}"

    def cut(self, index: int) -> None:
        """Drop every packet between a member and the engine."""
        self._in(self.hub, "link", "set", f"e{index}", "down")

    def heal(self, index: int) -> None:
        self._in(self.hub, "link", "set", f"e{index}", "up")

    def cut_answers(self, index: int) -> None:
        """Let a member's requests arrive at the engine and drop what comes back."""
        address = f"{ENGINE_NET}.{FIRST_MEMBER_HOST + index}"
        self._in(self.hub, "route", "add", "blackhole", f"{address}/32")

    def heal_answers(self, index: int) -> None:
        address = f"{ENGINE_NET}.{FIRST_MEMBER_HOST + index}"
        self._in(self.hub, "route", "del", "blackhole", f"{address}/32")

    def close(self) -> None:
        for namespace in reversed(self._namespaces):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def _add_member(self, index: int) -> None:
        namespace = self.namespace(index)
        self._add_namespace(namespace)
        for short, net, bridge in (("e", ENGINE_NET, "engine"), ("d", DEVICE_NET, "device")):
            inside, outside = bridge, f"{short}{index}"
            self._in(
                self.hub,
                *("link", "add", outside, "type", "veth", "peer", "name", inside),
                *("netns", namespace),
            )
            self._in(self.hub, "link", "set", outside, "master", bridge, "up")
            address = f"{net}.{FIRST_MEMBER_HOST + index}/24"
            self._in(namespace, "addr", "add", address, "dev", inside)
            self._in(namespace, "link", "set", inside, "up")

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._namespaces.append(name)
        self._in(name, "link", "set", "lo", "up")

    def _in(self, namespace: str, *words: str) -> None:
        _ip("-n", namespace, *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def network(members: int) -> Iterator[Network]:
    built = None
    try:
        built = Network(members)
        yield built
    finally:
        if built is not None:
            built.close()
