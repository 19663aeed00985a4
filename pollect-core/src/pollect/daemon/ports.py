"""The TCP ports that a plan listens on."""

from collections.abc import Iterable

from pollect.errors import ConfigError

_ALL_ADDRESSES = ("0.0.0.0", "::", "*")


class Ports:
    """Finds what wants to listen where something else of the plan does already."""

    def __init__(self) -> None:
        #: Port -> address, empty for all, and the section that listens there with its config.
        self._wanted: dict[int, list[tuple[str, str, object]]] = {}

    def taken(
        self, addresses: Iterable[tuple[str, int]], path: str, config: object, *, shared: bool
    ) -> list[ConfigError]:
        """Note where the section at `path` listens; return what speaks against it.

        What is `shared` does not collide with an equal config: the two become one.
        """
        problems = []
        for address, port in addresses:
            host = "" if address in _ALL_ADDRESSES else address
            others = self._wanted.setdefault(port, [])
            for other_host, other_path, other_config in others:
                if shared and config == other_config:
                    continue
                if host == other_host or not (host and other_host):
                    problem = f"port {port} is already used by {other_path}"
                    hint = "give one of them another port"
                    problems.append(ConfigError(problem, key="port", hint=hint))
                    break
            if port:  # 0 is any that is free
                others.append((host, path, config))
        return problems
