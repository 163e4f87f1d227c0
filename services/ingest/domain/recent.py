"""The newest event ids and what was said under them."""

from collections import OrderedDict
from uuid import UUID


class RecentEvents:
    """Content hashes by (API key, event id), the oldest forgotten first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._hashes: OrderedDict[tuple[str, UUID], str] = OrderedDict()

    def find(self, key_id: str, event_id: UUID) -> str | None:
        return self._hashes.get((key_id, event_id))

    def remember(self, key_id: str, event_id: UUID, content_hash: str) -> None:
        self._hashes[key_id, event_id] = content_hash
        if len(self._hashes) > self._capacity:
            self._hashes.popitem(last=False)

    def forget(self, key_id: str, event_id: UUID) -> None:
        self._hashes.pop((key_id, event_id), None)
