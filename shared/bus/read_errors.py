"""What keeps a consumer from reading, for as long as it does."""

from collections.abc import Callable

OUTAGES = frozenset({-195, -193, -187, -185, -147})
"""Of librdkafka: no connection, a name that does not resolve, no broker answers, no answer in time, a late poll. All
readers share these, and the check of the broker tells them; any other error is the reader's own."""


class ReadErrors:
    """Errors by topic and code; those without a topic concern the group, or the way to the brokers."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, int], str] = {}

    def __len__(self) -> int:
        return len(self._words)

    def note(self, topic: str, code: int, words: str) -> None:
        self._words[topic, code] = words

    def pass_for(self, topic: str) -> None:
        """Note that something of this topic was read: it can be, and brokers answer."""
        if self._words:
            self._drop(lambda of, code: of == topic or (not of and code < 0))

    def pass_for_brokers(self) -> None:
        """Drop what a broker that answers disproves."""
        self._drop(lambda of, code: not of and code < 0)

    def pass_for_group(self) -> None:
        """Partitions were assigned."""
        self._drop(lambda of, _: not of)

    def _drop(self, has_passed: Callable[[str, int], bool]) -> None:
        self._words = {key: words for key, words in self._words.items() if not has_passed(*key)}

    def list_topics(self) -> list[str]:
        return sorted({topic for topic, _ in self._words if topic})

    def describe(self) -> dict[str, bool]:
        """Return what is wrong, in words, and whether it is this reader's own."""
        return {
            f"{topic}: {words}" if topic else words: code not in OUTAGES for (topic, code), words in self._words.items()
        }
