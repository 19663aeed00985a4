"""What writers say of themselves: code of a plugin, which may raise anything."""

import logging
from typing import Any

from pollect.errors import describe
from pollect.plugin.writer import Writer

log = logging.getLogger(__name__)


def has_trait(writer: Writer[Any], trait: str) -> bool:
    """Whether a writer says so of itself; one that fails to say it does not."""
    try:
        return bool(getattr(writer, trait, False))
    except BaseException as error:  # noqa: BLE001 - code of a plugin
        log.error("writer %s: %s failed: %s", writer.context.name, trait, describe(error))
        return False


def wants_self_metrics(writer: Writer[Any]) -> bool:
    """Whether a writer gets the metrics of pollect itself."""
    wanted: bool | None = writer.config.self_metrics
    return has_trait(writer, "self_metrics") if wanted is None else wanted


def batch_size_of(writer: Writer[Any]) -> int:
    """Return how many samples a writer takes at once; of rubbish, what every writer does."""
    try:
        size = writer.batch_size
        if isinstance(size, int) and size > 0:
            return size
        problem = f"expected a whole number above 0, got {size!r:.40}"
    except BaseException as error:  # noqa: BLE001 - code of a plugin
        problem = describe(error)
    usual = Writer.batch_size
    log.error("writer %s: batch_size: %s; %d is used", writer.context.name, problem, usual)
    return usual
