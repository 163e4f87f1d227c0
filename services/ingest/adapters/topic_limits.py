"""What the topics themselves take, asked now and then: a topic's limit may be below ours, and may change."""

from collections.abc import Callable, Mapping, Sequence

import structlog

from shared.bus import Record, measure_batch_bytes
from shared.errors import TooLarge

logger = structlog.get_logger(__name__)


class TopicLimits:
    """The largest batch that each topic takes, as last asked; a topic whose limit is not known is not limited here."""

    def __init__(self, topics: Sequence[str], ask: Callable[[Sequence[str]], Mapping[str, int]]) -> None:
        self._topics = topics
        self._ask = ask
        self._limits: Mapping[str, int] = {}

    def refresh(self) -> None:
        """Ask the broker. Raises what it raises; what was known stays."""
        limits = self._ask(self._topics)
        if limits != self._limits:
            logger.info("topic_limits", limits=dict(limits))
        self._limits = limits

    def check(self, record: Record) -> None:
        """Raises: TooLarge: the topic takes no record of this size; says how large one may be."""
        limit = self._limits.get(record.topic)
        if limit is None:
            return
        size = measure_batch_bytes(record)
        if size > limit:
            most = limit - (size - len(record.value))
            raise TooLarge(f"an event may have at most {most} bytes here; this one has {len(record.value)}")
