"""Checks of Kafka: whether it answers, has every topic, and how the topics are set."""

import socket
from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from cli.doctor.finding import Finding, ok, problem, warning
from local.connections import Connections
from local.topics import load_plans
from shared.bus.limits import open_admin
from shared.bus.topics import Difference, find_differences
from shared.events import TOPICS

NEEDED_PARTITIONS = 2
TIMEOUT_SECONDS = 5


def check_kafka(connections: Connections) -> Iterator[Finding]:
    """Yield whether it answers, has every topic, and keeps what it is given for as long and as safely as it must."""
    servers = connections.kafka_bootstrap_servers
    try:
        reach_any(servers.split(","))
        admin = open_admin(servers, connections.kafka_security)
        metadata = admin.list_topics(timeout=TIMEOUT_SECONDS)
    except (KafkaException, OSError, ValueError) as error:
        remedy = "start it (heliotrope up), or correct HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS and how it is spoken to"
        yield problem("kafka", f"{servers} does not answer: {_name(error)}", remedy)
        return
    wanted = [connections.topic_prefix + topic for topic in TOPICS]
    if missing := [topic for topic in wanted if topic not in metadata.topics]:
        remedy = "heliotrope topics makes them; heliotrope up does so for its own broker"
        yield problem("kafka", f"topics are missing: {', '.join(missing)}", remedy)
        return
    yield ok("kafka", f"{servers}, {len(wanted)} topics")
    yield from _check_partitions(metadata, wanted)
    yield from _check_settings(admin, metadata, connections.topic_prefix)


def _name(error: Exception) -> str:
    return str(error.args[0].str()) if isinstance(error, KafkaException) else type(error).__name__


def _check_partitions(metadata: ClusterMetadata, topics: Sequence[str]) -> Iterator[Finding]:
    counts = {topic: len(metadata.topics[topic].partitions) for topic in topics}
    if few := [f"{topic} has {count}" for topic, count in counts.items() if count < NEEDED_PARTITIONS]:
        remedy = "fewer partitions than processes leave some of them idle: kafka-topics.sh --alter --partitions 6"
        yield warning("partitions", "; ".join(few), remedy)


def _check_settings(admin: AdminClient, metadata: ClusterMetadata, topic_prefix: str) -> Iterator[Finding]:
    plans = load_plans(topic_prefix)
    present = [plan for plan in plans if plan.name in metadata.topics]
    if missing := [plan.name for plan in plans if plan.name not in metadata.topics]:
        remedy = "heliotrope topics makes them: a service that must put a record aside needs its topic"
        yield warning("dead letters", f"topics are missing: {', '.join(missing)}", remedy)
    if single := list_single_copies(metadata, [plan.name for plan in present]):
        remedy = "a broker that is lost takes them with it: kafka-reassign-partitions.sh to three copies"
        yield problem("copies", f"one copy on {len(metadata.brokers)} brokers: {', '.join(single)}", remedy)
    try:
        differences = find_differences(admin, present)
    except KafkaException as error:
        yield warning(
            "topic settings", f"cannot be read: {_name(error)}", "run the doctor as an administrator of Kafka"
        )
        return
    yield from _tell_differences(differences)


def list_single_copies(metadata: ClusterMetadata, topics: Sequence[str]) -> list[str]:
    """Return the topics with a partition of one copy, where there are several brokers."""
    if len(metadata.brokers) < 2:
        return []
    copies = {topic: [len(part.replicas) for part in metadata.topics[topic].partitions.values()] for topic in topics}
    return [topic for topic, counts in copies.items() if min(counts, default=2) < 2]


def _tell_differences(differences: Sequence[Difference]) -> Iterator[Finding]:
    sizes = [each for each in differences if each.setting == "max.message.bytes"]
    others = [each for each in differences if each.setting != "max.message.bytes"]
    if sizes:
        said = "; ".join(f"{each.topic} takes {each.found} bytes, ours may have {each.planned}" for each in sizes)
        yield problem("topic sizes", said, "heliotrope topics --set, or lower HELIOTROPE_INGEST_MAX_EVENT_BYTES")
    if others:
        said = "; ".join(f"{each.topic}: {each.setting} is {each.found}, not {each.planned}" for each in others)
        remedy = "heliotrope topics --set (shorter retention deletes records), or HELIOTROPE_CURATOR_RAW_RETENTION_DAYS"
        yield warning("retention", said, remedy)
    if not differences:
        yield ok("topic settings", "retention and sizes are as they should be")


def reach_any(servers: list[str]) -> None:
    """Raise the last error when none of the addresses host:port takes a connection."""
    failure: OSError | None = None
    for server in servers:
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS).close()
            return
        except OSError as error:
            failure = error
    raise failure or ValueError("no address")
