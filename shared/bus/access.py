"""Which service writes and reads which topics: what topics there are, and what ACLs must say, follow from it."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.dead_letters import dead_letter_topic
from shared.events import (
    EvaluationCompleted,
    Event,
    FeedbackReceived,
    InteractionRecorded,
    RetrainRequested,
    RolloutAdvanced,
    TrainingCompleted,
)
from shared.user_stores import RAW_TOPICS

Events = tuple[type[Event], ...]


@dataclass(frozen=True)
class Access:
    """What one service does with the bus."""

    writes: Events = ()
    reads: Events = ()
    """In its group; what it cannot handle goes to its dead-letter topics."""
    follows: Events = ()
    """From the beginning, without a group."""


SERVICES: dict[str, Access] = {
    "ingest": Access(writes=(FeedbackReceived, InteractionRecorded)),
    "gateway": Access(writes=(InteractionRecorded,), follows=(RolloutAdvanced,)),
    "curator": Access(
        writes=(RetrainRequested,),
        reads=(InteractionRecorded, FeedbackReceived, TrainingCompleted, EvaluationCompleted, RolloutAdvanced),
    ),
    "trainer": Access(writes=(TrainingCompleted,), reads=(RetrainRequested,)),
    "evaluator": Access(writes=(EvaluationCompleted,), reads=(TrainingCompleted,)),
    "deployer": Access(writes=(RolloutAdvanced,), reads=(EvaluationCompleted, InteractionRecorded, FeedbackReceived)),
}


def name_group(service: str, topic_prefix: str = "") -> str:
    return f"{topic_prefix}heliotrope-{service}"


def list_read_topics(service: str, topic_prefix: str = "") -> list[str]:
    """Return the topics that a service reads in its group."""
    return [topic_prefix + event.topic for event in SERVICES[service].reads]


def plan_dead_letter_topics(topic_prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (dead-letter topic, its source, its consumer) for every topic that a group reads."""
    for service in SERVICES:
        for topic in list_read_topics(service, topic_prefix):
            yield dead_letter_topic(topic, service), topic, service


def list_raw_topics(topic_prefix: str = "") -> list[str]:
    """Return the topics with users' words, dead-letter topics among them."""
    raw = [topic_prefix + topic for topic in RAW_TOPICS]
    return raw + [letters for letters, source, _ in plan_dead_letter_topics(topic_prefix) if source in raw]
