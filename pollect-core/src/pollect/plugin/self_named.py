"""Sources that choose the first parts of their metric names while they run."""

from pollect.model import SourceId
from pollect.plugin.source import Source, SourceConfigT


class SelfNamed(Source[SourceConfigT]):
    """A source whose values may go to the writers under another name than the config's.

    For pollect 1.x only, whose sources could do that at every probe: everyone else is identified
    by the config alone.
    """

    #: For what the last probe returned; None for the name of the config.
    written_as: SourceId | None = None
