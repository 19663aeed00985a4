"""Sources for the targets of inventories, and the threads that look for changes of them."""

import hashlib
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from pollect.config.config import Config, SourceSection
from pollect.config.inventory import HIDDEN_PREFIX, MOST_LOCATED, MOST_TARGETS, Target
from pollect.config.reading import read_document
from pollect.config.targets import TargetedSection, TargetsOptions
from pollect.daemon.feeds import Entry, Feed, HttpFeed, Listed, build_feeds
from pollect.errors import ConfigError, InvalidConfig
from pollect.model import Batch, Metric, SourceId
from pollect.plugin import TargetGroup
from pollect.support.urls import redact_url
from pollect.troubles import Troubles

log = logging.getLogger("pollect.targets")

_SILENT = logging.getLogger("pollect.targets.silent")
_SILENT.disabled = True

SOURCE = SourceId("pollect", "targets")
_LABELS = ("collection", "type", "section")
COUNT = Metric(help="Targets that a section is repeated for.", labels=_LABELS)
REJECTED = Metric("rejected", help="Entries of an inventory that cannot be used.", labels=_LABELS)
SUCCESSFUL = Metric(
    "last_refresh_successful",
    help="Whether all of an inventory could be read when it was last looked at.",
    labels=_LABELS,
)
LAST_SUCCESS = Metric(
    "last_success_timestamp_seconds",
    help="Unix time in seconds when all of an inventory could last be read.",
    unit="seconds",
    labels=_LABELS,
)
METRICS = (COUNT, REJECTED, SUCCESSFUL, LAST_SUCCESS)


class Inventory:
    """The targets of one section as they are now, and the thread that keeps them so."""

    def __init__(
        self,
        options: TargetsOptions,
        folder: Path,
        *,
        state_dir: Path | None = None,
        quiet: bool = False,
    ) -> None:
        """Raises `ConfigError` with the `key` in question.

        Nothing is read yet but the last answers of URLs in `state_dir`. With `quiet` what stands
        in the way is only noted, for `troubles`.
        """
        self.options = options
        self._feeds: Sequence[Feed] = build_feeds(options, folder, state_dir)
        self._listed: tuple[Listed, ...] = self._listed_now()
        self._troubles = Troubles(_SILENT if quiet else log)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: Unix time in seconds of the last refresh after which nothing was in the way.
        self.last_success: float | None = None

    @property
    def successful(self) -> bool:
        return not self._troubles

    @property
    def troubles(self) -> Sequence[str]:
        """What stands in the way of reading it, in words."""
        return self._troubles.texts()

    def answers(self) -> Iterator[Path]:
        """Yield where the last answers of its URLs are kept."""
        for feed in self._feeds:
            if isinstance(feed, HttpFeed) and feed.answer is not None:
                yield feed.answer

    def listed(self) -> Sequence[Listed]:
        """Return what its files and URLs said last."""
        return self._listed

    def refresh(self, *, files_only: bool = False) -> bool:
        """Look at all that is due; return whether something changed."""
        changed = False
        with self._lock:
            now = time.monotonic()
            for feed in self._feeds:
                if feed.is_local if files_only else feed.is_due(now):
                    changed |= feed.refresh(now, self._troubles)
            self._listed = self._listed_now()
            if self.successful:
                self.last_success = time.time()
        return changed

    def _listed_now(self) -> tuple[Listed, ...]:
        return tuple(each for feed in self._feeds for each in feed.listed())

    def start(self, changed: Callable[[], None]) -> None:
        """Look for changes from now on, in a thread; `changed` is called after each."""
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(
                target=self._run, args=(changed,), name="pollect-targets", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Look no more; what is on its way is left behind."""
        self._stopping.set()

    def _run(self, changed: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                new = self.refresh()
                if self._stopping.is_set():
                    break
                if new:
                    changed()
                for feed in self._feeds:  # last, as a disk may hang
                    feed.keep()
            except Exception as error:
                # A fault of ours must not end the looking.
                log.exception("an inventory was not read", exc_info=error)
            soonest = min((feed.next_due() for feed in self._feeds), default=float("inf"))
            self._stopping.wait(max(0.1, soonest - time.monotonic()))


class Expansion:
    """One section with its inventory: the sections of its targets, made once each."""

    def __init__(self, section: TargetedSection, collection: str, inventory: Inventory) -> None:
        self.section = section
        self.collection = collection
        self.inventory = inventory
        self._made: dict[Target, SourceSection] = {}
        self._bad: dict[Listed, list[tuple[str, ConfigError]]] = defaultdict(list)
        self._bad_count = 0
        self._logged: set[str] = set()
        self._renamed: set[str] = set()
        self._entries: list[Entry] = []
        #: Targets that have a source.
        self.entries: Sequence[Entry] = ()

    def inherit(self, previous: "Expansion") -> None:
        """Take over what another one made of the same section, and what it logged."""
        self._logged, self._renamed = previous._logged, previous._renamed
        if self.section.blueprint.is_same(previous.section.blueprint):
            self._made = previous._made
            self.section.blueprint.renamed |= previous.section.blueprint.renamed

    def sections(self) -> Iterator[tuple[str, SourceSection, Entry]]:
        """Yield the section of each target with what its id is made of.

        What cannot be used is left out, to be reported by `finish`.
        """
        self._bad.clear()
        self._bad_count = sum(listed.listing.bad_count for listed in self.inventory.listed())
        self._entries = []
        entries = self._unlike()
        addresses = Counter(entry.target.address for entry in entries)
        before, self._made = self._made, {}
        for entry in entries:
            made = before.get(entry.target) or self._make(entry)
            if made is not None:
                self._made[entry.target] = made
                self._entries.append(entry)
                yield _id_of(entry, alone=addresses[entry.target.address] == 1), made, entry

    def reject(self, entry: Entry, problems: Iterable[ConfigError]) -> None:
        """Take note that a target cannot be used after all."""
        self._made.pop(entry.target, None)
        if self._entries and self._entries[-1] is entry:
            self._entries.pop()
        self._refuse(entry, *problems)

    def problems(self) -> list[ConfigError]:
        """Return what is wrong with entries, the first ones of each file."""
        found = [error for each in self.inventory.listed() for error in each.problems()]
        for listed, bad in self._bad.items():
            found += listed.explain(bad[:MOST_LOCATED])
        return found

    def finish(self) -> None:
        """Log what is new: entries that cannot be used, labels that had to give way."""
        self.entries = tuple(self._entries)
        for name in sorted(self.section.blueprint.renamed - self._renamed):
            log.warning(
                "%s: the label %r of a target is taken by the source, it is called %r here",
                self.name, name, f"target_{name}",
            )  # fmt: skip
        self._renamed |= self.section.blueprint.renamed
        texts = dict.fromkeys(str(problem) for problem in self.problems())
        new = [text for text in texts if text not in self._logged]
        for text in new[:MOST_LOCATED]:
            log.warning("%s: left out: %s", self.name, text)
        if new and self._bad_count > len(texts):
            log.warning("%s: %d entries are left out in all", self.name, self._bad_count)
        if self._logged and not texts:
            log.info("%s: every entry of its inventory can be used again", self.name)
        self._logged = set(texts)

    @property
    def name(self) -> str:
        return f"{self.collection}/{self.section.type}"

    @property
    def rejected(self) -> int:
        return self._bad_count

    def _unlike(self) -> list[Entry]:
        """Return the entries without those whose series would be those of an earlier one."""
        first: dict[object, Entry] = {}
        shown: dict[object, object] = {}
        found: list[Entry] = []
        for listed in self.inventory.listed():
            for entry in listed.entries():
                labels = entry.target.labels
                visible = shown.get(labels)
                if visible is None:
                    visible = shown[labels] = tuple(
                        label for label in labels if not label[0].startswith(HIDDEN_PREFIX)
                    )
                earlier = first.setdefault((entry.target.address, visible), entry)
                if earlier is not entry:
                    problem = f"is listed twice, first as {earlier.path}"
                    if earlier.listed.name != listed.name:
                        problem += f" of {earlier.listed.name}"
                    self._refuse(entry, ConfigError(problem, hint="the first one counts"))
                elif len(found) < MOST_TARGETS:
                    found.append(entry)
                else:
                    self._refuse(entry, ConfigError(f"more than {MOST_TARGETS:,} targets"))
        return found

    def _make(self, entry: Entry) -> SourceSection | None:
        blueprint = self.section.blueprint
        try:
            config = blueprint.make(entry.target)
        except InvalidConfig as error:
            self._refuse(entry, *error.problems)
            return None
        return SourceSection(config, blueprint.source_type, blueprint.path)

    def _refuse(self, entry: Entry, *problems: ConfigError) -> None:
        self._bad_count += 1
        bad = self._bad[entry.listed]
        if len(bad) < MOST_LOCATED:
            bad += [(entry.path, problem) for problem in problems]


class TargetSet:
    """The inventories of one config. Those that another one has, too, are shared."""

    def __init__(
        self, config: Config, previous: "TargetSet | None" = None, *, quiet: bool = False
    ) -> None:
        """Reads files, and asks no URL. Raises `InvalidConfig` for options that make no sense."""
        known = previous._inventories if previous is not None else {}
        self._inventories: dict[object, Inventory] = {}
        self.expansions: dict[str, Expansion] = {}
        refused = []
        for executor in config.executors:
            for section in executor.targeted:
                if not section.enabled:
                    continue
                key = (config.directory, section.options)
                try:
                    inventory = self._inventories.get(key) or known.get(key)
                    inventory = inventory or Inventory(
                        section.options,
                        config.directory,
                        state_dir=None if quiet else config.state_dir,
                        quiet=quiet,
                    )
                except ConfigError as error:
                    error.key = f"{section.path}.{error.key}"
                    refused.append(error)
                    continue
                self._inventories[key] = inventory
                expansion = Expansion(section, executor.collection, inventory)
                if previous is not None and section.path in previous.expansions:
                    expansion.inherit(previous.expansions[section.path])
                self.expansions[section.path] = expansion
        if refused:
            document = read_document(config.file)
            raise InvalidConfig([document.located(error, "") for error in refused])
        for inventory in self._inventories.values():
            inventory.refresh(files_only=True)

    def __bool__(self) -> bool:
        return bool(self.expansions)

    def fetch(self) -> None:
        """Ask every URL now."""
        for inventory in self._inventories.values():
            inventory.refresh()

    def start(self, changed: Callable[[], None]) -> None:
        """Look for changes from now on."""
        for inventory in self._inventories.values():
            inventory.start(changed)

    def stop(self, keep: "TargetSet | None" = None) -> None:
        """Look no more, apart from what `keep` has, too."""
        kept = set(map(id, keep._inventories.values())) if keep is not None else ()
        for inventory in self._inventories.values():
            if id(inventory) not in kept:
                inventory.stop()

    def answers(self) -> set[Path]:
        """Return where the last answers of its URLs are kept."""
        return {file for inventory in self._inventories.values() for file in inventory.answers()}

    def finish(self) -> None:
        """Log what is new about the entries, once what was made of them runs."""
        for expansion in self.expansions.values():
            expansion.finish()

    def problems(self) -> list[ConfigError]:
        """Return what is wrong with entries of inventories, for `check`."""
        return [each for expansion in self.expansions.values() for each in expansion.problems()]

    def troubles(self) -> Iterator[tuple[str, ConfigError]]:
        """Yield why an inventory cannot be read, with the path of the `targets` that name it."""
        for path, expansion in self.expansions.items():
            for text in expansion.inventory.troubles:
                yield f"{path}.targets", ConfigError(text)

    def groups(self, collections: Collection[str]) -> list[TargetGroup]:
        """Return the targets that have a source in one of these collections, by their labels."""
        groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for expansion in self.expansions.values():
            if expansion.collection in collections:
                own = (
                    ("__meta_pollect_collection", expansion.collection),
                    ("__meta_pollect_type", expansion.section.type),
                )
                for entry in expansion.entries:
                    groups.setdefault((*own, *entry.target.labels), []).append(entry.target.address)
        return [TargetGroup(targets, dict(labels)) for labels, targets in groups.items()]

    def batch(self, time: float) -> Batch:
        """Return the metrics of the inventories."""
        samples = []
        for path, expansion in self.expansions.items():
            labels = (expansion.collection, expansion.section.type, path)
            inventory = expansion.inventory
            samples.append(COUNT.sample(len(expansion.entries), *labels))
            samples.append(REJECTED.sample(expansion.rejected, *labels))
            samples.append(SUCCESSFUL.sample(int(inventory.successful), *labels))
            if inventory.last_success is not None:
                samples.append(LAST_SUCCESS.sample(inventory.last_success, *labels))
        return Batch(SOURCE, samples, time)


def _id_of(entry: Entry, *, alone: bool) -> str:
    """Return what tells a target from the others of its section, whatever their order."""
    shown = redact_url(entry.target.address)
    if alone and shown == entry.target.address:
        return shown
    text = "\0".join((entry.target.address, *map("\0".join, entry.target.labels)))
    return f"{shown}~{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
