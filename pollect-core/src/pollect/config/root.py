"""Reads the frame of a config: global options, executors, the sections of sources and writers."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pollect.config.config import (
    Config,
    DoubtfulSection,
    ExecutorSection,
    SourceSection,
    WriterSection,
)
from pollect.config.declared import fields_of, struct_type
from pollect.config.document import Document, join_path
from pollect.config.environment import Environment, Unset, fill_data, unset_texts
from pollect.config.labels import check_labels, check_name, warn_of_hidden_labels
from pollect.config.lookup import TypeLookup, TypeMemory, declared_placeholders
from pollect.config.options import (
    DEFAULT_TICK_SECONDS,
    EXECUTOR_SECTIONS,
    IGNORED_PREFIX,
    PROBES,
    ROOT_SECTIONS,
    TARGETS,
    ExecutorOptions,
    RootOptions,
)
from pollect.config.plausible import (
    check_label_rules,
    check_source,
    check_threads,
    warn_of_twins,
)
from pollect.config.problems import Problems
from pollect.config.roots import choose_roots
from pollect.config.scalars import boolean
from pollect.config.sections import SectionReader
from pollect.config.state import state_folder
from pollect.config.words import describe_value
from pollect.errors import ConfigError, PluginError, UnknownPlugin
from pollect.plugin import Source, SourceConfig, Writer, WriterConfig

if TYPE_CHECKING:
    from pollect.config.probes import ProbeSection
    from pollect.config.targets import TargetedSection

_PluginT = TypeVar("_PluginT", Source[Any], Writer[Any])
_TYPE = re.compile(r"[A-Za-z_][\w.]*")


def read_root(
    document: Document,
    file: Path,
    types: TypeLookup,
    environ: Mapping[str, str],
    problems: Problems,
) -> Config | None:
    """Return those parts of a config that are right by themselves; mistakes go to `problems`.

    None if the file is not even a mapping.
    """
    if not isinstance(document.data, Mapping):
        found = describe_value(document.data)
        problem = "is empty" if document.data is None else f"expected a mapping, got {found}"
        problems.refuse("", ConfigError(problem))
        return None
    types = TypeMemory(types)
    environment = Environment(environ, file.absolute().parent)
    read = {
        key: value
        for key, value in document.data.items()
        if not str(key).startswith(IGNORED_PREFIX)
    }
    data = fill_data(read, environment, declared_placeholders(types, environment))
    reader = _FrameReader(types, problems, document.texts)
    options = reader.sections.read(RootOptions, data, "", also_known=ROOT_SECTIONS)
    # Even if a global option is wrong, the rest is read, for its mistakes.
    options = options or reader.sections.sound_rest(RootOptions)
    executors = reader.executors(data, options)
    probes = reader.probes(data)
    return Config(
        file=file,
        data=data,
        tick_time=_tick_seconds(options),
        labels=options.labels,
        state_dir=state_folder(options.state_dir, file, environ),
        roots=choose_roots(options.roots, file.absolute().parent, environ),
        self_metrics=options.self_metrics,
        history=options.history,
        shutdown_timeout=options.shutdown_timeout,
        keep_stale=options.keep_stale,
        fleet=options.fleet,
        executors=tuple(executors),
        probes=tuple(probes),
        warnings=tuple(problems.all()),
        doubtful=tuple(reader.doubtful),
    )


class _FrameReader:
    """Reads executors, sources and writers, and reports what is wrong with them."""

    def __init__(self, types: TypeLookup, problems: Problems, texts: Mapping[str, str]) -> None:
        self.sections = SectionReader(problems, texts)
        self._texts = texts
        self.doubtful: list[DoubtfulSection] = []
        self._types = types
        self._problems = problems

    def executors(self, data: Mapping[str, Any], options: RootOptions) -> list[ExecutorSection]:
        if options.tick_time <= 0:
            instead = ConfigError("is not above 0", hint=f"{DEFAULT_TICK_SECONDS:g} is used")
            self._problems.warn("tickTime", instead)
        check_threads(self._problems, "threads", options.threads)
        writers = self._writers(data, "")
        entries = self._entries(data, "executors", "")
        if not entries and data.get("executors") == []:
            self._refuse("executors", "expected at least one executor, got an empty list")
        anywhere = _names_writers(data) or any(_names_writers(entry) for _, entry in entries)
        if not anywhere:
            self._refuse("writers", "no writer", "name at least one here, or one in each executor")
        found = []
        check_labels(self._problems, "labels", options.labels)
        reported: set[str] = set()
        for path, entry in entries:
            if anywhere and not (_names_writers(data) or _names_writers(entry)):
                self._refuse(path, "no writer", "name one here, or one for all at the top")
            executor = self._executor(entry, path, options, writers)
            found.append(executor)
            self._check_labels(executor, path, options.labels, reported)
        warn_of_twins(self._problems, found)
        return found

    def _executor(
        self,
        entry: Mapping[str, Any],
        path: str,
        options: RootOptions,
        writers: tuple[WriterSection, ...],
    ) -> ExecutorSection:
        own = self.sections.read(ExecutorOptions, entry, path, also_known=EXECUTOR_SECTIONS)
        if own is None:  # its sources, and what else it says, can be judged all the same
            own = self.sections.sound_rest(ExecutorOptions, collection=path)
        check_name(self._problems, join_path(path, "collection"), own.collection)
        own_writers = self._writers(entry, path)
        sources = [
            self._source(section, where) for where, section in self._entries(entry, "sources", path)
        ]
        if entry.get("sources") == []:
            self._problems.warn(
                join_path(path, "sources"),
                ConfigError("expected at least one source, got an empty list"),
            )
        if own.threads is not None:
            check_threads(self._problems, join_path(path, "threads"), own.threads)
        ticks = own.tick_time or 0.0
        return ExecutorSection(
            collection=own.collection,
            tick_time=ticks if ticks > 0 else _tick_seconds(options),
            threads=own.threads or options.threads,
            spread=options.spread if own.spread is None else own.spread,
            labels=own.labels,
            sources=tuple(each for each in sources if isinstance(each, SourceSection)),
            targeted=tuple(
                each for each in sources if each is not None and not isinstance(each, SourceSection)
            ),
            writers=own_writers or writers,
        )

    def _source(
        self, entry: Mapping[str, Any], path: str
    ) -> "SourceSection | TargetedSection | None":
        found, usable = self._plugin_type("source", self._types.source_type, entry, path)
        if found is None:
            return None
        if wants_targets(entry, found.config_type):
            from pollect.config.targets import read_targeted

            section = read_targeted(entry, path, found, self._texts, self._problems)
            return section if usable else None
        config = self.sections.read(found.config_type, entry, path)
        if config is None or not usable:
            self._note_doubtful(config, found, path)
            return None
        check_name(self._problems, join_path(path, "name"), config.name)
        check_source(self._problems, path, config, found)
        return SourceSection(config, found, path)

    def probes(self, data: Mapping[str, Any]) -> "list[ProbeSection]":
        """Return the modules that may be asked for over HTTP."""
        given = data.get(PROBES)
        if given is None:
            return []
        if not isinstance(given, Mapping):
            self._refuse(PROBES, f"expected a mapping of names, got {describe_value(given)}")
            return []
        modules = [self._probe(str(name), section) for name, section in given.items()]
        return [module for module in modules if module is not None]

    def _probe(self, name: str, section: Any) -> "ProbeSection | None":
        from pollect.config.probes import MODULE_NAME, AllowList, ProbeOptions, ProbeSection
        from pollect.config.targets import Blueprint

        path = join_path(PROBES, name)
        if not MODULE_NAME.fullmatch(name):
            self._refuse(path, "expected a name of letters, digits, '-' and '_'")
            return None
        if not isinstance(section, Mapping):
            self._refuse(path, f"expected a mapping, got {describe_value(section)}")
            return None
        found, usable = self._plugin_type("source", self._types.source_type, section, path)
        if found is None:
            return None
        own = {field.encode_name for field in fields_of(struct_type(ProbeOptions))}
        rest = {key: value for key, value in section.items() if key not in own}
        given = {key: value for key, value in section.items() if key in own}
        options = self.sections.read(ProbeOptions, given, path)
        try:
            if options is not None:
                AllowList(options.allow)
        except ValueError as error:
            self._refuse(join_path(path, "allow"), str(error))
            options = None
        try:
            blueprint = Blueprint(rest, found, path, self._texts, "")
        except ConfigError as error:
            self._problems.refuse(path, error)
            return None
        example = blueprint.check(self._problems)
        if options is None or not usable:
            return None
        return ProbeSection(name, blueprint, options, example)

    def _writer(self, entry: Mapping[str, Any], path: str) -> WriterSection | None:
        found, usable = self._plugin_type("writer", self._types.writer_type, entry, path)
        if found is None:
            return None
        config = self.sections.read(found.config_type, entry, path)
        if config is None or not usable:
            self._note_doubtful(config, found, path)
            return None
        return WriterSection(config, found, path)

    def _note_doubtful(
        self,
        config: SourceConfig | WriterConfig | None,
        plugin_type: type[Source[Any]] | type[Writer[Any]],
        path: str,
    ) -> None:
        if config is not None:  # only what it needs is missing
            self.doubtful.append(DoubtfulSection(config, plugin_type, path))
        elif (part := self.sections.sound_part()) is not None:
            sound, wrong = part
            if isinstance(sound, SourceConfig | WriterConfig):
                self.doubtful.append(DoubtfulSection(sound, plugin_type, path, wrong))

    def _writers(self, section: Mapping[str, Any], path: str) -> tuple[WriterSection, ...]:
        """Return the writers of `writers`, then that of `writer`, as in 1.x."""
        entries = self._entries(section, "writers", path, required=False)
        single = section.get("writer")
        where = join_path(path, "writer")
        if isinstance(single, Mapping):
            entries.append((where, single))
        elif single is not None:
            hint = "a list belongs in 'writers'" if isinstance(single, list) else ""
            hint = hint or _write_type(single, "writer: {{type: {}}}")
            self._refuse(where, f"expected a mapping, got {describe_value(single)}", hint)
        writers = [self._writer(entry, place) for place, entry in entries]
        return tuple(writer for writer in writers if writer is not None)

    def _plugin_type(
        self,
        kind: str,
        lookup: Callable[[str], type[_PluginT]],
        entry: Mapping[str, Any],
        path: str,
    ) -> tuple[type[_PluginT] | None, bool]:
        """Return the class of a section's type, and whether it can be used.

        What stands in the way is reported. Where only a package is missing there is a class, by
        which the section can be judged.
        """
        where = join_path(path, "type")
        word = entry.get("type")
        if word is None:
            self._refuse(where, "required option missing", f"the type of the {kind}")
        elif isinstance(word, Unset):
            self._refuse(where, word.problem, word.hint)
        elif not isinstance(word, str):
            self._refuse(where, f"expected text, got {describe_value(word)}")
        else:
            try:
                return lookup(str(word)), True
            except PluginError as error:
                self._report_missing_plugin(where, error, disabled=_is_disabled(entry))
                # Without its class it is unknown which `${...}` a source fills in itself.
                return getattr(error, "plugin", None), False
        for place, unset in unset_texts(entry, path):
            if place != where:
                self._problems.warn(place, ConfigError(unset.problem, hint=unset.hint))
        return None, False

    def _report_missing_plugin(self, path: str, error: PluginError, *, disabled: bool) -> None:
        if isinstance(error, UnknownPlugin):
            problem = ConfigError(f"unknown {error.kind} type {error.type_name!r}", hint=error.hint)
        else:
            problem = ConfigError(str(error))
        problem.__cause__ = error
        if disabled:
            self._problems.warn(path, problem)
        else:
            self._problems.refuse(path, problem)

    def _entries(
        self, section: Mapping[str, Any], key: str, path: str, *, required: bool = True
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the mappings of a list with their paths; report whatever else is there."""
        where = join_path(path, key)
        value = section.get(key)
        if value is None:
            if required:
                self._refuse(where, "required option missing")
            return []
        if not isinstance(value, list):
            hint = "each item begins with '- '" if isinstance(value, Mapping) else ""
            hint = hint or _write_type(value, f"{key}: [{{{{type: {{}}}}}}]")
            self._refuse(where, f"expected a list, got {describe_value(value)}", hint)
            return []
        found = []
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                found.append((join_path(where, index), item))
            else:
                problem = f"expected a mapping, got {describe_value(item)}"
                hint = "" if key == "executors" else _write_type(item, "- type: {}")
                self._refuse(join_path(where, index), problem, hint)
        return found

    def _check_labels(
        self,
        executor: ExecutorSection,
        path: str,
        outer: Mapping[str, str],
        reported: set[str],
    ) -> None:
        executor_level = join_path(path, "labels"), executor.labels
        check_labels(self._problems, *executor_level)
        for source in executor.sources:
            own_level = join_path(source.path, "labels"), source.config.labels
            check_labels(self._problems, *own_level)
            levels = ("labels", outer), executor_level, own_level
            warn_of_hidden_labels(self._problems, levels, source.source_type, reported)
            static = {name for _, labels in levels for name in labels}
            check_label_rules(
                self._problems, source.path, source.config, source.source_type, static
            )
        for section in executor.targeted:
            if section.example is not None:
                own_level = join_path(section.path, "labels"), section.example.labels
                check_labels(self._problems, *own_level)
                levels = ("labels", outer), executor_level, own_level
                source_type = section.blueprint.source_type
                warn_of_hidden_labels(self._problems, levels, source_type, reported)

    def _refuse(self, path: str, problem: str, hint: str = "") -> None:
        self._problems.refuse(path, ConfigError(problem, hint=hint))


def _names_writers(section: Mapping[str, Any]) -> bool:
    """Whether a section names writers of its own, be they right or wrong."""
    return bool(section.get("writers")) or section.get("writer") is not None


def wants_targets(section: Mapping[str, Any], config_type: type[SourceConfig]) -> bool:
    """Whether `targets` of a section is an inventory, and not an option of the source itself."""
    value = section.get(TARGETS)
    if value is None or TARGETS in {
        field.encode_name for field in fields_of(struct_type(config_type))
    }:
        return False
    if config_type.keep_unknown:
        return isinstance(value, Mapping) and not {"file", "http"}.isdisjoint(value)
    return True


def _write_type(value: Any, form: str) -> str:
    """Return how to write a section of which there is only the type."""
    if not (isinstance(value, str) and _TYPE.fullmatch(value)):
        return ""
    return f"write `{form.format(value)}`"


def _is_disabled(entry: Mapping[str, Any]) -> bool:
    value = entry.get("enabled")
    return isinstance(value, str | int) and boolean(value) is False


def _tick_seconds(options: RootOptions) -> float:
    return options.tick_time if options.tick_time > 0 else DEFAULT_TICK_SECONDS
