"""What `pollect init` writes into the config of a new host."""

from collections.abc import Iterator

from pollect.api import Suggestion
from pollect_sources_home.local_servers import suggest_servers
from pollect_sources_home.sma_energy_meter.suggestion import suggest_energy_meter


def suggest() -> Iterator[Suggestion]:
    """Yield the sources for what is seen from here, without asking anything of other hosts."""
    yield from suggest_servers()
    yield from suggest_energy_meter()
