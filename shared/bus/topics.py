"""Our topics and how each is set: made where they are missing, compared where they are there."""

from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import timedelta

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from shared.bus.access import plan_dead_letter_topics
from shared.bus.admin import Admin
from shared.bus.limits import describe_topics
from shared.events import TOPICS, RolloutAdvanced
from shared.user_stores import RAW_TOPICS

HISTORY = timedelta(days=90)
SEGMENTS = 7
"""A segment goes as a whole, so a record outlives its topic's retention by up to a segment's span."""
ENVELOPE_BYTES = 64 * 1024
"""Room for key and headers beside an event; and again for what a dead letter says of why it is one."""
KAFKA_BYTES = 1_048_588
"""Kafka's own default for the largest batch."""
BROKER_DEFAULT = -1
CREATE_SECONDS = 30.0
FOR_EVER = -1


@dataclass(frozen=True)
class TopicPlan:
    """One topic, and the settings that it needs."""

    name: str
    retention_ms: int
    segment_ms: int | None
    max_message_bytes: int

    def settings(self) -> dict[str, str]:
        settings = {"retention.ms": str(self.retention_ms), "max.message.bytes": str(self.max_message_bytes)}
        settings["cleanup.policy"] = "delete"  # compaction keeps the newest of each key for ever
        if self.retention_ms == FOR_EVER:
            settings["retention.bytes"] = str(FOR_EVER)
        return settings if self.segment_ms is None else settings | {"segment.ms": str(self.segment_ms)}


@dataclass(frozen=True)
class Difference:
    """A topic's setting that is not as planned."""

    topic: str
    setting: str
    found: str
    planned: str


def plan_topics(topic_prefix: str, *, raw_retention: timedelta, max_event_bytes: int) -> list[TopicPlan]:
    """Return the six topics and the dead-letter topics beside them.

    Args:
        raw_retention: how long users' words may stay in Kafka at most, segments included.
        max_event_bytes: the largest event that any service lets in.
    """
    most = max(KAFKA_BYTES, max_event_bytes + ENVELOPE_BYTES)
    plans = [_plan(topic_prefix + topic, topic, raw_retention, most) for topic in TOPICS]
    for letters, source, _ in plan_dead_letter_topics(topic_prefix):
        plans.append(_plan(letters, source.removeprefix(topic_prefix), raw_retention, most + ENVELOPE_BYTES))
    return plans


def _plan(name: str, source: str, raw_retention: timedelta, max_message_bytes: int) -> TopicPlan:
    if source == RolloutAdvanced.topic and name.endswith(source):
        return TopicPlan(name, FOR_EVER, None, max_message_bytes)
    if source not in RAW_TOPICS:
        return TopicPlan(name, _milliseconds(HISTORY), None, max_message_bytes)
    segment = _milliseconds(raw_retention / SEGMENTS)
    return TopicPlan(name, _milliseconds(raw_retention) - segment, segment, max_message_bytes)


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def ensure_topics(
    admin: Admin,
    plans: Sequence[TopicPlan],
    *,
    partitions: int = BROKER_DEFAULT,
    replicas: int = BROKER_DEFAULT,
) -> list[str]:
    """Make the topics that are missing, with their settings; return their names. -1 takes what the broker would.

    Raises:
        KafkaException: no broker answers, or one could not be made.
    """
    present = set(admin.reach(CREATE_SECONDS).topics)
    missing = [
        NewTopic(plan.name, num_partitions=partitions, replication_factor=replicas, config=plan.settings())
        for plan in plans
        if plan.name not in present
    ]
    made = admin.create_topics(missing, request_timeout=CREATE_SECONDS) if missing else {}
    for name, answer in made.items():
        try:
            answer.result(CREATE_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
                raise KafkaException(KafkaError(error.args[0].code(), f"{name}: {error.args[0].str()}")) from error
    return sorted(made)


def find_differences(admin: AdminClient, plans: Sequence[TopicPlan]) -> list[Difference]:
    """Find settings of topics that are there which differ from the plan; of sizes only those that are too small.

    Raises:
        KafkaException: no broker answers.
    """
    return compare_topics(describe_topics(admin, [plan.name for plan in plans]), plans)


def compare_topics(described: Mapping[str, Mapping[str, str]], plans: Sequence[TopicPlan]) -> list[Difference]:
    """Compare what `describe_topics` found; a topic that it left out differs in nothing."""
    return [
        Difference(plan.name, setting, found[setting], planned)
        for plan in plans
        for found in [described.get(plan.name, {})]
        for setting, planned in plan.settings().items()
        if setting in found and _differs(setting, found[setting], planned)
    ]


def _differs(setting: str, found: str, planned: str) -> bool:
    return int(found) < int(planned) if setting == "max.message.bytes" else found != planned


def apply_plans(admin: AdminClient, differences: Sequence[Difference]) -> None:
    """Set what differs as planned. Shorter retention deletes records. Raises: KafkaException."""
    topics = sorted({difference.topic for difference in differences})
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(each.setting, each.planned, incremental_operation=AlterConfigOpType.SET)
                for each in differences
                if each.topic == topic
            ],
        )
        for topic in topics
    ]
    answers = admin.incremental_alter_configs(resources) if resources else {}
    wait(answers.values(), CREATE_SECONDS)
    for answer in answers.values():
        answer.result(0)
