"""The topics of the deployment that the environment describes."""

from datetime import timedelta

from services.curator.config.settings import CuratorSettings
from services.gateway.settings import GatewaySettings
from services.ingest.settings import IngestSettings
from shared.bus.topics import TopicPlan, plan_topics
from shared.settings import load_settings


def load_plans(topic_prefix: str) -> list[TopicPlan]:
    """Return every topic with the settings that follow from the services' own."""
    largest = max(load_settings(IngestSettings).max_event_bytes, load_settings(GatewaySettings).max_event_bytes)
    retention = timedelta(days=load_settings(CuratorSettings).raw_retention_days)
    return plan_topics(topic_prefix, raw_retention=retention, max_event_bytes=largest)
