"""Checks of Kafka: whether it answers, has every topic, and how the topics are set."""

from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from cli.doctor.finding import Finding, ok, problem, warning
from local.connections import Connections
from local.topics import load_plans
from shared.bus.limits import describe_topics, open_admin
from shared.bus.reachability import check_broker, find_trouble
from shared.bus.topics import Difference, compare_topics
from shared.events import TOPICS

NEEDED_PARTITIONS = 2
TIMEOUT_SECONDS = 5


def check_kafka(connections: Connections) -> Iterator[Finding]:
    """Yield whether it answers, has every topic, and keeps what it is given for as long and as safely as it must."""
    servers = connections.kafka_bootstrap_servers
    try:
        check_broker(servers, TIMEOUT_SECONDS)
        admin = open_admin(servers, connections.kafka_security)
        metadata = admin.reach(TIMEOUT_SECONDS)
    except (KafkaException, OSError, ValueError) as error:
        remedy = (
            "start it (heliotrope up), or correct HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS, _SECURITY_PROTOCOL, and the "
            "login or the certificates that go with it"
        )
        yield problem("kafka", f"{servers} cannot be used: {_name(error)}", remedy)
        return
    yield from _check_addresses(servers)
    wanted = [connections.topic_prefix + topic for topic in TOPICS]
    if missing := [topic for topic in wanted if topic not in metadata.topics]:
        remedy = "heliotrope topics makes them (heliotrope up does so for its own broker); whoever has no right to a "
        yield problem("kafka", f"topics are missing: {', '.join(missing)}", f"{remedy}topic does not see it either")
        return
    yield ok("kafka", f"{servers}, {len(wanted)} topics")
    yield from _check_partitions(metadata, wanted)
    yield from _check_settings(admin, metadata, connections.topic_prefix)


def _check_addresses(servers: str) -> Iterator[Finding]:
    """One that is wrong is not missed until the others are away."""
    troubles = {server: find_trouble(server, TIMEOUT_SECONDS) for server in servers.split(",")}
    if silent := [f"{server} ({_name(trouble)})" for server, trouble in troubles.items() if trouble]:
        remedy = "start that broker, or correct its address in HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS"
        yield warning("brokers", f"no connection to {', '.join(silent)}; the others answer", remedy)


def _name(error: Exception) -> str:
    return str(error.args[0].str()) if isinstance(error, KafkaException) else str(error)


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
    remedy = "run the doctor as an administrator of Kafka, or give its user DescribeConfigs on the topics"
    try:
        described = describe_topics(admin, [plan.name for plan in present])
    except KafkaException as error:
        yield warning("topic settings", f"cannot be read: {_name(error)}", remedy)
        return
    if hidden := [plan.name for plan in present if plan.name not in described]:
        yield warning("topic settings", f"cannot be read: those of {', '.join(hidden)}", remedy)
    differences = compare_topics(described, present)
    yield from _tell_differences(differences)
    if not differences and not hidden:
        yield ok("topic settings", "retention and sizes are as they should be")


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
