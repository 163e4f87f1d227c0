"""Metrics that every process shares, declared once."""

from collections.abc import Sequence
from itertools import product

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("heliotrope_http_requests_total", "HTTP requests answered", ["service", "route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "heliotrope_http_request_seconds",
    "Time to answer an HTTP request",
    ["service", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
DEGRADED = Gauge("heliotrope_degraded", "1 while what all replicas share is away", ["service", "dependency"])
CONSUMED = Counter("heliotrope_events_consumed_total", "Events taken from the bus", ["consumer", "topic", "outcome"])
CONSUMER_LAG = Gauge("heliotrope_consumer_lag_records", "Records waiting to be consumed", ["consumer"])
CONSUMER_PROBLEMS = Gauge("heliotrope_consumer_problems", "What keeps a consumer from reading, now", ["consumer"])
CONSUMER_REPEATS = Gauge(
    "heliotrope_consumer_batch_repeats", "Times that the batch at hand has failed as a whole", ["consumer"]
)
CONSUMER_ERRORS = Counter(
    "heliotrope_consumer_errors_total", "Errors that the bus gave in place of records", ["consumer"]
)
CONSUMER_LOST = Counter(
    "heliotrope_consumer_lost_records_total", "Records that retention took before they were read", ["consumer", "topic"]
)
RELAY_REFUSED = Counter(
    "heliotrope_relay_refused_records_total", "Records that the broker will never take, put aside", ["relay"]
)
RELAY_STOPPED_TOPICS = Gauge(
    "heliotrope_relay_stopped_topics", "Topics that take nothing of a relay or of ingest", ["relay"]
)
CONSUMER_SECONDS = Histogram("heliotrope_consumer_batch_seconds", "Time to handle one batch", ["consumer"])


def start_at_zero(counter: Counter, *values: Sequence[str]) -> None:
    """Show every combination of these label values from the start: Prometheus cannot see a series' first increase."""
    for combination in product(*values):
        counter.labels(*combination)
