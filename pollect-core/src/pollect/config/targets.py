"""A section that is repeated for the targets of an inventory: `targets: {file: ..., http: ...}`."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pollect.config.document import join_path
from pollect.config.inventory import HIDDEN_PREFIX, Target
from pollect.config.options import TARGETS
from pollect.config.plausible import check_source
from pollect.config.problems import Problems
from pollect.config.sections import SectionReader
from pollect.config.templates import fill_templates, templates_in
from pollect.config.words import describe_value
from pollect.errors import ConfigError, InvalidConfig
from pollect.plugin import Seconds, Secret, Source, SourceConfig
from pollect.support.options import ClientTls

#: Stands in for the targets while there are none, to check the rest of a section.
STAND_IN = Target("192.0.2.1:9")
#: Never part of a metric's name or its labels: a target in them does not say where it goes.
_NOT_A_PLACE = ("name", "labels")
#: A label of a target whose name is taken gets this in front.
TAKEN_PREFIX = "target_"


class TargetsOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the targets of a section are listed, in the formats of Prometheus."""

    file: Annotated[
        tuple[str, ...],
        Meta(
            description="Files (`.json`, `.yml`, `.yaml`) relative to the config, with `*` in the "
            "last part of the name; changes are taken up within seconds."
        ),
    ] = ()
    http: Annotated[
        str | None, Meta(description="URL that answers with the list in JSON (http_sd).")
    ] = None
    refresh_interval: Annotated[
        str, Meta(description="How often to ask the URL, as in 30s or 5m.")
    ] = "1m"
    label: Annotated[
        Annotated[str, Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")],
        Meta(
            description="Label that distinguishes the series of the targets; empty "
            "for none, where the source has one of its own."
        ),
    ] = "target"
    timeout: Annotated[Seconds, Meta(description="Seconds that the URL may take to answer.")] = 10.0
    user: Annotated[str, Meta(description="User for the URL.")] = ""
    password: Annotated[Secret, Meta(description="Password of `user`.")] = Secret("")
    token: Annotated[Secret, Meta(description="Bearer token for the URL, instead.")] = Secret("")
    tls: Annotated[ClientTls | None, Meta(description="TLS to the URL.")] = None


class Blueprint:
    """A section of a source that lacks its target."""

    def __init__(
        self,
        section: Mapping[str, Any],
        source_type: type[Source[Any]],
        path: str,
        texts: Mapping[str, str],
        label: str,
    ) -> None:
        """`label`: the name of the label that has the target, empty for none.

        Raises `ConfigError` when there is no place for a target.
        """
        self.source_type = source_type
        self.path = path
        self.type = str(section.get("type"))
        self._section = section
        self._label = label
        self._texts = {key: text for key, text in texts.items() if key.startswith(path)}
        #: Options with something of the target in them.
        self._dynamic = [name for name, value in section.items() if templates_in(value)]
        self._filled = self._option_for_target()
        #: Names of labels that a target cannot have.
        self._taken = {label for metric in source_type.metrics for label in metric.labels}
        self._taken.add(label)
        #: Labels of targets that had to give way.
        self.renamed: set[str] = set()

    def is_same(self, other: "Blueprint") -> bool:
        """Whether both make the same of a target."""
        return (
            self.source_type is other.source_type
            and self._section == other._section
            and self._label == other._label
        )

    def make(self, target: Target) -> SourceConfig:
        """Return the section of a target, converted. Raises `InvalidConfig`, keys relative."""
        problems = Problems()
        config = self._read(target, problems)
        if config is None or problems.errors:
            raise InvalidConfig([self._relative(error) for error in problems.errors])
        return config

    def depends_on_target(self, key: str) -> bool:
        """Whether what an error says of this option may be the target's doing."""
        option = key.partition(".")[0].partition("[")[0]
        return not option or option == self._filled or option in (*self._dynamic, "labels")

    def check(self, problems: Problems) -> SourceConfig | None:
        """Report mistakes that no target can mend; return the section with a stand-in."""
        found = Problems()
        config = self._read(STAND_IN, found, lenient=True)
        for errors, report in ((found.errors, problems.refuse), (found.warnings, problems.warn)):
            for error in errors:
                relative = self._relative(error)
                if not (relative.key and self.depends_on_target(relative.key)):
                    report(self.path, relative)
        return config

    def _read(
        self, target: Target, problems: Problems, *, lenient: bool = False
    ) -> SourceConfig | None:
        section = dict(self._section)
        try:
            for option in self._dynamic:
                section[option] = fill_templates(section[option], target)
        except ConfigError as error:
            if not lenient:
                problems.refuse(join_path(self.path, option), error)
                return None
        if self._filled:
            section[self._filled] = self._complete(target.address)
        section["labels"] = {**(section.get("labels") or {}), **self._labels(target)}
        reader = SectionReader(problems, self._texts)
        return reader.read(self.source_type.config_type, section, self.path)

    def _complete(self, address: str) -> str:
        """Return a target with the scheme that the source supposes where it has none."""
        prefix = self.source_type.target_prefix
        return f"{prefix}{address}" if prefix and "://" not in address else address

    def _labels(self, target: Target) -> dict[str, str]:
        labels = {}
        for name, value in target.labels:
            if name.startswith(HIDDEN_PREFIX) or not value:
                continue
            if name in self._taken:
                self.renamed.add(name)
                name = f"{TAKEN_PREFIX}{name}"
            labels[name] = value
        if self._label:
            labels[self._label] = target.address
        return labels

    def _option_for_target(self) -> str:
        """Return the option that takes the target, empty where the section has it in its texts."""
        option = self.source_type.target_option
        texts = [
            template
            for name in self._dynamic
            if name not in _NOT_A_PLACE
            for template in templates_in(self._section[name])
        ]
        if any(template.names_target for template in texts) or option in self._section:
            return ""
        if not option and not texts:
            raise ConfigError(
                f"{self.type} has no option that a target fills",
                hint='write it where it belongs, as in `url: "http://${target}/"`',
            )
        return option

    def _relative(self, error: ConfigError) -> ConfigError:
        key = error.key.removeprefix(self.path).removeprefix(".")
        found = ConfigError(error.problem, key=key, hint=error.hint)
        found.__cause__ = error.__cause__
        return found


class TargetedSection(msgspec.Struct, frozen=True):
    """A source of the config that is repeated for each of its targets."""

    blueprint: Blueprint
    options: TargetsOptions
    #: As it would be for one target; None where that takes one of its inventory.
    example: SourceConfig | None

    @property
    def path(self) -> str:
        return self.blueprint.path

    @property
    def type(self) -> str:
        return self.blueprint.type

    @property
    def enabled(self) -> bool:
        return self.example is None or self.example.enabled


def read_targeted(
    entry: Mapping[str, Any],
    path: str,
    source_type: type[Source[Any]],
    texts: Mapping[str, str],
    problems: Problems,
) -> TargetedSection | None:
    """Return the section of a source that names an inventory; mistakes go to `problems`."""
    where = join_path(path, TARGETS)
    given = entry[TARGETS]
    if not isinstance(given, Mapping):
        problem = f"expected a mapping, got {describe_value(given)}"
        problems.refuse(where, ConfigError(problem, hint="file or http"))
        return None
    options = SectionReader(problems, texts).read(TargetsOptions, given, where)
    if options is None:
        return None
    if not (options.file or options.http):
        hint = "name a file or an http URL"
        problems.refuse(where, ConfigError("required option missing", hint=hint))
        return None
    section = {key: value for key, value in entry.items() if key != TARGETS}
    try:
        blueprint = Blueprint(section, source_type, path, texts, options.label)
    except ConfigError as error:
        problems.refuse(where, error)
        return None
    example = blueprint.check(problems)
    if example is not None:
        check_source(problems, path, example, source_type)
    return TargetedSection(blueprint, options, example)
