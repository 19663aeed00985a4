"""What writers call a source that chooses its name while it runs."""

from collections.abc import Iterator

import msgspec

from pollect.engine.foreign import Foreign
from pollect.engine.plan import SourcePlan
from pollect.model import Batch, SourceId


class Renaming:
    """Renames the batches of one source; its runner sees to it that they come one by one."""

    def __init__(self, plan: SourcePlan, foreign: Foreign) -> None:
        self._plan = plan
        self._foreign = foreign
        #: What it is called in the last batch; None before the first one.
        self._name: SourceId | None = None

    def renamed(self, batch: Batch) -> Iterator[Batch]:
        """Yield what the writers get for a batch: of a former name its series are withdrawn."""
        name, before = self._free_name(), self._name
        self._name = name
        if before is not None and before != name:
            # Unless a reload gave the name to another source, which has values under it.
            if before == self._plan.id or self._foreign.is_free(before):
                yield msgspec.structs.replace(batch, source=before, samples=())
            self._foreign.release(before)
        yield msgspec.structs.replace(batch, source=name)

    def _free_name(self) -> SourceId:
        """Return the name, so that no other source has the same id; names do not show that."""
        wanted = self._plan.written_id
        if wanted == self._plan.id:
            return wanted
        return self._foreign.name((f"1.x {self._plan.id}", wanted))
