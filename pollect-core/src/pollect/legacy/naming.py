"""What a source of pollect 1.x calls its values, where it does not leave that to the config.

1.x asked the source itself at every probe: an extension may set `self.name` or `self.labels` once
it knows its device, replace `_get_suffix`, or name the sets that its own `probe` returns.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pollect.model import SourceId


def common_name(source: SourceId, suffixes: Sequence[str]) -> SourceId | None:
    """Return what sets with these suffixes have in common, None for what the config says.

    A suffix is what follows the collection, in parts with dots between them. Suffixes with nothing
    in common leave the name to the config.
    """
    columns = zip(*(suffix.split(".") for suffix in suffixes), strict=False)
    same = itertools.takewhile(lambda column: len(set(column)) == 1, columns)
    common = ".".join(column[0] for column in same)
    if not common or common == suffix_of(source):
        return None
    written = SourceId(source.collection, common, instance=source.instance, target=source.target)
    name = common.removeprefix(f"{source.type}.")
    if common == source.type or name == common:
        return written
    return written._replace(type=source.type, name=name)


def suffix_of(source: SourceId) -> str:
    """Return what follows the collection in the name of a source."""
    return source.dotted.removeprefix(f"{source.collection}.")


def value_name(source: SourceId, suffix: str, name: str | None) -> str | None:
    """Return the name of a value in a set, beginning with what the set has beyond the source."""
    common = suffix_of(source)
    beyond = suffix.removeprefix(f"{common}.")
    if suffix == common or beyond == suffix:
        return name
    return beyond if name is None else f"{beyond}_{name}"


def labels_beside(labels: Any, configured: Mapping[str, str]) -> dict[str, Any]:
    """Return the static labels of a source that are not those of its config."""
    if not isinstance(labels, Mapping):
        return {}
    return {str(name): labels[name] for name in labels if configured.get(name) != labels[name]}
