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


def batch_size_of(writer: Writer[Any]) -> int:
    """Return how many samples a writer takes at once; of rubbish, what every writer does."""
    try:
        size = writer.batch_size
    except BaseException as error:  # noqa: BLE001 - code of a plugin
        log.error("writer %s: batch_size failed: %s", writer.context.name, describe(error))
        return Writer.batch_size
    return size if isinstance(size, int) and size > 0 else Writer.batch_size
