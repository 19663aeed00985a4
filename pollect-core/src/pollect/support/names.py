"""Names as Prometheus spells them: what people call a metric, wherever its values go.

They are those of pollect 1.x; what the text formats cannot carry becomes an underscore.
"""

import re

from pollect.model import SourceId

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]|^(?=[0-9])[0-9]")


def metric_name(source: SourceId | None, value_name: str | None) -> str:
    """Return the name of a metric; without a source `value_name` is the whole name."""
    parts = [source.dotted if source else None, value_name]
    name = "_".join(part for part in parts if part is not None)
    # 1.x left the exclamation mark out; its names stay as they are.
    return _NOT_IN_NAMES.sub("_", name.replace("!", ""))


def label_name(name: str) -> str:
    """Return the name of a label; two leading underscores are Prometheus' own."""
    clean = _NOT_IN_NAMES.sub("_", name) or "_"
    return "_" + clean.lstrip("_") if clean.startswith("__") else clean
