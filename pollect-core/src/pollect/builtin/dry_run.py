"""Writer `DryRun`: prints what another writer would write.

It prints to standard output itself, so that no log level hides it, in the shape of pollect 1.x: one
record for each call, in it one block for each set of label names, `###` between two blocks.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from pollect.api import Batch, Writer, WriterConfig


class DryRunConfig(WriterConfig, frozen=True, kw_only=True):
    pass


class DryRunWriter(Writer[DryRunConfig]):
    """Prints every batch; `context.name` is the writer it stands for."""

    config_type = DryRunConfig
    in_process = True
    accepts_partial = True
    self_metrics = False
    only_shows = True

    def write(self, batches: Sequence[Batch]) -> None:
        blocks = "\n###\n".join(block for batch in batches for block in format_batch(batch))
        if not blocks:
            return
        now = datetime.fromtimestamp(self.context.clock.time(), UTC).astimezone()
        # The daemon notices by itself that the reader, `head` for example, has gone.
        with suppress(BrokenPipeError):
            # One call, because several threads print at once.
            sys.stdout.write(
                f"I {now:%Y-%m-%d %H:%M:%S} [DryRunWriter] "
                f"[{self.context.name}Writer] Would write {blocks}\n"
            )
            sys.stdout.flush()


def format_batch(batch: Batch) -> Iterator[str]:
    """Yield one block for each set of label names in `batch`."""
    values: dict[tuple[str, ...], list[str]] = {}
    for sample in batch.samples:
        labels = batch.labels_of(sample)
        names = tuple(name for name, _ in labels)
        key = (sample.metric.name, [value for _, value in labels])
        values.setdefault(names, []).append(f"\t{sample.value} {key}")
    for names, lines in values.items():
        yield "\n".join([f"{batch.source.dotted} {list(names)}", *lines])
