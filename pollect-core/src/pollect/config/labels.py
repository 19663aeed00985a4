"""Names and static labels of a config: which names are invalid, and which hide another."""

from collections.abc import Iterable, Mapping
from typing import Any

from pollect.config.document import join_path
from pollect.config.problems import Problems
from pollect.config.sections import NO_TEXT
from pollect.errors import ConfigError
from pollect.plugin import Source
from pollect.support.names import label_name
from pollect.text import valid_text

#: Characters of a name, as in batches that go through a transport, and of a label's value.
LONGEST_NAME, LONGEST_VALUE = 1024, 4096

#: Where labels stand in the config, and what they are.
Level = tuple[str, Mapping[str, str]]


def check_labels(problems: Problems, path: str, labels: Mapping[str, str]) -> None:
    """Refuse labels without a name or of something that is not text."""
    for name, value in labels.items():
        if not name.strip():
            problems.refuse(path, ConfigError(f"the label {value!r} has no name"))
        elif valid_text(name) != name:
            problems.refuse(path, ConfigError(f"the label {name!a} is not valid Unicode"))
        else:
            check_name(problems, path, name)
            check_name(problems, join_path(path, name), value, longest=LONGEST_VALUE)


def check_name(
    problems: Problems, path: str, name: str | None, *, longest: int = LONGEST_NAME
) -> None:
    """Refuse a part of what values are called that is not text, bytes of a variable, or endless."""
    if name is None:
        return
    if valid_text(name) != name:
        problems.refuse(path, ConfigError(NO_TEXT))
    elif len(name) > longest:
        problem = f"expected at most {longest:,} characters, got {len(name):,}"
        problems.refuse(path, ConfigError(problem))


def warn_of_hidden_labels(
    problems: Problems, levels: Iterable[Level], source_type: type[Source[Any]], known: set[str]
) -> None:
    """Warn about labels of one source that end up with the name of another label.

    `levels` go from the outermost to the source's own; the same label further in takes the place of
    one further out on purpose. `known` holds what was reported already.
    """
    merged = {name: path for path, labels in levels for name in labels}
    if not merged:
        return
    own = {label: label for metric in source_type.metrics for label in metric.labels}
    taken = {label_name(label): f"the source's own label {label!r}" for label in own}
    for name, path in merged.items():
        if not name.strip():
            continue  # which is refused
        spelled = label_name(name)
        before = taken.setdefault(spelled, f"the label {name!r}")
        place = f"{path}: {name}: {before}"
        if before == f"the label {name!r}" or place in known:
            continue
        known.add(place)
        text = f"the label {name!r} is hidden by {before}"
        problems.warn(path, ConfigError(text, hint="give it another name"))
