"""Why a record was not stored: its own fault, its topic's, or something that passes.

Both client libraries answer with Kafka's own error codes; librdkafka has some of its own below zero.
"""

from shared.errors import RecordRefused, TopicRefused, Unavailable

TOO_LARGE = frozenset({10, 18})
RECORD = TOO_LARGE | {32, 87, -138}
"""Message or record list too large, invalid timestamp, invalid record; and of librdkafka: a neighbour is invalid."""
TOPIC = frozenset({3, 17, 29, 31, 44, -188, -190})
"""Unknown topic or partition, invalid topic, topic not authorised, none authorised (as an idempotent producer is told),
a policy; librdkafka: unknown topic, partition."""


def describe_failure(code: int, topic: str, words: str) -> Exception:
    """Return what `code` of a client says of a record of `topic`: RecordRefused, TopicRefused, Unavailable."""
    if code in RECORD:
        return RecordRefused(f"{topic}: {words}", too_large=code in TOO_LARGE)
    if code in TOPIC:
        return TopicRefused(f"{topic}: {words}")
    return Unavailable(words)
