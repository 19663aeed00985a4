"""`Source` of pollect 1.x, the base class of hand-written sources."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, TypeAlias

from pollect.legacy.log import Log
from pollect.legacy.values import Value, ValueSet

#: What `_probe` may return: the manual of 1.x promised the first two, 1.x took the rest.
Probed: TypeAlias = (
    float | Mapping[str, "float | Value | ValueSet"] | Value | ValueSet
    | Iterable["Value | ValueSet"] | None
)  # fmt: skip


class Source(Log, ABC):
    """Reads values in `_probe`.

    The constructor gets the section of the config, a `ConfigContainer` or in tests a dict, and
    takes `type`, `name` and `labels` from it.
    """

    # For extensions that do not call the constructor.
    type: str = ""
    name: str | None = None
    labels: Mapping[str, str] = {}
    global_conf: Any = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.type = config["type"]
        super().__init__(self.type)
        self.name = config.get("name")
        self.labels = config.get("labels") or {}

    def setup_source(self, global_conf: Any) -> None:
        """Prepare for the first probe; called once."""
        self.global_conf = global_conf

    def probe(self) -> list[ValueSet]:
        """Return the values of now, named and with the static labels, in sets of their own."""
        return [self._finished(found) for found in value_sets(self._probe())]

    def shutdown(self) -> None:
        """Let go of everything; called once."""

    @abstractmethod
    def _probe(self) -> Probed:
        """Return the values of now, None for none."""

    def _get_suffix(self) -> str:
        """Return what follows the collection in the metric names."""
        return f"{self.type}.{self.name}" if self.name is not None else self.type

    def __str__(self) -> str:
        return self._get_suffix()

    def _finished(self, found: ValueSet) -> ValueSet:
        # A copy: a source may keep what it returned, and return it again.
        finished = ValueSet([*found.labels, *self.labels])
        finished.name = self._get_suffix()
        finished.time = found.time
        for value in found.values:
            labels = [*value.label_values, *self.labels.values()]
            finished.add(Value(value.value, labels, value.name))
        return finished


def value_sets(probed: Any) -> list[ValueSet]:
    """Return whatever `_probe` returned as value sets, without changing it.

    Raises `TypeError` when it is nothing that a 1.x source may return.
    """
    if probed is None:
        return []
    if isinstance(probed, ValueSet | Value | Real):
        return [_as_set(probed, None)]
    if isinstance(probed, Mapping):
        return [_as_set(value, str(name)) for name, value in probed.items()]
    if isinstance(probed, Iterable) and not isinstance(probed, str | bytes):
        return list(_sets_of(probed))
    raise _unexpected("_probe", probed)


def _sets_of(probed: Iterable[Any]) -> Iterator[ValueSet]:
    for item in probed:
        if not isinstance(item, ValueSet | Value):
            raise _unexpected("a list from _probe", item)
        yield _as_set(item, None)


def _as_set(item: Any, name: str | None) -> ValueSet:
    """Return one item as a set; values without a name of their own get `name`."""
    if isinstance(item, ValueSet):
        if name is None:
            return item
        named = ValueSet(item.labels)
        named.values = [_named(value, name) for value in item.values]
        return named
    single = ValueSet()
    if isinstance(item, Value):
        single.add(_named(item, name))
    elif isinstance(item, Real):
        single.add(Value(item, name=name))
    else:
        raise _unexpected(f"value {name!r}", item)
    return single


def _named(value: Value, name: str | None) -> Value:
    own = name if value.name is None else value.name
    return Value(value.value, value.label_values, own)


def _unexpected(what: str, found: object) -> TypeError:
    return TypeError(
        f"{what}: got {type(found).__name__}, expected a number, a Value, a ValueSet, "
        "or a dict or list of them"
    )
